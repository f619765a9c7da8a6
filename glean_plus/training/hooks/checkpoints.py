"""Checkpoints that survive: written whole, checked when they are read, and the newest whole one found."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmengine.runner.checkpoint import CheckpointLoader, load_from_local

from glean_plus.registry import HOOKS
from glean_plus.training.distributed import unwrapped
from glean_plus.training.errors import TrainingError
from glean_plus.training.hooks.best import KEY, best_rules
from glean_plus.utils.files import write_whole
from glean_plus.weights import WeightsError, local_copy, read_state_dict
from glean_plus.weights.errors import brief
from glean_plus.weights.integrity import archive_damage, damage
from glean_plus.weights.strict import check
from glean_plus.weights.torch_files import load_plain

# iter_5000.pth, epoch_3.pth and the like; not the best one so far, which has no optimiser.
NUMBERED = re.compile(r'(?!best_).*\d\.pth')
ADVICE = 'Name another checkpoint, or delete this one.'


# The name's end, after `load_from_`, is what MMEngine's log says of a loader.
@CheckpointLoader.register_scheme(prefixes=r'.*\.safetensors$')
def load_from_safetensors(filename: str, map_location: Any = None) -> dict[str, Any]:
    """A checkpoint dict with the file's tensors, on the CPU: MMEngine copies them to the model's device."""
    return dict(state_dict=read_state_dict(filename), meta={})


@CheckpointLoader.register_scheme(prefixes='hf://')
def load_from_hub(filename: str, map_location: Any = None) -> Any:
    """A file of the Hugging Face hub, as the local one that it is then."""
    return CheckpointLoader.load_checkpoint(str(local_copy(filename)), map_location)


# Local files alone.
@CheckpointLoader.register_scheme(prefixes=r'(?!\w+://|\w+:).*\.pth$')
def load_from_checked(filename: str, map_location: Any = None) -> Any:
    """MMEngine's reading of a ``.pth``, with the checksums in it compared.

    Raises:
        WeightsError: If the file is damaged, or asks for anything but data.
    """
    path = Path(filename).expanduser()
    if path.is_file():
        wrong = archive_damage(path)
        if wrong:
            raise WeightsError(f'The checkpoint {filename} is damaged: {wrong}. {ADVICE}')
        try:
            return load_plain(path, map_location)
        except Exception as error:  # torch raises many kinds for a broken file
            raise WeightsError(f'The checkpoint {filename} cannot be read safely: {brief(error)}. {ADVICE}') from error
    return load_from_local(filename, map_location)  # which says that there is none


def newest_whole(work_dir: str | Path) -> Path | None:
    """The checkpoint to resume from: the newest by time of those in a work directory that are whole; None without any.

    Those that are damaged are passed over with a warning. Where ``last_checkpoint`` says that checkpoints are elsewhere
    (``out_dir`` of the hook), they are looked for there, too.
    """
    folders = {Path(work_dir)}
    note = Path(work_dir) / 'last_checkpoint'
    if note.is_file() and (named := note.read_text(errors='surrogateescape').strip()) and '\0' not in named:
        folders.add(Path(named).parent)
    found = {path.resolve(): path for folder in folders for path in folder.glob('*.pth')
             if NUMBERED.fullmatch(path.name) and path.is_file()}  # fmt: skip
    for path in sorted(found.values(), key=_age, reverse=True):
        wrong = damage(path)
        if wrong is None:
            return path
        text = f'The checkpoint {path} is damaged and passed over: {wrong}.'
        print_log(text, logger='current', level=logging.WARNING)
    return None


def _age(path: Path) -> tuple[int, int]:
    """Sorts by time, and those of one moment by number."""
    return path.stat().st_mtime_ns, int(re.findall(r'\d+', path.stem)[-1])


class WholeFiles(LocalBackend):
    """MMEngine's local files, of which none is ever half-written."""

    def put(self, obj: bytes, filepath: str | Path) -> None:
        try:
            write_whole(filepath, obj)
        except OSError as error:
            raise TrainingError(
                f'The checkpoint {filepath} of {len(obj) / 1e6:.1f} MB could not be written ({error.strerror}): those '
                'before it are whole, so make room and continue with --resume.'
            ) from error


register_backend('whole', WholeFiles, force=True)


@HOOKS.register_module()
class WholeCheckpointHook(CheckpointHook):
    """MMEngine's ``CheckpointHook``, such that a training can be killed at any moment, and resumed.

    A checkpoint is a plain ``.pth``, with PyTorch's own CRC-32 of each tensor inside. It gets its name when all of it
    is on the disk, and only then are old ones deleted, so that for a moment there is one more than ``max_keep_ckpts``.
    A training is resumed only from a checkpoint of training, all of whose tensors are the model's.

    Args:
        save_best: Key of a metric of the validation, as the log has it, several, or ``auto`` for the first: the best
            checkpoint by each is kept as ``best_KEY_iter_N.pth``.
        rule: ``greater`` or ``less``, one for all keys or one each; None is the metric's own direction.
        backend_args: Files of a backend of one's own are written as that does.
        **kwargs: As ``CheckpointHook``.

    Raises:
        TrainingError: (before a training) If ``save_best`` or ``rule`` does not fit the validation.
    """

    def __init__(
        self,
        *args: Any,
        save_best: str | Sequence[str] | None = None,
        rule: str | Sequence[str] | None = None,
        backend_args: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, backend_args=dict(backend_args or dict(backend='whole')), **kwargs)
        self._best, self._rules = _listed('save_best', save_best), _listed('rule', rule) or [None]

    def before_train(self, runner: Runner) -> None:
        if self._best:  # MMEngine's rules by parts of names know none of the metrics of images
            found = best_rules(runner.val_loop, self._best, self._rules)
            self.save_best = [*found]
            self.is_better_than: dict[str, Callable[[float, float], bool]] = {}
            try:
                self._init_rule([*found.values()], [*found])
            except ValueError as error:
                raise TrainingError(f'{error} Set {KEY}.rule=greater or less.') from error
            if len(found) == 1:  # MMEngine keeps one or several in places of their own
                self.best_ckpt_path = None
            else:
                self.best_ckpt_path_dict = dict.fromkeys(found)
        super().before_train(runner)
        if is_main_process() and isinstance(self.file_backend, WholeFiles):
            notes = Path(runner.work_dir).glob('last_checkpoint.*.part')
            for path in [*Path(self.out_dir).glob('*.pth.*.part'), *notes]:  # of a process that was killed
                path.unlink(missing_ok=True)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float]) -> None:
        lost = [key for key in self.save_best or () if key not in metrics]
        if lost:  # no image had that metric
            runner.logger.warning(f'This validation has no {" and no ".join(lost)}, so it changes no best checkpoint.')
        super().after_val_epoch(runner, dict.fromkeys(lost, math.nan) | metrics)

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict[str, Any]) -> None:
        outdated: list[int] = []
        if self.max_keep_ckpts > 0:
            kept = [*(each for each in self.keep_ckpt_ids if each != step), step]
            # With those that are about to go: after a kill in between, a resume deletes them.
            runner.message_hub.update_info('keep_ckpt_ids', kept)
            outdated = kept[:-self.max_keep_ckpts]
        name = self.filename_tmpl.format(step)
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir, name, self.file_client_args, save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler, meta=meta, by_epoch=self.by_epoch,
            backend_args=self.backend_args, **self.args,
        )  # fmt: skip
        if self.max_keep_ckpts > 0:
            self.keep_ckpt_ids.clear()
            self.keep_ckpt_ids.extend(kept[-self.max_keep_ckpts:])
        if is_main_process():
            WholeFiles().put(os.fsencode(self.last_ckpt), Path(runner.work_dir) / 'last_checkpoint')
            for old in outdated:
                path = self.file_backend.join_path(self.out_dir, self.filename_tmpl.format(old))
                if self.file_backend.isfile(path):
                    self.file_backend.remove(path)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint that is not this config's.

        Raises:
            TrainingError: On a resume from what is no checkpoint of training, or carries Python that would be run.
            WeightsError: If, on a resume, any tensor differs in name or shape; else, if none matches.
        """
        super().after_load_checkpoint(runner, checkpoint)
        if runner._resume:
            if 'config' in checkpoint.get('meta', {}):  # MMEngine runs it as Python, and writes none itself
                raise TrainingError(
                    f'{runner._load_from} has a meta.config, which a resume would run as Python: start from these '
                    'weights with --cfg-options load_from=FILE.'
                )
            missing = [key for key in ('optimizer', 'message_hub') if key not in checkpoint]
            missing += [f'meta.{key}' for key in ('epoch', 'iter') if key not in checkpoint.get('meta', {})]
            if missing:
                raise TrainingError(
                    f'No training can be resumed from {runner._load_from}, which has no {" and no ".join(missing)}: '
                    'give a checkpoint of training, or start from these weights with --cfg-options load_from=FILE.'
                )
        check_pair(unwrapped(runner.model), checkpoint.get('state_dict', checkpoint), whole=runner._resume)


def _listed(name: str, given: str | Sequence[str] | None) -> list[Any]:
    """One or several, as a list; none for None."""
    several = [given] if isinstance(given, str) else [] if given is None else given
    if not isinstance(several, (list, tuple)) or not all(isinstance(each, str) for each in several):
        raise ValueError(f'{name} must be a text or several, but is {given!r}.')
    return list(dict.fromkeys(several)) if name == 'save_best' else list(several)


def check_pair(model: Any, state: Mapping[str, Any], whole: bool) -> None:
    """Compare a model's tensors with a checkpoint's, where the model does not do it by itself.

    MMEngine only warns, and continues with random weights.

    Args:
        model: Any; a ``GLEANRestorer`` refuses by itself, and knows more forms of a checkpoint.
        state: Of the checkpoint.
        whole: Every tensor must fit; else one must.

    Raises:
        WeightsError: If it does not fit.
    """
    if getattr(model, 'checks_checkpoints', False):
        return
    expected = model.state_dict()
    matching = [key for key, value in expected.items() if key in state and state[key].shape == value.shape]
    if whole or not matching:
        check(expected, state, 'The checkpoint', f"this config's {type(model).__name__}")
