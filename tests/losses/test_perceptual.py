"""Perceptual losses, and the networks that they share with the metrics."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchvision
from mmagic.models.editors.arcface.model_irse import Backbone
from mmagic.models.losses import PerceptualLoss, perceptual_loss
from mmagic.registry import MODELS

from glean_plus.losses import (
    BackboneFeatureLoss,
    IdentityLoss,
    LPIPSLoss,
    LRConsistencyLoss,
    STLPIPSLoss,
    VGGFeatureLoss,
)
from glean_plus.metrics import IdentitySimilarity, LPIPSMetric, STLPIPSMetric
from glean_plus.pretrained import perceptual
from glean_plus.pretrained.perceptual import STLPIPS
from glean_plus.weights import WeightsError, fetch
from glean_plus.weights import cache as shared
from glean_plus.weights.cards import hash_in_name

from conftest import random_vgg16


@pytest.fixture(autouse=True, scope='module')
def _no_networks_left() -> Iterator[None]:
    yield
    shared.release()


def trunk(name: str) -> torch.nn.Module:
    """The features of torchvision's network, with random weights; the rest, which is most of it, is not made."""
    with torch.device('meta'):
        features = torchvision.models.get_model(name, weights=None).features
    return features.to_empty(device='cpu').apply(
        lambda layer: isinstance(layer, torch.nn.Conv2d) and layer.reset_parameters()
    )


def save_trunk(features: torch.nn.Module, path: Path) -> str:
    """In the published form."""
    torch.save({f'features.{key}': value for key, value in features.state_dict().items()}, path)
    return str(path)


@pytest.mark.parametrize('options', [
    dict(layer_weights={'21': 1.0}, norm_img=False, criterion='mse'),
    dict(layer_weights={'9': 1.5, '2': 0.3}, norm_img=True, criterion='l1'),
    dict(layer_weights={'4': 1.0}, norm_img=False, criterion='l1', use_input_norm=False),
])  # fmt: skip
def test_vgg_loss_equals_mmagic(options: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = random_vgg16()
    torch.save(network.state_dict() | {'classifier.0.weight': torch.zeros(2, 2)}, tmp_path / 'vgg.pth')
    monkeypatch.setattr(perceptual_loss.vgg, 'vgg16', lambda pretrained: copy.deepcopy(network))
    theirs = PerceptualLoss(
        vgg_type='vgg16', perceptual_weight=0.5, style_weight=0, pretrained='torchvision://vgg16', **options
    )
    ours = VGGFeatureLoss(loss_weight=0.5, weights=str(tmp_path / 'vgg.pth'), **options)
    x, y = torch.rand(2, 2, 3, 32, 32) * 2 - 1
    torch.testing.assert_close(ours(x, y), theirs(x, y)[0])


def test_vgg_weights_that_are_missing_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, '_hub_dir', str(tmp_path))

    def offline(*args: object, **kwargs: object) -> None:
        raise OSError('no network')

    monkeypatch.setattr('socket.getaddrinfo', offline)
    with pytest.raises(WeightsError, match=r'vgg16-397923af\.pth.*starts with 397923af.*put it at .*checkpoints'):
        VGGFeatureLoss({'21': 1.0})
    with pytest.raises(WeightsError, match=r'alexnet-owt-7be5be79\.pth'):
        LPIPSMetric('alex').process_image(torch.zeros(3, 64, 64), torch.ones(3, 64, 64), None)


@pytest.mark.parametrize('net', ['alex', 'squeeze'])
def test_lpips_takes_its_trunk_from_our_cache(net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = {'alex': 'alexnet', 'squeeze': 'squeezenet1_1'}[net]
    # The smaller of the two whole, as its own weights keep the scale over its many layers.
    features = trunk(name) if net == 'alex' else torchvision.models.get_model(name, weights=None).features
    weights = torchvision.models.get_model_weights(name).IMAGENET1K_V1
    monkeypatch.setenv('GLEAN_PLUS_CACHE', str(tmp_path))
    monkeypatch.setattr(fetch, 'sha256', lambda path: hash_in_name(weights.url))
    save_trunk(features, tmp_path / Path(weights.url).name)
    ours = perceptual.lpips(net).on('cpu').net
    x = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(ours(x)[-1], features[:13 if net == 'squeeze' else 12](x))


def test_vgg_loss_names_a_bad_criterion() -> None:
    with pytest.raises(ValueError, match='huber'):
        VGGFeatureLoss({'21': 1.0}, criterion='huber')


def test_vgg_loss_names_a_layer_that_is_not_there(vgg11: str) -> None:
    with pytest.raises(ValueError, match=r'\[99\]; vgg11 has 0 to 20'):
        VGGFeatureLoss({'0': 1.0, '99': 1.0}, vgg_type='vgg11', weights=vgg11)


# Made once with stlpips-pytorch 0.0.2's own LPIPS(net, variant='shift_tolerant') on these images.
REFERENCE = {
    'alex': [0.03751702234148979, 0.5546238422393799, 0.041362687945365906],
    'vgg': [0.021964743733406067, 0.6293002367019653, 0.0659385621547699],
}


def reference_pictures() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    x = torch.rand(3, 3, 64, 64, generator=generator) * 2 - 1
    y = (x * 0.5 + 0.3 * (torch.rand(3, 3, 64, 64, generator=generator) * 2 - 1)).clamp(-1, 1)
    y[1] = torch.nn.functional.avg_pool2d(x[1:2], 5, 1, 2)[0]
    y[2] = x[2].flip(-1)
    return x, y


@pytest.mark.parametrize('net', ['alex', 'vgg'])
def test_stlpips_equals_its_package(net: str) -> None:
    x, y = reference_pictures()
    network = STLPIPS(net)
    torch.testing.assert_close(network(x, y), torch.tensor(REFERENCE[net]), rtol=1e-4, atol=1e-6)
    assert float(network(x, x).abs().max()) == 0
    loss = STLPIPSLoss(net, loss_weight=2.0)
    assert float(loss(x, y)) == pytest.approx(2 * sum(REFERENCE[net]) / 3, rel=1e-4)
    assert not any(parameter.requires_grad for parameter in loss.parameters())
    y.requires_grad_()
    loss(y, x).backward()
    assert y.grad.abs().sum() > 0


def test_a_truth_s_features_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a test, where several images are compared with it; not in a training, nor of a large image."""
    network, computed = STLPIPS('alex'), []
    network.net.register_forward_hook(lambda module, given, result: computed.append(1))
    truth, other, *images = torch.rand(4, 1, 3, 32, 32) * 2 - 1
    pairs = [(image, each) for each in (truth, other, truth) for image in images]

    def distances(grad: bool) -> tuple[list[float], int]:
        computed.clear()
        with torch.set_grad_enabled(grad):
            return [float(network(image, each.clone())) for image, each in pairs], len(computed)

    expected, calls = distances(True)
    assert calls == 12 and len({*expected}) == 4
    assert distances(False) == (expected, 9)
    monkeypatch.setattr(perceptual, 'KEPT_PIXELS', 31 * 32)
    assert distances(False) == (expected, 12)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perceptual.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(WeightsError, match='pip install --no-deps stlpips-pytorch'):
        STLPIPS('alex')
    with pytest.raises(ValueError, match='squeeze'):
        STLPIPS('squeeze')


def test_metric_says_which_network_it_is_and_honours_the_order() -> None:
    x, y = reference_pictures()
    to_picture = lambda image: (image + 1) * 127.5  # noqa: E731
    metric = STLPIPSMetric('alex', channel_order='rgb')
    assert metric.metric == 'ST-LPIPS-alex' and LPIPSMetric('vgg').metric == 'LPIPS-vgg'
    rgb = metric.process_image(to_picture(x[0]), to_picture(y[0]), None)
    assert rgb == pytest.approx(REFERENCE['alex'][0], rel=1e-3)
    bgr = STLPIPSMetric('alex')  # MMagic's order
    assert bgr.process_image(to_picture(x[0]).flip(0), to_picture(y[0]).flip(0), None) == pytest.approx(rgb, rel=1e-5)
    assert bgr.process_image(to_picture(x[0]), to_picture(y[0]), None) != pytest.approx(rgb, rel=1e-3)
    gray = x[0].mean(0, keepdim=True)
    assert metric.process_image(to_picture(gray), to_picture(gray), None) == 0
    with pytest.raises(ValueError, match='hsv'):
        STLPIPSMetric('alex', channel_order='hsv')


# ---- one network for all


@pytest.fixture(scope='module')
def alex(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(1)
    return save_trunk(trunk('alexnet'), tmp_path_factory.mktemp('alex') / 'alex.pth')


@pytest.fixture(scope='module')
def vgg11(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The features alone, which are all that is needed."""
    torch.manual_seed(1)
    return save_trunk(trunk('vgg11'), tmp_path_factory.mktemp('vgg') / 'vgg11.pth')


def test_a_loss_and_two_metrics_read_a_network_once(alex: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read, seen = perceptual.read_state_dict, []
    monkeypatch.setattr(perceptual, 'read_state_dict', lambda *args: (seen.append(args), read(*args))[1])
    shared.release()
    x = torch.rand(3, 32, 32) * 255
    for net, make in (
        ('alex', (lambda: LPIPSLoss('alex', alex), lambda: LPIPSMetric('alex', alex))),
        ('st', (lambda: STLPIPSLoss('alex'), lambda: STLPIPSMetric('alex'))),
    ):
        loss, metric, other = make[0](), make[1](), make[1]()
        metric.process_image(x, x, None), other.process_image(x, x, None)
        network = loss.network.on('cpu')
        assert network is metric.network.on('cpu') is other.network.on(torch.device('cpu')), net
        assert copy.deepcopy(loss).network.on('cpu') is network, 'a copy of the loss is no copy of the network'
    assert len(seen) == 2
    # Another device has a copy, which is not read again.
    elsewhere = metric.network.on('meta')
    assert elsewhere is not network and len(seen) == 2
    assert all(parameter.is_meta for parameter in elsewhere.parameters())
    # Another file, or the same one replaced, is another network.
    first = LPIPSLoss('alex', alex)
    os.utime(alex, ns=(1, 1))
    assert LPIPSLoss('alex', alex).network.on('cpu') is not first.network.on('cpu')
    shared.release()
    assert not shared._networks


def test_a_shared_network_belongs_to_nobody(alex: str, vgg11: str) -> None:
    x = torch.rand(1, 3, 32, 32)
    for loss in (LPIPSLoss('alex', alex), VGGFeatureLoss({'4': 1.0}, vgg_type='vgg11', weights=vgg11)):
        network = loss.network.on('cpu')
        before = float(loss(x, x.flip(3)))
        holder = torch.nn.Sequential(loss)
        assert not holder.state_dict() and not [*holder.parameters()]
        holder.half().train().requires_grad_(True)
        assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
        assert not network.training and not any(parameter.requires_grad for parameter in network.parameters())
        assert float(loss(x, x.flip(3))) == pytest.approx(before, rel=1e-2)  # ImageNet's mean and deviation are halves
        pred = x.clone().requires_grad_()
        loss(pred, x.flip(3)).backward()
        assert pred.grad.abs().sum() > 0 and all(parameter.grad is None for parameter in network.parameters())


# ---- features of any backbone


def test_backbone_loss_on_mmpretrain_s_vgg_equals_torchvision_s(vgg11: str, tmp_path: Path) -> None:
    """The same weights in a classifier as mmpretrain publishes it: its `features.N` are a convolution with its ReLU."""
    backbone = dict(type='mmpretrain.VGG', depth=11)
    keys = [key for key in MODELS.build(backbone).state_dict()]
    state = {f'backbone.{key}': value for key, value in zip(keys, torch.load(vgg11).values())}
    torch.save({'state_dict': state | {'head.fc.weight': torch.zeros(2, 2)}}, tmp_path / 'vgg.pth')
    convs = {'features.0': 1.0, 'features.4': 0.5}
    options = dict(criterion='l1', loss_weight=2.0)
    ours = BackboneFeatureLoss(backbone, str(tmp_path / 'vgg.pth'), convs, **options)
    theirs = VGGFeatureLoss({'1': 1.0, '7': 0.5}, 'vgg11', vgg11, norm_img=True, **options)
    x, y = torch.rand(2, 2, 3, 32, 32) * 2 - 1
    torch.testing.assert_close(ours(x, y), theirs(x, y))
    # Each key does something.
    number = float(ours(x, y))
    for changed in (
        dict(layer_weights={'features.0': 1.0}), dict(layer_weights=convs | {'features.0': 3.0}),
        dict(norm_img=False), dict(use_input_norm=False), dict(criterion='mse'), dict(loss_weight=1.0),
    ):  # fmt: skip
        arguments = dict(layer_weights=convs, **options) | changed
        other = BackboneFeatureLoss(backbone, str(tmp_path / 'vgg.pth'), **arguments)
        assert float(other(x, y)) != pytest.approx(number, rel=1e-3), changed


def test_backbone_loss_names_what_is_wrong(vgg11: str, tmp_path: Path) -> None:
    backbone = dict(type='mmpretrain.VGG', depth=11)
    torch.save(MODELS.build(backbone).state_dict(), tmp_path / 'alone.pth')
    weights = str(tmp_path / 'alone.pth')
    assert float(BackboneFeatureLoss(backbone, weights, {'features.0': 1.0})(torch.ones(1, 3, 8, 8),
                                                                           torch.zeros(1, 3, 8, 8))) > 0  # fmt: skip
    with pytest.raises(ValueError, match=r"\['layer9'\]; mmpretrain.VGG has .*features"):
        BackboneFeatureLoss(backbone, weights, {'layer9': 1.0})
    with pytest.raises(ValueError, match='layer_weights is empty'):
        BackboneFeatureLoss(backbone, weights, {})
    with pytest.raises(WeightsError, match='does not fit mmpretrain.VGG'):
        BackboneFeatureLoss(dict(backbone, depth=13), weights, {'features.0': 1.0})
    with pytest.raises(WeightsError, match='init_cfg'):
        BackboneFeatureLoss(dict(backbone, init_cfg=None), weights, {'features.0': 1.0})
    with pytest.raises(WeightsError, match='plain data'):
        BackboneFeatureLoss(dict(backbone, act_cfg={1, 2}), weights, {'features.0': 1.0})
    with pytest.raises(WeightsError, match='no weight file .*nowhere.pth'):
        BackboneFeatureLoss(backbone, str(tmp_path / 'nowhere.pth'), {'features.0': 1.0})


def test_only_the_layers_that_are_needed_are_kept(vgg11: str) -> None:
    loss = VGGFeatureLoss({'4': 1.0}, vgg_type='vgg11', weights=vgg11)
    assert len(loss.network.on('cpu').network) == 5


# ---- the other losses


def test_lpips_loss_is_the_metric(alex: str) -> None:
    x, y = reference_pictures()
    metric = LPIPSMetric('alex', alex, channel_order='rgb')
    expected = sum(metric.process_image((a + 1) * 127.5, (b + 1) * 127.5, None) for a, b in zip(x, y)) / 3
    assert float(LPIPSLoss('alex', alex, loss_weight=2.0)(x, y)) == pytest.approx(2 * expected, rel=1e-4)


@pytest.mark.parametrize('kind', ['LPIPS', 'ST-LPIPS'])
def test_gradient_is_finite_where_no_feature_fires(kind: str, alex: str) -> None:
    """The square root of 0 has none; the ReLU in front of it, whose gradient is 0 there, keeps that to itself."""
    network = STLPIPS('alex') if kind == 'ST-LPIPS' else perceptual.lpips('alex', alex).on('cpu')
    network = copy.deepcopy(network)
    convolutions = [module for module in network.net.modules() if isinstance(module, torch.nn.Conv2d)]
    convolutions[0].weight.data.abs_()
    convolutions[0].bias.data.zero_()
    x, y = reference_pictures()
    x[:, :, :40] = -3  # below all that the scaling makes of black: only negative sums, so no feature there
    x.requires_grad_()
    assert (network.net(x)[0] == 0).all(dim=1).any()
    network(x, y).sum().backward()
    assert bool(x.grad.isfinite().all()) and x.grad.abs().sum() > 0


def test_identity_loss_is_one_minus_the_metric(tmp_path: Path) -> None:
    network = Backbone(112, 50, 'ir_se', 0.6)
    torch.save(network.state_dict(), tmp_path / 'face.pth')
    x, y = reference_pictures()
    weights = str(tmp_path / 'face.pth')
    metric = IdentitySimilarity(weights=weights, channel_order='rgb', crop='none')
    expected = sum(1 - metric.process_image((a + 1) * 127.5, (b + 1) * 127.5, None) for a, b in zip(x[:2], y[:2])) / 2
    pred = x[:2].clone().requires_grad_()
    loss = IdentityLoss('none', weights, loss_weight=3.0)(pred, y[:2])
    assert loss.item() == pytest.approx(3 * expected, abs=1e-4)
    loss.backward()
    assert pred.grad.abs().sum() > 0
    assert float(IdentityLoss('ffhq', weights)(x[:1], y[:1])) != pytest.approx(loss.item() / 3, rel=1e-3)


def test_consistency_loss_is_zero_at_the_shrunk_prediction() -> None:
    x, y = reference_pictures()
    shrunk = torch.nn.functional.interpolate(x, scale_factor=0.5, mode='bicubic', antialias=True)  # PIL's, not MATLAB's
    mine = LRConsistencyLoss('mse', loss_weight=2.0)
    inner = (slice(None), slice(None), slice(4, -4), slice(4, -4))
    from glean_plus.utils.imresize import matlab_resize

    torch.testing.assert_close(matlab_resize(x, (32, 32))[inner], shrunk[inner], atol=1e-4, rtol=1e-4)
    lq = matlab_resize(x, (32, 32))
    assert float(mine(x, y, lq)) == 0
    assert float(mine(x, y, lq + 0.1)) == pytest.approx(0.02, rel=1e-4)
    assert float(LRConsistencyLoss('l1')(x, y, lq + 0.1)) == pytest.approx(0.1, rel=1e-4)
    with pytest.raises(ValueError, match='huber'):
        LRConsistencyLoss('huber')
