"""Our models by their names in MMagic's ``MMagicInferencer``."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.fileio import load

from glean_plus.inference.source import available, find
from glean_plus.utils.resources import data_folder
from glean_plus.weights.resources import own_config

# A task in our metafile -> its name in MMagic's. What has no results there is a published model of super-resolution.
TASKS = {
    'image super-resolution': 'Image Super-Resolution',
    'blind image restoration': 'Image Restoration',
    'image colorization': 'Colorization',
}
# Which of MMagic's inferencers runs all of them; its own for colorization is made for one model, inst_colorization.
RUN_AS = TASKS['image super-resolution']


@functools.cache
def settings() -> Mapping[str, Mapping[str, Any]]:
    """Restorers whose weights are shipped or published, as MMagic lists its own: task, config and weights by name."""
    models = load(data_folder('configs') / 'metafile.yml')['Models']
    tasks = {model['Name']: TASKS[model['Results'][0]['Task']] for model in models if model.get('Results')}
    found = {}
    for name, card in available().items():
        config = card.config or card.name
        weights = card.url or str(data_folder('configs') / 'weights' / f'{card.name}.safetensors')
        setting = dict(Name=name, Config=str(own_config(config)), Weights=weights)
        found[name] = dict(task=tasks.get(config, RUN_AS), settings=[setting])
    return found


def extend(inferencer: Any) -> None:
    """Add our models to ``MMagicInferencer``, the class: to its lists, and to what ``model_name`` may be.

    A config of ours needs no name beside it. Nothing of MMagic's own models changes.
    """
    theirs = [name for name in inferencer.inference_supported_models if name not in settings()]
    list_theirs, arguments_of_theirs = inferencer.init_inference_supported_models_cfg, inferencer._get_inferencer_kwargs
    if list_theirs.__module__ == __name__:  # ours already
        return

    def list_all() -> None:
        if not inferencer.inference_supported_models_cfg_inited:
            # It opens a metafile of MMagic's for each name in the list.
            everything = inferencer.inference_supported_models
            inferencer.inference_supported_models = theirs
            try:
                list_theirs()
            finally:
                inferencer.inference_supported_models = everything
            inferencer.inference_supported_models_cfg.update(settings())

    def arguments(
        self: Any,
        model_name: str | None,
        model_setting: int | None,
        config_name: int | None,
        model_config: Any,
        model_ckpt: str | None,
        extra_parameters: dict | None,
    ) -> dict[str, Any]:
        if model_name is not None and model_name in settings():
            config = model_config or settings()[model_name]['settings'][0]['Config']
            # Published weights are checked against their hash.
            checkpoint = model_ckpt or str(find(model_name).checkpoint)
            model_name, model_config, model_ckpt = None, config, checkpoint
        found = arguments_of_theirs(
            self, model_name, model_setting, config_name, model_config, model_ckpt, extra_parameters
        )
        if 'task' not in found and _is_ours(model_config):
            found['task'] = RUN_AS
        return found

    inferencer.inference_supported_models = [*theirs, *settings()]
    inferencer.init_inference_supported_models_cfg = staticmethod(list_all)
    inferencer._get_inferencer_kwargs = arguments


def _is_ours(config: Any) -> bool:
    """Whether a config, or the file of one, is of a restorer here."""
    if config is None:
        return False
    read = Config.fromfile(config) if isinstance(config, (str, os.PathLike)) else config
    model = read.get('model') or {}
    return model.get('type') == 'GLEANRestorer'
