"""Colorization: the colours against scikit-image, the head, and photographs from file to file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmagic.registry import MODELS, TRANSFORMS
from mmagic.structures import DataSample
from mmengine.config import Config
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from PIL import Image
from skimage import data
from skimage.color import lab2rgb, rgb2lab
from torch import Tensor, nn

from glean_plus.models import ColorizationHead
from glean_plus.prepare import twemoji
from glean_plus.training import BF16OptimWrapper
from glean_plus.training.launch import Metrics
from glean_plus.utils.color import lab_to_rgb, rgb_to_lab, tint
from glean_plus.weights import CATALOGUE

from conftest import CONFIGS, shake

COLOR = [f'{model}_{what}_color' for what in ('imagenet', 'twemoji') for model in ('glean', 'lightglean')]
CORNERS = torch.tensor([[r, g, b] for r in (0.0, 1.0) for g in (0.0, 1.0) for b in (0.0, 1.0)])
CHANNELS = {4: 16, 8: 12, 16: 8}
BANKS = dict(
    StyleGAN2=dict(type='StyleGAN2Bank', out_size=16, style_channels=8, channels=CHANNELS, mapping=False, rgb=False),
    BigGAN=dict(
        type='BigGANBank', out_size=16, noise_size=12, num_classes=5, shared_dim=6, channels=CHANNELS, attention=[8],
        embedding=False, rgb=False),
)  # fmt: skip


def rows(colours: Tensor) -> Tensor:
    """(n, 3) -> (1, 3, 1, n)."""
    return colours.t()[None, :, None]


def by_scikit_image(function: Any, pictures: Tensor) -> Tensor:
    """One of its functions on (1, 3, H, W), in double precision."""
    return torch.from_numpy(function(pictures[0].detach().permute(1, 2, 0).double().numpy())).permute(2, 0, 1)[None]


def lightness_of(levels: Tensor) -> Tensor:
    """L of RGB (1, 3, H, W), 0 to 255, by scikit-image."""
    return by_scikit_image(rgb2lab, (levels / 255).clamp(0, 1))[:, :1]


def assert_lightness_kept(levels: Tensor, lightness: Tensor) -> None:
    """Rounded to 8 bits, RGB has this L, 0 to 100, up to what the rounding does: half a level in each channel."""
    assert torch.equal(levels, levels.round())
    slack = 2e-4  # of single precision
    assert (lightness_of(levels - 0.5) <= lightness + slack).all()
    assert (lightness_of(levels + 0.5) >= lightness - slack).all()
    assert (lightness_of(levels) - lightness).abs().max() < 0.3


# ---- colours


def test_lab_is_scikit_image_s() -> None:
    rgb = torch.cat([rows(torch.rand(2000, 3)), rows(CORNERS), rows(torch.rand(100, 1).expand(-1, 3) ** 4)], dim=3)
    lab = rgb_to_lab(rgb)
    torch.testing.assert_close(lab.double(), by_scikit_image(rgb2lab, rgb), rtol=0, atol=2e-3)
    for into_gamut in (True, False):
        back = lab_to_rgb(lab, into_gamut)
        torch.testing.assert_close(back.double(), by_scikit_image(lab2rgb, lab), rtol=0, atol=1e-4)
        torch.testing.assert_close(back, rgb, rtol=0, atol=1e-4)
    assert rgb_to_lab(rgb.double()).dtype == torch.float64
    beyond = torch.tensor([[-0.3, 0.5, 1.7]])
    assert torch.equal(rgb_to_lab(rows(beyond)), rgb_to_lab(rows(beyond.clamp(0, 1))))
    expected = lab_to_rgb(lab)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(rgb_to_lab(rgb), lab) and torch.equal(lab_to_rgb(lab), expected)
        assert lab_to_rgb(lab.bfloat16()).dtype == torch.float32


def extreme_lab() -> Tensor:
    """Any L with any a and b up to +-128, the ends and the gray axis included."""
    lightness = torch.cat([torch.rand(4000) * 100, torch.rand(1000) ** 3 * 100, torch.tensor([0.0, 100.0]).repeat(50)])
    ab = (torch.rand(5100, 2) * 2 - 1) * 128
    ab[::7] = ab[::7].sign() * 128
    ab[::11] *= 0.1
    ab[::13] = 0
    return rows(torch.cat([lightness[:, None], ab], dim=1))


def test_extreme_colours_keep_their_lightness() -> None:
    lab = extreme_lab()
    rgb = lab_to_rgb(lab)
    assert rgb.min() >= 0 and rgb.max() <= 1
    assert_lightness_kept((rgb * 255).round(), lab[:, :1].double())
    # Clipping would not do, which is why this is tested.
    with pytest.warns(UserWarning, match='clipped'):
        clipped = by_scikit_image(lab2rgb, lab)
    assert (lightness_of(clipped * 255) - lab[:, :1]).abs().max() > 10
    # What is in gamut stays; what is not moves no farther than it must.
    free = lab_to_rgb(lab, into_gamut=False)
    inside = ((free >= 0) & (free <= 1)).all(dim=1)[0, 0]
    assert 200 < inside.sum() < 4000
    torch.testing.assert_close(rgb[..., inside], free[..., inside], rtol=0, atol=1e-4)
    far = ((free - free.clamp(0, 1)).abs().amax(dim=1) > 1e-3)[0, 0]
    edge = torch.minimum(rgb, 1 - rgb).amin(dim=1)[0, 0]
    assert far.sum() > 1000 and edge[far].max() < 1e-4


@pytest.mark.parametrize('into_gamut', [True, False])
def test_gradients_are_finite_everywhere(into_gamut: bool) -> None:
    lab = extreme_lab().requires_grad_()
    lab_to_rgb(lab, into_gamut).square().sum().backward()
    assert lab.grad.isfinite().all()
    rgb = torch.cat([rows(CORNERS), rows(torch.full((1, 3), 0.5)), rows(torch.tensor([[-2, 3, 0.04]]))], dim=3)
    rgb.requires_grad_()
    rgb_to_lab(rgb).square().sum().backward()
    assert rgb.grad.isfinite().all()


def test_gradient_leads_back_from_any_colour_outside() -> None:
    """A dark yellow that no sRGB has, and no XYZ either: its b falls, and L is not asked."""
    lab = rows(torch.tensor([[5.0, 0.0, 100.0], [5.0, 100.0, 0.0], [60.0, -110.0, 40.0]])).requires_grad_()
    truth = lab_to_rgb(lab.detach() * torch.tensor([1, 0, 0]).view(3, 1, 1))
    (lab_to_rgb(lab, into_gamut=False) - truth).square().sum().backward()
    assert lab.grad[0, 2, 0, 0] > 0 and lab.grad[0, 1, 0, 1] > 0 and lab.grad[0, 1, 0, 2] < 0


# ---- network


def head(**options: Any) -> ColorizationHead:
    return ColorizationHead(**{**dict(in_size=16, out_size=16, channels=CHANNELS, mid_channels=6), **options})


def test_head_is_four_convolutions_whose_last_makes_a_and_b() -> None:
    model = head()
    convs = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert [conv.out_channels for conv in convs] == [6, 6, 6, 2] and convs[0].in_channels == 2 * CHANNELS[16]
    assert [conv.out_channels for conv in head(mid_channels=9).convs if isinstance(conv, nn.Conv2d)] == [9, 9, 9, 2]
    features = torch.randn(2, 8, 16, 16), {16: torch.randn(2, 8, 16, 16)}
    lightness = torch.rand(2, 1, 16, 16) * 2 - 1
    convs[-1].weight.data *= 100  # far out of the gamut
    assert model.train()(*features, lightness).abs().max() > 1.1
    pictures = model.eval()(*features, lightness)
    assert pictures.shape == (2, 3, 16, 16) and pictures.abs().max() <= 1
    assert (pictures.amax(dim=1) - pictures.amin(dim=1)).mean() > 0.2
    for picture, given in zip(pictures, lightness):
        assert_lightness_kept(((picture[None] + 1) * 127.5).round(), 50 * (given[None].double() + 1))
    with pytest.raises(ValueError, match=r'in_size is 8 and the bank makes 16 px'):
        head(in_size=8)
    with pytest.raises(ValueError, match='one channel, but the input has 3.*LabLightness'):
        model(*features, lightness.expand(-1, 3, -1, -1))


def restorer(bank: str, light: bool = False, **options: Any) -> nn.Module:
    generator = dict(
        type='GLEAN', in_size=16, bank={**BANKS[bank], 'start_res': 8 if light else 4},
        encoder=dict(type='GLEANEncoder', in_channels=1, num_rrdbs=1, rrdb_channels=8, growth_channels=4),
        decoder=dict(type='ColorizationHead', mid_channels=8))  # fmt: skip
    return MODELS.build(
        dict(type='GLEANRestorer', generator=generator, pixel_loss=dict(type='MSELoss', loss_weight=1.0),
             data_preprocessor=dict(type='ColorizationDataPreprocessor'), **options))  # fmt: skip


def batch(n: int = 4, order: str = 'rgb') -> dict[str, Any]:
    """As a loader gives it: images whose colour follows from their lightness, in this order of channels."""
    generator = torch.Generator().manual_seed(0)
    lightness = torch.rand(n, 1, 16, 16, generator=generator) * 1.2 - 0.6
    pictures = ((tint(lightness, (40, 30)) + 1) * 127.5).round()
    samples = [DataSample(gt_img=each if order == 'rgb' else each.flip(0)) for each in pictures]
    for sample in samples:
        sample.set_metainfo(dict(gt_channel_order=order, gt_color_type='color', img_color_type='grayscale'))
    return dict(inputs=list((lightness + 1) * 127.5), data_samples=samples)


@pytest.mark.parametrize('light', [False, True], ids=['glean', 'lightglean'])
@pytest.mark.parametrize('bank', BANKS)
def test_trains_on_any_bank_at_one_resolution(bank: str, light: bool) -> None:
    model = restorer(bank, light)
    generator = model.generator
    shake(generator)
    assert generator.in_size == generator.out_size == 16
    assert generator.encoder.resolutions == (16, 8, 4)
    assert set(generator.fusions) == (set() if light else {'4', '8', '16'})
    generator(torch.rand(2, 1, 16, 16) * 2 - 1).square().mean().backward()
    for name, parameter in generator.named_parameters():
        grad = parameter.grad
        if name.startswith('bank.'):
            assert grad is None
        else:
            assert grad is not None and grad.isfinite().all() and grad.abs().sum() > 0, name
    kept = {key: value.clone() for key, value in generator.bank.state_dict().items()}
    optimizer = torch.optim.Adam([p for p in generator.parameters() if p.requires_grad], 3e-3)
    wrapper = OptimWrapperDict(generator=OptimWrapper(optimizer))
    losses = [model.train_step(batch(), wrapper)['loss_pix'].item() for _ in range(12)]
    assert losses[-1] < 0.6 * losses[0], losses
    assert all(torch.equal(value, kept[key]) for key, value in generator.bank.state_dict().items())


@torch.no_grad()
def test_bank_s_last_feature_reaches_the_head_beside_f_0() -> None:
    """Eq. 3 and Eq. 10 with the whole bank at or below the input's resolution."""
    for light in (False, True):
        model = restorer('BigGAN', light).generator.eval()
        x = torch.rand(2, 1, 16, 16) * 2 - 1
        features = model.encoder(x)
        codes = model.codes(features[4])
        g = features[4] if light else None
        for res in model.bank.resolutions:
            g = model.bank.step(res, codes, g)
            g = g if light else model.fusions[str(res)](torch.cat([g, features[res]], 1))
        assert torch.equal(model(x), model.decoder(features[16], {16: g}, x))


def test_bfloat16_trains() -> None:
    model = restorer('BigGAN')
    optimizer = torch.optim.Adam([p for p in model.generator.parameters() if p.requires_grad], 3e-3)
    wrapper = OptimWrapperDict(generator=BF16OptimWrapper(optimizer=optimizer))
    losses = [model.train_step(batch(), wrapper)['loss_pix'].item() for _ in range(12)]
    assert losses[-1] < 0.6 * losses[0], losses


# ---- images


def test_lightness_of_colour_and_gray_pictures() -> None:
    colour, gray = data.astronaut()[:20, :30], data.camera()[:20, :30]
    make = TRANSFORMS.build(dict(type='LabLightness', key='gt'))
    expected = 2.55 * rgb2lab(colour)[..., :1]
    for image, order in ((colour, 'rgb'), (colour[..., ::-1], 'bgr')):
        result = make(dict(gt=image, gt_channel_order=order))
        assert result['img'].dtype == np.float32 and result['img_color_type'] == 'grayscale' and result['gt'] is image
        np.testing.assert_allclose(result['img'], expected, atol=1e-3)
    np.testing.assert_allclose(make(dict(gt=colour[..., ::-1]))['img'], expected, atol=1e-3)  # BGR, if nothing is said
    expected = 2.55 * rgb2lab(np.repeat(gray[..., None], 3, axis=2))[..., :1]
    make = TRANSFORMS.build(dict(type='LabLightness', key='img'))
    for image in (gray, gray[..., None], np.repeat(gray[..., None], 3, axis=2), gray.astype(np.uint16) * 257,
                  gray.astype(np.float32)):  # fmt: skip
        np.testing.assert_allclose(make(dict(img=image))['img'], expected, atol=1e-3)
    for wrong in (np.zeros((4, 4, 4), np.uint8), gray.astype(np.int64)):
        with pytest.raises(ValueError, match="photo.png: lightness needs 1 or 3 channels.*color_type='color'"):
            make(dict(img=wrong, img_path='photo.png'))


@pytest.mark.parametrize('order', ['rgb', 'bgr'])
def test_pictures_have_the_right_colours_and_the_input_is_shown_gray(order: str) -> None:
    """Red stays red: in training all is RGB; tested, all is BGR, as MMagic's metrics and the image hook expect."""
    model = restorer('BigGAN', test_cfg=dict(constant_ab=dict(gray=(0, 0), red=(40, 30)))).eval()
    prepared = model.data_preprocessor(batch(order=order), True)
    assert prepared['inputs'].shape == (4, 1, 16, 16) and prepared['inputs'].abs().max() <= 0.6 + 1e-6
    truth = prepared['data_samples'].gt_img
    torch.testing.assert_close(truth, tint(prepared['inputs'], (40, 30)), rtol=0, atol=0.6 / 127.5)
    assert (truth[:, 0] > truth[:, 2]).float().mean() > 0.99
    for sample in model.test_step(batch(order=order)):
        pictures = dict(sample.output.all_items(), gt=sample.gt_img.float(), input=sample.input)
        assert {name: picture.shape for name, picture in pictures.items()} == dict.fromkeys(
            ('pred_img', 'gray_img', 'red_img', 'gt', 'input'), (3, 16, 16))  # fmt: skip
        torch.testing.assert_close(pictures['red_img'], pictures['gt'], rtol=0, atol=0.6)
        assert torch.equal(pictures['gray_img'], pictures['input'])
        assert torch.equal(pictures['gray_img'].amax(0), pictures['gray_img'].amin(0))
        lightness = lightness_of(pictures['gt'].flip(0)[None])
        for name in ('pred_img', 'gray_img'):
            assert (lightness_of(pictures[name].flip(0)[None]) - lightness).abs().max() < 0.3, name


def test_every_gray_level_is_shown_as_itself() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    lightness = TRANSFORMS.build(dict(type='LabLightness', key='img'))(dict(img=levels))['img']
    preprocessor = MODELS.build(dict(type='ColorizationDataPreprocessor'))
    inputs = preprocessor(dict(inputs=[torch.from_numpy(lightness).permute(2, 0, 1)]))['inputs']
    shown = preprocessor.destruct(inputs).round()[0]
    assert torch.equal(shown, torch.from_numpy(levels).float().expand(3, -1, -1))


# ---- configs


@pytest.mark.parametrize('name', COLOR)
def test_config_takes_lightness_of_colour_pictures(name: str) -> None:
    """tests/configs/test_every_config.py builds and runs it."""
    config = Config.fromfile(CONFIGS / f'{name}.py')
    generator = config.model.generator
    assert generator.encoder.in_channels == 1 and generator.decoder.type == 'ColorizationHead'
    assert generator.in_size == generator.bank.out_size
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        steps = [step.type for step in loader.dataset.pipeline]
        assert 'SquareResize' in steps and steps[-2:] == ['LabLightness', 'PackInputs']
        assert loader.dataset.data_prefix == dict(gt='GT')
    if 'imagenet' in name:
        assert config.train_cfg.max_iters == config.param_scheduler.T_max == 300_000
        assert config.train_dataloader.batch_size == 32
        assert generator.bank.pretrained.checkpoint == CATALOGUE['biggan_deep_imagenet_256'].url


def test_mean_colour_is_that_of_the_training_pictures() -> None:
    """Of every fourth here."""
    names = [name for name, _, _, side in twemoji.read_split() if side == 'train'][::4]
    mean = np.mean([rgb2lab(twemoji.draw(name, 64))[..., 1:].mean(axis=(0, 1)) for name in names], axis=0)
    given = Config.fromfile(CONFIGS / 'glean_twemoji_color.py').model.test_cfg.constant_ab.mean
    np.testing.assert_allclose(given, mean, atol=1)


def scaled_down(name: str, root: Path, work_dir: Path) -> Config:
    """The config on small networks and images of 32 px; tested as docs/training/data.md says for photographs."""
    config = Config.fromfile(CONFIGS / f'{name}.py')
    model = config.model
    model.generator.in_size = model.generator.bank.out_size = model.discriminator.in_size = 32
    model.generator.bank.update(channels={4: 16, 8: 12, 16: 12, 32: 8}, attention=[16])
    model.generator.bank.pop('pretrained')
    model.generator.encoder.update(num_rrdbs=1, rrdb_channels=8, growth_channels=4)
    model.discriminator.channels = {4: 8, 8: 8, 16: 8, 32: 8}
    model.perceptual_loss = None
    if name.startswith('light'):
        model.generator.bank.start_res = 8
    for loader in (config.train_dataloader, config.test_dataloader):
        loader.update(num_workers=0, persistent_workers=False)
        loader.dataset.update(data_root=str(root), ann_file='', data_prefix=dict(gt=''), recursive=True)
        next(step for step in loader.dataset.pipeline if step.type == 'SquareResize').size = 32
    config.train_dataloader.batch_size = 2
    for part in ('generator', 'discriminator'):
        config.optim_wrapper[part].type = 'OptimWrapper'
    for key in ('val_dataloader', 'val_cfg', 'val_evaluator'):
        config.pop(key)
    config.test_evaluator.metrics = [each for each in config.test_evaluator.metrics if 'LPIPS' not in each.type]
    config.train_cfg = dict(type='IterBasedTrainLoop', max_iters=1)
    config.custom_hooks[0].compare = [0, 2]
    config.env_cfg.dist_cfg.backend = 'gloo'
    config.experiment_name = f'{name}-small'
    config.work_dir = str(work_dir)
    return config


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Colour and gray ones of any size, as files of one and of three channels."""
    root = tmp_path / 'photos'
    (root / 'old').mkdir(parents=True)
    Image.fromarray(data.astronaut()[100:250, :200]).save(root / 'astronaut.jpg')
    Image.fromarray(data.camera()[:40, :32]).save(root / 'old' / 'camera.png')
    Image.fromarray(np.repeat(data.coins()[:64, :90, None], 3, axis=2)).save(root / 'old' / 'coins.png')
    return root


# Colours and lightness; that each config trains and tests is shown in tests/configs/test_every_config.py.
@pytest.mark.parametrize('name', ['glean_imagenet_color', 'lightglean_twemoji_color'])
def test_config_trains_and_colours_real_photographs(name: str, photographs: Path, tmp_path: Path) -> None:
    config = scaled_down(name, photographs, tmp_path / 'work')
    runner = Runner.from_cfg(config)
    runner.train()
    hook = Metrics()
    runner.register_hook(hook)
    runner.test()
    baselines = ('', 'gray/', 'mean/') if 'twemoji' in name else ('', 'gray/')
    metrics = {f'{prefix}{metric}' for prefix in baselines for metric in ('PSNR', 'SSIM')}
    assert {name for name in hook.values if not name.endswith('-exact')} == metrics  # gray may be
    assert_coloured(photographs, tmp_path / 'work')
    # input | mean colour, where the config has one | prediction | ground truth
    columns = 4 if 'mean/' in baselines else 3
    assert np.asarray(Image.open(tmp_path / 'work' / 'comparison.png')).shape == (2 * 32, columns * 32, 3)


def assert_coloured(photographs: Path, work_dir: Path) -> None:
    """Each file has a result, in colour, of the lightness that the file has at 32 px."""
    square = TRANSFORMS.build(dict(type='SquareResize', size=32))
    for path in photographs.rglob('*.*'):
        written = work_dir / 'pictures' / path.relative_to(photographs).with_suffix('.png')
        result = torch.from_numpy(np.asarray(Image.open(written)).copy()).permute(2, 0, 1)[None].double()
        assert result.shape == (1, 3, 32, 32) and (result.amax(1) - result.amin(1)).max() > 1
        given = square(dict(img=np.asarray(Image.open(path).convert('RGB'))))['img']
        lightness = lightness_of(torch.from_numpy(given).permute(2, 0, 1)[None].double())
        assert_lightness_kept(result, lightness)


def test_photographs_without_truth(photographs: Path, tmp_path: Path) -> None:
    config = scaled_down('lightglean_twemoji_color', photographs, tmp_path / 'work')
    dataset = config.test_dataloader.dataset
    dataset.data_prefix = dict(img='')
    for step in dataset.pipeline:
        if 'key' in step:
            step.key = 'img'
    config.test_evaluator.metrics = [dict(type='PSNR', gt_key='input')]  # MMagic tests nothing without a metric
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler'):
        config.pop(key)
    Runner.from_cfg(config).test()
    assert_coloured(photographs, tmp_path / 'work')
    # input | mean colour | prediction, and the input is gray.
    picture = np.asarray(Image.open(tmp_path / 'work' / 'comparison.png')).astype(int)
    assert picture.shape == (2 * 32, 3 * 32, 3) and np.ptp(picture[:, :32], axis=2).max() == 0
