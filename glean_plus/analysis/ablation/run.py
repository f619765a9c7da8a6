"""Config, checkpoint and images in; a page, grids and numbers out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from glean_plus.analysis.ablation.data import Source
from glean_plus.analysis.ablation.evaluator import Codes, Inspector
from glean_plus.analysis.ablation.grid import Group, Tile, draw_grid
from glean_plus.analysis.ablation.load import load_glean, own_image_bank
from glean_plus.analysis.ablation.page import image_section, page
from glean_plus.analysis.ablation.switches import GROUPS, MEAN, MODEL, NEXT, switches_of
from glean_plus.analysis.ablation.table import CHANGE, PSNR, Scores, Table
from glean_plus.analysis.errors import InspectionError
from glean_plus.models.loading import bank_draws_bgr
from glean_plus.prepare.images import save
from glean_plus.registry import MODELS
from glean_plus.training.labels import generator_labels
from glean_plus.utils.files import save_json, save_text
from glean_plus.utils.images.arrays import to_array
from glean_plus.version import __version__

PAGE, NUMBERS, SUMMARY, GRIDS = 'index.html', 'numbers.csv', 'summary.json', 'grids'
NOT_FUSED = dict(
    bypass="the block of the bank as it is (S_i in place of S_i', Eq. 3)",
    zeros='the convolution of the fusion takes zeros',
)


@dataclass(frozen=True)
class Settings:
    """Options of an inspection."""

    fusion_off: str = 'bypass'  # what stands where an encoder feature is not fused, see Inspector
    distance: str = 'st-lpips-vgg'  # a key of `DISTANCES`
    seed: int = 0  # of the noise maps; each image's follow from it and from its index
    shown: int = 8  # how many images are shown, the first of those that are measured
    bgr: bool | None = None  # the bank synthesizes BGR images, the model RGB; None asks the catalogue
    device: str = 'cpu'  # where to run


@dataclass(frozen=True)
class Sample:
    """An image as the restorer takes it."""

    lq: Tensor  # (1, C, in_size, in_size)
    label: Tensor | None  # its class (1,), where the model is given classes
    data_samples: Any  # what the preprocessor knows of it

    @property
    def truth(self) -> Tensor | None:
        """(C, H, W), 0 to 255, BGR, if there is any."""
        return self.data_samples.gt_img[0].cpu() if 'gt_img' in self.data_samples else None


def check_out(out: Path, overwrite: bool) -> None:
    """Raise InspectionError where something would be overwritten that must not be."""
    if out.exists() and not out.is_dir():
        raise InspectionError(f'The results go to a folder, but {out} is a file.')
    existing = [out / name for name in (PAGE, NUMBERS, SUMMARY, GRIDS) if (out / name).exists()]
    if existing and not overwrite:
        raise InspectionError(f'{existing[0]} is there already: choose another folder, or overwrite.')


class Inspection:
    """A model of a config and a checkpoint, ready to be inspected.

    Raises:
        InspectionError, RestoreError, WeightsError: If there is no such model; see :func:`load_glean`.
    """

    def __init__(self, model: Mapping[str, Any], checkpoint: str, settings: Settings) -> None:
        self.settings = settings
        self.model = load_glean(model, checkpoint, settings.device)
        preprocessor = model.get('data_preprocessor') or dict(type='DataPreprocessor')
        self.preprocessor = MODELS.build(preprocessor).to(settings.device)
        self.own_image = own_image_bank(model['generator'], settings.device)
        known = not isinstance(self.own_image, str) and bank_draws_bgr(self.own_image)
        self.bgr = known if settings.bgr is None else settings.bgr

    def sample(self, source: Source, index: int) -> Sample:
        """An image through the config's preprocessor.

        Raises:
            InspectionError: If the model does not take it.
        """
        data = self.preprocessor(dict(source.batch(index)), False)
        lq = data['inputs']
        lq = lq['img'] if isinstance(lq, dict) else lq
        if lq.shape[-2:] != (self.model.in_size, self.model.in_size):
            height, width = lq.shape[-2:]
            raise InspectionError(
                f'{source.names[index]} is an input of {width} x {height}, but the model takes {self.model.in_size} x '
                f'{self.model.in_size}.'
            )
        labels = generator_labels(self.model, data['data_samples'])
        return Sample(lq, labels[0] if labels else None, data['data_samples'])

    def run(self, source: Source, indices: Sequence[int], out: Path, about: Mapping[str, str]) -> Table:
        """Inspect the images and write everything below ``out``, with progress bars.

        Args:
            out: Folder; what an earlier run has written there is replaced.
            about: What the page says of config, checkpoint and images.
        """
        settings = self.settings
        exchanged = any(
            switch.applies and switch.walk.codes in (NEXT, MEAN)
            for switch in switches_of(self.model, self.own_image, len(indices))
        )
        codes = list(self._codes(source, indices)) if exchanged else []
        mean = [_mean(layer) for layer in zip(*codes)] if codes else None
        inspector = Inspector(self.model, self.own_image, mean, len(indices), settings.fusion_off, self.bgr)
        scores = Scores(settings.distance, settings.device)
        has_truth = self.sample(source, indices[0]).truth is not None
        table = Table(inspector.switches, scores.names if has_truth else [])
        sections, grids = [], out / GRIDS
        grids.mkdir(parents=True, exist_ok=True)
        for old in (out / PAGE, out / NUMBERS, out / SUMMARY, *grids.glob('*.png')):
            old.unlink(missing_ok=True)

        for place, index in enumerate(tqdm(indices, desc='pictures', unit='image')):
            sample, name = self.sample(source, index), source.names[index]
            others = codes[(place + 1) % len(codes)] if codes else ()
            view = inspector.view(sample.lq, sample.label, others, settings.seed + index)
            images = {key: self._shown(each, sample) for key, each in inspector.images(view).items()}
            numbers = table.add(name, images, sample.truth, scores)
            if place < settings.shown:
                groups = self._groups(table, sample, images, numbers)
                save(draw_grid(groups, self.model.out_size), grids / f'{name}.png')
                sections.append(image_section(name, groups))
        self._write(table, sections, out, about)
        return table

    @torch.no_grad()
    def _codes(self, source: Source, indices: Sequence[int]) -> Iterator[Codes]:
        """Of each image; they are exchanged and averaged, so that all are needed before the first is run."""
        for index in tqdm(indices, desc='codes', unit='image'):
            sample = self.sample(source, index)
            yield self.model.encode(sample.lq, sample.label)[1]

    def _shown(self, image: Tensor, sample: Sample) -> Tensor:
        """(1, C, H, W), about -1 to 1 -> (C, H, W), 0 to 255, BGR, as a test judges it."""
        return self.preprocessor.destruct(image.clone(), sample.data_samples, 'img')[0].cpu()

    def _groups(
        self,
        table: Table,
        sample: Sample,
        images: Mapping[str, Tensor],
        numbers: Mapping[str, Mapping[str, float]],
    ) -> list[Group]:
        tiles: dict[str, list[Tile]] = {group: [] for group in GROUPS}
        for switch in table.switches:
            if switch.applies:
                text = _numbers(table, numbers[switch.key])
                tiles[switch.group].append(Tile(switch.label, _rgb(images[switch.key]), text))
            else:
                tiles[switch.group].append(Tile(switch.label, None))
        tiles[MODEL].insert(0, Tile('input', _rgb(self._shown(sample.lq, sample))))
        if sample.truth is not None:
            tiles[MODEL].append(Tile('truth', _rgb(sample.truth)))
        return [Group(GROUPS[group], each) for group, each in tiles.items() if each]

    def _write(self, table: Table, sections: Sequence[str], out: Path, about: Mapping[str, str]) -> None:
        bank, settings = self.model.bank, self.settings
        fusions = f'fused at {", ".join(self.model.fusions)} px' if len(self.model.fusions) else 'nothing fused'
        parts = ', '.join(type(part).__name__ for part in (self.model.codes, self.model.decoder))
        facts = {
            **about,
            'model': f'{self.model.in_size} -> {self.model.out_size} px, {type(bank).__name__} from {bank.start_res} on'
                     f', {fusions}, {parts}',
            'pictures': f'{len(table.rows)}, of which {len(sections)} are shown',
            **({'not fused': NOT_FUSED[settings.fusion_off]} if len(self.model.fusions) else {}),
            'seed of the noise': str(settings.seed),
            'version': __version__,
        }  # fmt: skip
        explanation = (
            'Means over the images. A delta is the switch less the model with everything on, ± its standard error '
            'over the same images; of a perceptual distance, more is worse. The change is the mean absolute '
            "difference from the model's output, in levels of 255."
        )
        title = f'What each part does: {about.get("config", "")}'
        text = page(title, facts, table.lines(), table.switches, sections, explanation)
        summary = dict(facts=facts, settings=asdict(settings), pictures=list(table.rows), switches=table.summary())
        save_text(table.csv(), out / NUMBERS)
        save_json(summary, out / SUMMARY, allow_nan=False)
        save_text(text, out / PAGE)


def _mean(codes: Sequence[Tensor | None]) -> Tensor | None:
    """(1, dim) each -> their mean, (1, dim)."""
    given = [code for code in codes if code is not None]
    return torch.stack(given).mean(dim=0) if given else None


def _rgb(image: Tensor) -> np.ndarray:
    """(C, H, W), 0 to 255, BGR -> (H, W, 3) uint8 RGB."""
    return np.ascontiguousarray(to_array(image)[:, :, ::-1])


def _numbers(table: Table, numbers: Mapping[str, float]) -> str:
    if not table.metrics:
        return f'change {numbers[CHANGE]:.1f}'
    return ' | '.join(f'{numbers[name]:.2f} dB' if name == PSNR else f'{numbers[name]:.4f}' for name in table.metrics)
