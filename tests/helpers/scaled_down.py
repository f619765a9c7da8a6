"""Any config of this package, small: tiny networks, two iterations, photographs where it looks for its data.

Nothing else changes. Paths, prefixes and names are the config's own, below the current directory; what it would
download lies in the cache, in the published form, with random weights.
"""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
import torchvision
from mmagic.evaluation.functional.fid_inception import FID_WEIGHTS_URL, fid_inception_v3
from mmagic.models.editors.arcface.model_irse import Backbone
from mmagic.registry import METRICS, MODELS
from mmengine.config import Config
from PIL import Image
from skimage import data
from sklearn.datasets import load_sample_image
from torch import nn

from glean_plus.models.banks import LatentBank
from glean_plus.prepare import Settings, prepare
from glean_plus.pretrained.identity import ARCFACE
from glean_plus.weights import fetch
from glean_plus.weights.cards import hash_in_name

SIZES = {'in_size', 'out_size', 'start_res', 'size'}
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
ITERATIONS = 2
SMALL_VGG = [4, 4, 'M', 8, 8, 'M', 16, 16, 16, 'M', 32, 32, 32, 'M', 32, 32, 32, 'M']  # VGG16's layers


def typed(value: Any, path: str = '') -> Iterator[tuple[str, dict]]:
    """Every dictionary with a type in it, and where it is."""
    if isinstance(value, dict):
        if 'type' in value:
            yield path, value
        for key, each in value.items():
            yield from typed(each, f'{path}.{key}' if path else str(key))
    elif isinstance(value, (list, tuple)):
        for index, each in enumerate(value):
            yield from typed(each, f'{path}.{index}')


def loaders(config: dict, *names: str) -> list[dict]:
    """The configs of all data loaders, or of some."""
    found = [config[name] for name in names or LOADERS if config.get(name)]
    return [each for loader in found for each in (loader if isinstance(loader, list) else [loader])]


def sizes(model: dict) -> tuple[int, int]:
    """Input's and output's side; both the output's for a bank that is trained."""
    generator = model['generator']
    out_size = generator.get('out_size') or generator['bank']['out_size']
    return generator.get('in_size', out_size), out_size


def is_here(part: dict) -> bool:
    """Whether a network's pre-trained weights are shipped."""
    return Path((part.get('pretrained') or {}).get('checkpoint', '')).is_file()


def scaled_down(config: Config) -> dict[str, Any]:
    """The config with sizes of the same ratio, so that the input has 8 px or the output 64, and narrow networks.

    Networks whose weights are shipped stay as they are; they are small.
    """
    small = config.to_dict()
    in_size, out_size = sizes(small['model'])
    kinds = {each['type'] for _, each in typed(small.get('test_evaluator', {}))}
    # NIQE wants blocks of 96 px, whose statistics at half the size need some pixels too.
    shrink = out_size // max(256 if 'NIQEMetric' in kinds else 64, 8 * out_size // in_size)
    assert shrink >= 1
    for part in (small['model'], loaders(small)):
        _shrink(part, shrink)
    for _, part in typed(small['model']):
        if not is_here(part):
            _narrow(part)
    for loader in loaders(small):
        loader.update(num_workers=0, persistent_workers=False)
        if isinstance(loader['dataset'].get('indices'), list):
            loader['dataset']['indices'] = [index for index in loader['dataset']['indices'] if index < 2]
    small['train_dataloader']['batch_size'] = 2
    small['train_cfg'].update(max_iters=ITERATIONS)
    if 'val_cfg' in small:
        small['train_cfg'].update(val_interval=ITERATIONS)
    small['default_hooks']['logger'].update(interval=1)
    small['default_hooks']['checkpoint'].update(interval=1, save_optimizer=False)
    return small


def _shrink(value: Any, factor: int) -> None:
    if isinstance(value, list):
        for each in value:
            _shrink(each, factor)
    if isinstance(value, dict):
        for key, each in value.items():
            if key in SIZES and isinstance(each, int):
                value[key] = each // factor
            elif key == 'attention':
                value[key] = [res // factor for res in each]
            else:
                _shrink(each, factor)


def _narrow(part: dict) -> None:
    """Few channels and blocks for a network, by whatever of these it can be told."""
    blocks = int(np.log2(part.get('in_size', 4))) - 1
    narrow = dict(
        channels={2**i: 8 for i in range(2, 11)}, style_channels=8, num_mlps=1, shared_dim=8, widths=[8] * blocks,
        rrdb_channels=8, growth_channels=4, mid_channels=8, last_channels=8, num_rrdbs=1, num_blocks=1)  # fmt: skip
    cls = MODELS.get(part['type'])
    taken = inspect.signature(cls.__init__).parameters
    optional = {key for key, each in taken.items() if each.default is not each.empty}  # others come from elsewhere
    left_out = {key for key, value in part.items() if value is None}
    part.update({key: value for key, value in narrow.items() if key in optional - left_out})


# ---- images


def photographs(folder: Path) -> Path:
    """Those that scikit-image and scikit-learn bring along."""
    pictures = dict(
        astronaut=data.astronaut(), chelsea=data.chelsea(), coffee=data.coffee(), china=load_sample_image('china.jpg'))
    folder.mkdir(parents=True)
    for name, picture in pictures.items():
        Image.fromarray(picture).save(folder / f'{name}.jpg', quality=95)
    return folder


def prepared(size: int, scale: int, cache: Path) -> Path:
    """The photographs, prepared by the package's own tool, once for each size and scale."""
    source, out = cache / 'photographs', cache / f'{size}px_{scale}x'
    scales = [scale] if scale > 1 else []
    if not source.is_dir():
        photographs(source)
    if not out.is_dir():
        report = prepare(source, out, Settings.of('folder', size=size, scales=scales, min_size=64), 1)
        assert report.pictures == 4 and not report.problems
    return out


def lay_out(published: dict, small: dict, cache: Path) -> None:
    """Photographs in the folders, and lists under the names, that the config's loaders read."""
    in_size, out_size = sizes(small['model'])
    scale = out_size // in_size
    crops = [each['gt_patch_size'] for _, each in typed(small['train_dataloader']) if 'gt_patch_size' in each]
    train = loaders(small, 'train_dataloader')
    for loader in loaders(small):
        dataset = loader['dataset']
        root, ann_file = Path(dataset['data_root']), dataset.get('ann_file')
        folders = dataset['data_prefix']
        folders = dict(gt=folders) if isinstance(folders, str) else folders
        if not ann_file:  # photographs of any size, in folders
            assert list(folders) == ['img'] and dataset['recursive']
            (root / folders['img'] / 'Some_Body').mkdir(parents=True)
            Image.fromarray(data.astronaut()[:250, 100:350]).save(root / folders['img'] / 'Some_Body' / 'face.jpg')
            Image.fromarray(data.coffee()[:218, :178]).save(root / folders['img'] / '000001.jpg')
            continue
        if 'img' in folders:
            published_in, published_out = sizes(published['model'])
            assert folders['img'] == f'BIx{published_out // published_in}_down', folders['img']
        side = max([out_size, *crops]) if loader in train else out_size
        pictures = prepared(side, scale, cache)
        names = sorted(path.name for path in (pictures / 'GT').iterdir())
        sources = dict(gt=pictures / 'GT', img=pictures / f'BIx{scale}_down')
        for key, folder in folders.items():
            shutil.copytree(sources[key], root / folder, dirs_exist_ok=True)
        classes = dataset.get('num_classes') or small['model']['generator'].get('num_classes') or 2
        lines = [f'{name} {index % classes}' if ann_file.startswith('labels') else f'{name} ({side},{side},3)'
                 for index, name in enumerate(names if loader in train else names[:2])]  # fmt: skip
        (root / ann_file).write_text('\n'.join(lines) + '\n')


# ---- weights


def put_checkpoints(model: dict) -> None:
    """Random weights where the config's are, or would be cached, each network below the prefix that the config asks."""
    files: dict[str, dict[str, torch.Tensor]] = {}
    for _, part in typed(model):
        if not part.get('pretrained') or is_here(part):
            continue
        network = MODELS.build({key: value for key, value in part.items() if key != 'pretrained'})
        network = network.whole() if isinstance(network, LatentBank) else network
        prefix = part['pretrained'].get('prefix', 'generator_ema')
        state = {f'{prefix}.{key}': value for key, value in network.state_dict().items()}
        files.setdefault(part['pretrained']['checkpoint'], {}).update(state)
    for name, state in files.items():
        path = fetch.cached_path(name) if name.startswith('http') else Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(dict(state_dict=state), path)


def put_networks(config: dict, cache: Path) -> None:
    """Random weights of the networks of losses and metrics, in the published files' form, where downloads lie.

    FID's reference, which a user makes, is a normal distribution.
    """
    asked = {each['type'] for _, each in typed(config)}
    makers = dict(
        VGGFeatureLoss=('https://x/vgg16-397923af.pth', lambda: small_vgg('vgg16')),
        FIDMetric=(FID_WEIGHTS_URL, lambda: fid_inception_v3(load_ckpt=False)),
        IdentitySimilarity=(ARCFACE.url, lambda: Backbone(112, 50, 'ir_se', 0.6)),
    )  # fmt: skip
    for kind, (url, make) in makers.items():
        path = cache / Path(urlsplit(url).path).name
        if kind in asked and not path.exists():
            with torch.device('meta'):
                network = make()
            torch.save(randomized(network).state_dict(), path)
    for _, metric in typed(config):
        if metric['type'] == 'FIDMetric' and metric.get('reference'):
            np.savez(metric['reference'], mu=np.zeros(2048, np.float32), sigma=np.eye(2048, dtype=np.float32))


def small_vgg(vgg_type: str, weights: Any = None) -> nn.Module:
    """In place of torchvision's: the layers of VGG16, an eighth as wide or less."""
    assert vgg_type == 'vgg16' and weights is None
    return nn.ModuleDict(dict(features=torchvision.models.vgg.make_layers(SMALL_VGG)))


def randomized(network: nn.Module) -> nn.Module:
    """A network from the meta device, with weights that keep the scale of what passes."""
    network.to_empty(device='cpu')
    for name, tensor in network.state_dict().items():
        if tensor.ndim > 1:
            tensor.normal_(std=tensor[0].numel() ** -0.5)
        else:
            tensor.fill_(float('weight' in name or 'running_var' in name))
    return network


def without_downloads(cache: Path, patch: pytest.MonkeyPatch) -> None:
    """Downloads are in ``cache``, and pass for the published ones, whose hashes are in their names."""
    hashes = {Path(ARCFACE.url).name: ARCFACE.sha256}
    patch.setenv('GLEAN_PLUS_CACHE', str(cache))
    patch.setenv('GLEAN_PLUS_OFFLINE', '1')
    patch.setattr(fetch, 'sha256', lambda path: hashes.get(Path(path).name) or hash_in_name(Path(path).name))
    patch.setattr(torchvision.models, 'get_model', lambda *args, **kw: SimpleNamespace(
        features=small_vgg(*args, **kw)['features']))  # fmt: skip


# ---- results


def metric_names(evaluators: Any) -> set[str]:
    """What an evaluator, or several, report."""
    metrics = [METRICS.build(each) for _, each in typed(evaluators) if each['type'] != 'Evaluator']
    return {f'{metric.prefix}/{metric.metric}' if metric.prefix else metric.metric for metric in metrics}
