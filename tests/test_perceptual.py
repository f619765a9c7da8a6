"""Perceptual losses and metrics."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torchvision
from mmagic.models.losses import PerceptualLoss, perceptual_loss

from glean_plus import perceptual
from glean_plus.losses import STLPIPSLoss, VGGFeatureLoss
from glean_plus.metrics import LPIPS, STLPIPSMetric
from glean_plus.perceptual import STLPIPS
from glean_plus.weights import WeightsError, fetch
from glean_plus.weights.cards import hash_in_name


@pytest.mark.parametrize('options', [
    dict(layer_weights={'21': 1.0}, norm_img=False, criterion='mse'),
    dict(layer_weights={'9': 1.5, '2': 0.3}, norm_img=True, criterion='l1'),
    dict(layer_weights={'4': 1.0}, norm_img=False, criterion='l1', use_input_norm=False),
])  # fmt: skip
def test_vgg_loss_equals_mmagic(options: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = torchvision.models.vgg16(weights=None)
    torch.save(network.state_dict(), tmp_path / 'vgg.pth')
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
        LPIPS('alex').process_image(torch.zeros(3, 8, 8), torch.zeros(3, 8, 8), None)


@pytest.mark.parametrize('net', ['alex', 'squeeze'])
def test_lpips_takes_its_trunk_from_our_cache(net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = {'alex': 'alexnet', 'squeeze': 'squeezenet1_1'}[net]
    network = torchvision.models.get_model(name, weights=None)
    weights = torchvision.models.get_model_weights(name).IMAGENET1K_V1
    monkeypatch.setenv('GLEAN_PLUS_CACHE', str(tmp_path))
    monkeypatch.setattr(fetch, 'sha256', lambda path: hash_in_name(weights.url))
    torch.save(network.state_dict(), tmp_path / Path(weights.url).name)
    ours = perceptual.lpips_network(net).net
    x = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(ours(x)[-1], network.features[:13 if net == 'squeeze' else 12](x))


def test_vgg_loss_names_a_bad_criterion() -> None:
    with pytest.raises(ValueError, match='huber'):
        VGGFeatureLoss({'21': 1.0}, criterion='huber')


def test_vgg_loss_names_a_layer_that_is_not_there(tmp_path: Path) -> None:
    torch.save(torchvision.models.vgg11(weights=None).state_dict(), tmp_path / 'vgg.pth')
    with pytest.raises(ValueError, match=r'\[99\]; vgg11 has 0 to 20'):
        VGGFeatureLoss({'0': 1.0, '99': 1.0}, vgg_type='vgg11', weights=str(tmp_path / 'vgg.pth'))


# Made once with stlpips-pytorch 0.0.2's own LPIPS(net, variant='shift_tolerant') on these pictures.
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
    assert metric.metric == 'ST-LPIPS-alex' and LPIPS('vgg').metric == 'LPIPS-vgg'
    rgb = metric.process_image(to_picture(x[0]), to_picture(y[0]), None)
    assert rgb == pytest.approx(REFERENCE['alex'][0], rel=1e-3)
    bgr = STLPIPSMetric('alex')  # MMagic's order
    assert bgr.process_image(to_picture(x[0]).flip(0), to_picture(y[0]).flip(0), None) == pytest.approx(rgb, rel=1e-5)
    assert bgr.process_image(to_picture(x[0]), to_picture(y[0]), None) != pytest.approx(rgb, rel=1e-3)
    gray = x[0].mean(0, keepdim=True)
    assert metric.process_image(to_picture(gray), to_picture(gray), None) == 0
    with pytest.raises(ValueError, match='hsv'):
        STLPIPSMetric('alex', channel_order='hsv')
