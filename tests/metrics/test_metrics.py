"""Metrics: each number against another implementation, a published value or a closed form."""

from __future__ import annotations

import copy
import json
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import lpips as lpips_package
import numpy as np
import pytest
import scipy.linalg
import torch
import torchvision
from mmagic.datasets.transforms import MATLABLikeResize
from mmagic.evaluation.functional.fid_inception import fid_inception_v3
from mmagic.models.editors.arcface.model_irse import Backbone
from mmagic.registry import METRICS, MODELS
from mmagic.structures import DataSample
from mmengine.config import Config
from mmengine.runner import Runner
from skimage import data
from skimage.color import rgb2ycbcr
from skimage.metrics import structural_similarity
from torch import nn

from glean_plus import metrics as metrics_package
from glean_plus.metrics.base import Unmeasurable
from glean_plus.metrics.distribution import frechet_distance, kernel_distance
from glean_plus.pretrained.identity import ARCFACE, arcface
from glean_plus.training.launch import Metrics
from glean_plus.utils.imresize import matlab_resize
from glean_plus.weights import WeightsError
from glean_plus.weights import cache as shared

from conftest import CONFIGS, forked

Images = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(autouse=True, scope='module')
def _no_networks_left() -> Any:
    yield
    shared.release()


@pytest.fixture(scope='module')
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random weights in the published files' form: LPIPS' trunk, ArcFace, Inception."""
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp('networks')
    alex = torchvision.models.alexnet(weights=None).features
    with torch.device('meta'):
        face, inception = Backbone(112, 50, 'ir_se', 0.6), fid_inception_v3(load_ckpt=False)
    networks = dict(alex=alex, face=randomized(face, 1 / 3), inception=randomized(inception))
    for name, network in networks.items():
        prefix = 'features.' if name == 'alex' else ''
        state = {prefix + key: value for key, value in network.state_dict().items()}
        if name == 'inception':  # published without the counters
            state = {key: value for key, value in state.items() if not key.endswith('num_batches_tracked')}
        torch.save(state, folder / f'{name}.pth')
    return {name: folder / f'{name}.pth' for name in networks}


def randomized(network: nn.Module, gain: float = 2) -> nn.Module:
    """A network from the meta device, with random weights; ``gain`` 2 keeps the scale behind a ReLU."""
    network.to_empty(device='cpu')
    for name, tensor in network.state_dict().items():
        if tensor.ndim > 1:
            tensor.normal_(std=(gain / tensor[0].numel()) ** 0.5)
        elif 'running_mean' in name or 'bias' in name or 'num_batches' in name:
            tensor.zero_()
        else:
            tensor.fill_(1)
    return network.eval()


def photographs(size: int = 96) -> Images:
    """Truth and a blurred, shifted prediction: uint8 RGB (3, size, size)."""
    image = cv2.resize(data.chelsea()[:300, 75:375], (size, size), interpolation=cv2.INTER_AREA)
    other = np.clip(cv2.GaussianBlur(image, (0, 0), 1.5) * np.array([0.9, 1.0, 1.05]) + 4, 0, 255).astype(np.uint8)
    return tuple(torch.from_numpy(each).permute(2, 0, 1).contiguous() for each in (image, other))


def measured(config: dict, gt: torch.Tensor, pred: torch.Tensor, **more: torch.Tensor) -> dict[str, float]:
    """What a test reports for RGB images that went through MMagic's preprocessor, as a restorer's test step does."""
    preprocessor = MODELS.build(dict(type='DataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3))
    meta = dict(img_channel_order='rgb', gt_channel_order='rgb')
    batch = preprocessor(dict(inputs=[pred], data_samples=[DataSample(gt_img=gt, metainfo=meta)]), False)
    samples = batch['data_samples']
    out = preprocessor.destruct(batch['inputs'], samples)
    sample = samples.split()[0].to_dict()
    sample['output'] = dict(pred_img=out[0])
    sample.update({name: image.flip(0) for name, image in more.items()})  # to BGR, as MMagic's test step
    metric = METRICS.build(config)
    metric.process(None, [sample])
    metric.size = 1
    return metric.evaluate()


# ---- PSNR and SSIM


@pytest.mark.parametrize('ending', ['', 'Metric'])
def test_psnr_and_ssim_in_rgb_and_y(ending: str) -> None:
    """MMagic's, and ours, which give the same."""
    gt, pred = photographs()
    a, b = (image.permute(1, 2, 0).numpy() for image in (gt, pred))
    for convert_to in (None, 'Y'):
        if convert_to:
            a, b = (rgb2ycbcr(image)[..., 0] for image in (a, b))
        mse = np.mean((a.astype(float) - b) ** 2)
        options = dict(convert_to=convert_to, prefix=convert_to or 'RGB')
        found = {}
        for name in ('PSNR', 'SSIM'):
            found |= measured(dict(type=f'{name}{ending}', **options), gt, pred)
        expected = structural_similarity(
            a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255,
            channel_axis=None if convert_to else 2,
        )  # fmt: skip
        assert found[f'{options["prefix"]}/PSNR'] == pytest.approx(10 * np.log10(255**2 / mse), abs=1e-3)
        assert found[f'{options["prefix"]}/SSIM'] == pytest.approx(expected, abs=3e-3)  # another edge


# ---- what every metric says of itself


def test_every_metric_knows_its_direction_and_has_a_name_of_its_own() -> None:
    directions = {
        'LPIPSMetric': True, 'STLPIPSMetric': True, 'NIQEMetric': True, 'FIDMetric': True, 'KIDMetric': True,
        'IdentitySimilarity': False, 'LRConsistency': False, 'PSNRMetric': False, 'SSIMMetric': False,
    }  # fmt: skip
    assert {*directions} == {*metrics_package.__all__}
    for name, lower in directions.items():
        metric = METRICS.build(dict(type=name, prefix='x'))
        assert metric.lower_is_better is lower and metric.prefix == 'x' and isinstance(metric.unit, str)
        assert metric.device == 'cpu' and METRICS.build(dict(type=name, device='meta')).device == 'meta'
        with pytest.raises(ValueError, match='hsv'):
            METRICS.build(dict(type=name, channel_order='hsv'))
        with pytest.raises(TypeError, match='colour'):
            METRICS.build(dict(type=name, colour='rgb'))
    assert METRICS.build(dict(type='LRConsistency')).unit == 'dB'


# ---- LPIPS


@pytest.mark.parametrize(('net', 'name'), [('alex', 'alexnet'), ('vgg', 'vgg16')])
def test_lpips_equals_its_package(net: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with torch.device('meta'):
        trunk = randomized(torchvision.models.get_model(name, weights=None).features)
    torch.save({f'features.{key}': value.clone() for key, value in trunk.state_dict().items()}, tmp_path / 'trunk.pth')
    blank = copy.deepcopy(trunk)
    for parameter in blank.parameters():
        parameter.data.zero_()

    def trunk_of_torchvision(pretrained: bool) -> SimpleNamespace:
        return SimpleNamespace(features=copy.deepcopy(trunk if pretrained else blank))

    monkeypatch.setattr(lpips_package.pretrained_networks.tv, name, trunk_of_torchvision)
    lpips_of_the_package = lpips_package.LPIPS(net=net, verbose=False)  # as its users have it, with a download
    gt, pred = photographs()
    with torch.no_grad():
        a, b = (image[None] / 255.0 for image in (gt, pred))
        expected = float(lpips_of_the_package(a, b, normalize=True))  # RGB, 0 to 1
        swapped = float(lpips_of_the_package(a.flip(1), b.flip(1), normalize=True))
    config = dict(type='LPIPSMetric', net=net, weights=str(tmp_path / 'trunk.pth'))
    key = f'LPIPS-{net}'
    assert measured(config, gt, pred) == {key: pytest.approx(expected, rel=1e-4)}
    assert measured(config | dict(channel_order='rgb', prefix='p'), gt, pred) == {
        f'p/{key}': pytest.approx(swapped, rel=1e-4)
    }
    assert swapped != pytest.approx(expected, rel=1e-2)
    assert measured(config, gt, gt) == {key: 0}
    # A stronger blur is farther away, whatever the trunk.
    worse = torch.nn.functional.avg_pool2d(pred[None].float(), 7, 1, 3)[0].to(torch.uint8)
    assert measured(config, gt, worse)[key] > expected
    with pytest.raises(ValueError, match='resnet'):
        METRICS.build(dict(type='LPIPSMetric', net='resnet'))


# ---- identity


def test_identity_is_the_cosine_of_arcface(files: dict[str, Path]) -> None:
    gt, pred = photographs(256)
    network = Backbone(112, 50, 'ir_se', 0.6).eval()
    network.load_state_dict(torch.load(files['face']))

    def embedding(image: torch.Tensor, crop: bool) -> np.ndarray:
        pixels = image.double().numpy()
        pixels = pixels[:, 35:223, 32:220] if crop else pixels
        # Areas' means, written out: 188 -> 112 and 256 -> 112 share no whole ratio.
        size = pixels.shape[1]
        edges = [(i * size // 112, -(-(i + 1) * size // 112)) for i in range(112)]
        rows = np.stack([pixels[:, a:b].mean(1) for a, b in edges], 1)
        face = np.stack([rows[:, :, a:b].mean(2) for a, b in edges], 2)
        with torch.no_grad():
            return network(torch.from_numpy(face).float()[None] / 127.5 - 1)[0].double().numpy()

    found: list[float] = []
    for crop in ('ffhq', 'none'):
        config = dict(type='IdentitySimilarity', weights=str(files['face']), crop=crop)
        a, b = embedding(gt, crop == 'ffhq'), embedding(pred, crop == 'ffhq')
        expected = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        assert measured(config, gt, pred)['ID'] == pytest.approx(expected, abs=1e-5)
        found.append(expected)
    assert max(found) < 0.999 and abs(found[0] - found[1]) > 1e-3
    assert measured(config, gt, gt)['ID'] == pytest.approx(1, abs=1e-5)
    large = torch.nn.functional.interpolate(gt[None].float(), scale_factor=2)[0].to(torch.uint8)
    config = dict(type='IdentitySimilarity', weights=str(files['face']), gt_key='input')
    assert measured(config, pred, large, input=gt)['ID'] == pytest.approx(1, abs=1e-5)
    with pytest.raises(ValueError, match='lfw'):
        METRICS.build(dict(type='IdentitySimilarity', crop='lfw'))


def test_missing_and_wrong_arcface_weights_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('GLEAN_PLUS_CACHE', str(tmp_path))
    monkeypatch.setenv('GLEAN_PLUS_OFFLINE', '1')
    name = 'recognition_arcface_ir_se50.pth'
    with pytest.raises(WeightsError, match=rf'{name} .*starts with {ARCFACE.sha256}.*put it at {tmp_path}/{name}'):
        arcface().on('cpu')
    (tmp_path / name).write_bytes(b'something else')
    with pytest.raises(WeightsError, match=rf'{name} is not .*Delete it'):
        arcface().on('cpu')
    with pytest.raises(WeightsError, match='There is no weight file .*nowhere.pth'):
        arcface(weights=str(tmp_path / 'nowhere.pth')).on('cpu')


# ---- low-resolution consistency


@pytest.mark.parametrize(('size', 'target'), [((64, 48), (16, 12)), ((60, 42), (20, 21)), ((16, 12), (64, 48))])
def test_differentiable_bicubic_equals_matlab_s(size: tuple[int, int], target: tuple[int, int]) -> None:
    image = torch.rand(3, *size, dtype=torch.float64) * 255
    expected = MATLABLikeResize(keys=['img'], output_shape=target)({'img': image.permute(1, 2, 0).numpy()})['img']
    result = matlab_resize(image.float(), target)
    np.testing.assert_allclose(result.permute(1, 2, 0).numpy(), expected, atol=2e-3)
    image.requires_grad_()
    matlab_resize(image, target).sum().backward()
    assert float(image.grad.sum()) == pytest.approx(3 * target[0] * target[1], rel=1e-4)


def test_consistency_is_the_psnr_of_the_shrunk_prediction() -> None:
    gt, pred = photographs()
    shrink = lambda image: MATLABLikeResize(keys=['img'], scale=0.25)(  # noqa: E731
        {'img': image.permute(1, 2, 0).double().numpy()}
    )['img'].clip(0, 255)
    lq = torch.from_numpy(shrink(gt).round()).permute(2, 0, 1).to(torch.uint8)
    error = np.mean((shrink(pred) - lq.permute(1, 2, 0).numpy()) ** 2)
    found = measured(dict(type='LRConsistency', prefix='p'), gt, pred, input=lq)
    assert found == {'p/LR-PSNR': pytest.approx(10 * np.log10(255**2 / error), abs=1e-3)}
    # The ground truth is as consistent as 8 bits allow: an error of 1/12.
    assert measured(dict(type='LRConsistency'), gt, gt, input=lq)['LR-PSNR'] == pytest.approx(58.92, abs=0.4)
    with pytest.raises(ValueError, match='the input has 1'):
        measured(dict(type='LRConsistency'), gt, pred, input=lq[:1])


# ---- NIQE


def test_niqe_equals_other_implementations() -> None:
    """Made once with pyiqa 0.1.16's ``calculate_niqe(color_space='ycbcr' and 'yiq')``, which MATLAB's calibrates.

    The two differ in rounding. MMagic's own tests pin MATLAB's 5.7296 for baboon.png on the function used here.
    """
    picture = torch.from_numpy(data.chelsea()).permute(2, 0, 1).contiguous()
    found = measured(dict(type='NIQEMetric', prefix='p'), picture, picture)
    assert found == {'p/NIQE': pytest.approx(PYIQA['ycbcr'], rel=2e-3)}
    gray = measured(dict(type='NIQEMetric', convert_to='gray'), picture, picture)['NIQE']
    assert gray == pytest.approx(PYIQA['yiq'], rel=2e-3)
    cropped = measured(dict(type='NIQEMetric', crop_border=6), picture, picture)['NIQE']
    assert cropped == measured(dict(type='NIQEMetric'), picture, picture[:, 6:-6, 6:-6])['NIQE']
    # No ground truth is needed, and another key can be asked for.
    metric = METRICS.build(dict(type='NIQEMetric', pred_key='bicubic_img', channel_order='rgb'))
    metric.process(None, [dict(output=dict(bicubic_img=picture))])
    assert metric.compute_metrics(metric.results)['NIQE'] == pytest.approx(found['p/NIQE'], rel=1e-6)


PYIQA = {'ycbcr': 2.6255178426464605, 'yiq': 2.5720785436149978}


def test_niqe_leaves_flat_blocks_out_quietly() -> None:
    """As over-exposed sky: they have no statistics, and the number is that of the rest."""
    picture = torch.from_numpy(data.chelsea()).permute(2, 0, 1).contiguous()[:, :288, :384]
    picture[:, :96, :96] = 255
    with warnings.catch_warnings():
        warnings.simplefilter('error', RuntimeWarning)
        found = measured(dict(type='NIQEMetric'), picture, picture)['NIQE']
    assert 1 < found < 10


def test_niqe_names_what_it_cannot_do() -> None:
    small = torch.zeros(3, 96, 100, dtype=torch.uint8)
    with pytest.raises(Unmeasurable, match='the image is 100x96 with crop_border=0'):
        METRICS.build(dict(type='NIQEMetric')).process_image(None, small, None)
    for bad in (dict(convert_to='lab'), dict(crop_border=-1)):
        with pytest.raises(ValueError, match='|'.join(bad)):
            METRICS.build(dict(type='NIQEMetric', **bad))


# ---- FID and KID


def test_frechet_distance_in_closed_form() -> None:
    random = np.random.default_rng(0)
    a, b, (mean_a, mean_b) = random.random(6) + 0.1, random.random(6) + 0.1, random.random((2, 6))
    expected = np.sum((mean_a - mean_b) ** 2) + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    assert frechet_distance(mean_a, np.diag(a), mean_b, np.diag(b)) == pytest.approx(expected)
    x, y = random.random((2, 6, 9))
    x, y = x @ x.T, y @ y.T
    expected = np.sum((mean_a - mean_b) ** 2) + np.trace(x + y - 2 * scipy.linalg.sqrtm(x @ y).real)
    assert frechet_distance(mean_a, x, mean_b, y) == pytest.approx(expected)
    thin = np.outer(a, a)  # of rank one, as from fewer images than features
    assert frechet_distance(mean_a, thin, mean_a, thin) == pytest.approx(0, abs=1e-6)


def test_kernel_distance_written_out_and_unbiased() -> None:
    random = np.random.default_rng(0)
    a, b = random.random((5, 4)), random.random((7, 4)) + 0.2
    kernel = lambda x, y: (float(x @ y) / 4 + 1) ** 3  # noqa: E731
    within = lambda s: np.mean([kernel(s[i], s[j]) for i in range(len(s)) for j in range(len(s)) if i != j])  # noqa: E731
    between = np.mean([kernel(x, y) for x in a for y in b])
    assert kernel_distance(a, b) == pytest.approx(within(a) + within(b) - 2 * between)
    same = [kernel_distance(*random.standard_normal((2, 20, 4))) for _ in range(300)]
    assert abs(np.mean(same)) < 4 * np.std(same) / 300**0.5


def test_fid_and_kid_of_a_test(files: dict[str, Path], tmp_path: Path) -> None:
    gt, pred = photographs(64)
    pairs = [(gt.roll(i * 9, dims=2), pred.roll(i * 9, dims=2)) for i in range(3)]
    with torch.device('meta'):
        network = fid_inception_v3(load_ckpt=False)
    network.to_empty(device='cpu').eval().load_state_dict(torch.load(files['inception']), strict=False)
    network.fc = nn.Identity()
    with torch.no_grad():
        resized = [torch.nn.functional.interpolate(torch.stack(side) / 127.5 - 1, (299, 299), mode='bilinear')
                   for side in zip(*pairs)]  # fmt: skip
        real, fake = (network(side).double().numpy() for side in resized)
    weights = str(files['inception'])
    samples = [dict(gt_img=a, output=dict(pred_img=b)) for a, b in pairs]
    # Tr sqrt(A B) of covariances of few images: the nuclear norm of X Y^T.
    x, y = ((each - each.mean(0)) / 2**0.5 for each in (fake, real))
    trace = (x**2).sum() + (y**2).sum() - 2 * np.linalg.norm(x @ y.T, 'nuc')
    expected = dict(
        FIDMetric=np.sum((fake.mean(0) - real.mean(0)) ** 2) + trace, KIDMetric=kernel_distance(fake, real)
    )
    np.savez(tmp_path / 'FID.npz', mu=real.mean(0), sigma=np.cov(real.T))
    np.savez(tmp_path / 'KID.npz', features=real)
    for name, number in expected.items():
        key = name[:3]
        metric = METRICS.build(dict(type=name, weights=weights, channel_order='rgb'))
        reference = METRICS.build(
            dict(type=name, weights=weights, channel_order='rgb', reference=str(tmp_path / f'{key}.npz'))
        )
        metric.process(None, samples)
        reference.results = [{'pred': result['pred']} for result in metric.results]
        for each in (metric, reference):
            assert each.compute_metrics(each.results)[key] == pytest.approx(number, rel=1e-3, abs=1e-6)
        assert metric.compute_metrics(metric.results[:1]) == {}  # one image is no set
        with pytest.raises(ValueError, match='no reference .*nowhere.npz'):
            METRICS.build(dict(type=name, reference='nowhere.npz'))
        wrong = 'KID.npz' if key == 'FID' else 'FID.npz'
        with pytest.raises(ValueError, match=f'{wrong} lacks'):
            METRICS.build(dict(type=name, reference=str(tmp_path / wrong)))
    kid = lambda **options: METRICS.build(dict(type='KIDMetric', **options)).distance(fake, real)  # noqa: E731
    assert kid(subset_size=2, subsets=1, seed=0) == kid(subset_size=2, subsets=1, seed=0)
    assert len({kid(subset_size=2, subsets=n, seed=s) for n, s in ((1, 0), (1, 1), (5, 0))}) == 3
    with pytest.raises(ValueError, match='subset_size'):
        kid(subset_size=1)


@pytest.mark.parametrize(('net', 'width'), [('alex', 256), ('vgg', 512)])
def test_distances_on_features_that_need_no_download(net: str, width: int) -> None:
    """The trunk's last features, by its modules one after the other, of one size, averaged; under their own name."""
    from glean_plus.pretrained.perceptual import STLPIPS

    gt, pred = photographs(64)
    pairs = [(gt.roll(i * 9, dims=2), pred.roll(i * 9, dims=2)) for i in range(3)]
    network = STLPIPS(net)
    sides = []
    for side in zip(*pairs):
        x = (torch.stack(side) / 127.5 - 1 - network.scaling_layer.shift) / network.scaling_layer.scale
        for part in network.net.children():
            for module in part:
                x = module(x)
        x = x.double().numpy()
        sides.append((x / np.sqrt(np.mean(x**2, axis=1, keepdims=True))).mean(axis=(2, 3)))
    real, fake = sides
    assert real.shape == (3, width)
    assert 0.1 < (real @ real.T).mean() / width < 1  # what the kernel adds 1 to
    x, y = ((each - each.mean(0)) / 2**0.5 for each in (fake, real))
    trace = (x**2).sum() + (y**2).sum() - 2 * np.linalg.norm(x @ y.T, 'nuc')
    expected = dict(FID=np.sum((fake.mean(0) - real.mean(0)) ** 2) + trace, KID=kernel_distance(fake, real))
    for name, number in expected.items():
        metric = METRICS.build(dict(type=f'{name}Metric', features=f'stlpips-{net}', channel_order='rgb'))
        metric.process(None, [dict(gt_img=a, output=dict(pred_img=b)) for a, b in pairs])
        result = metric.compute_metrics(metric.results)
        assert result == {f'{name}-ST-LPIPS-{net}': pytest.approx(number, rel=1e-3, abs=1e-6)}
        with pytest.raises(ValueError, match='brings its own'):
            METRICS.build(dict(type=f'{name}Metric', features=f'stlpips-{net}', weights='x.pth'))
        with pytest.raises(ValueError, match="features must be one of 'inception', .*'resnet'"):
            METRICS.build(dict(type=f'{name}Metric', features='resnet'))


def test_missing_inception_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('GLEAN_PLUS_CACHE', str(tmp_path))
    monkeypatch.setenv('GLEAN_PLUS_OFFLINE', '1')
    picture = torch.zeros(3, 8, 8)
    with pytest.raises(WeightsError, match=r'pt_inception-2015-12-05-6726825d\.pth.*starts with 6726825d'):
        METRICS.build(dict(type='FIDMetric')).process(None, [dict(gt_img=picture, output=dict(pred_img=picture))])


# ---- two processes


def reported(config: Config, name: str) -> dict[str, float]:
    config = copy.deepcopy(config)
    config.experiment_name, config.work_dir = name, str(Path(config.work_dir) / name)
    runner, metrics = Runner.from_cfg(config), Metrics()
    runner.register_hook(metrics)
    runner.test()
    return metrics.values


def work(config: Config) -> None:
    torch.distributed.init_process_group('gloo')
    rank = torch.distributed.get_rank()
    Path(f'{rank}.json').write_text(json.dumps(reported(config, f'rank{rank}')))
    torch.distributed.destroy_process_group()


def test_two_processes_report_what_one_does(files: dict[str, Path], tiny_data: Path, tmp_path: Path) -> None:
    """On three images, which two processes cannot share evenly."""
    config = Config.fromfile(CONFIGS / 'lightglean_twemoji_4x.py')
    config.test_dataloader.update(num_workers=0, persistent_workers=False)
    config.test_dataloader.dataset.update(data_root=str(tiny_data), indices=3)
    config.test_evaluator.metrics = [
        dict(type='LPIPSMetric', weights=str(files['alex'])),
        dict(type='IdentitySimilarity', weights=str(files['face'])),
        dict(type='LRConsistency', prefix='lr'),
    ]
    config.work_dir = str(tmp_path)
    config.load_from = str(CONFIGS / 'weights' / 'lightglean_twemoji_4x.safetensors')
    config.model.test_cfg.bicubic = False
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator', 'train_dataloader', 'train_cfg', 'optim_wrapper',
                'param_scheduler', 'custom_hooks'):  # fmt: skip
        config.pop(key, None)
    forked(work, config, cwd=tmp_path, processes=2)
    one = reported(config, 'one')
    # Each image counts once, and both processes know the mean.
    two = [json.loads((tmp_path / f'{rank}.json').read_text()) for rank in (0, 1)]
    assert {*one} == {'LPIPS-alex', 'ID', 'lr/LR-PSNR'}
    assert one == pytest.approx(two[0], rel=1e-5) and two[0] == two[1]
    assert all(np.isfinite(value) for value in one.values())
