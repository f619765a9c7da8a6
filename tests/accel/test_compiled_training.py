"""The compiled kernel in training, and activations that are computed again, against the plain step."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmagic.registry import MODELS
from mmagic.structures import DataSample
from mmengine.optim import OptimWrapper, OptimWrapperDict
from test_folded import needs_compiler
from torch import Tensor, nn

from glean_plus.accel import trained
from glean_plus.accel.trained import CompiledConvolutions
from glean_plus.analysis.benchmark import contenders
from glean_plus.models.checkpointing import recompute
from glean_plus.training import BF16OptimWrapper


def uses_kernel(y: Tensor) -> bool:
    return y.grad_fn is not None and type(y.grad_fn).__name__.startswith('_Convolve')


# Shares of 64, 48 and fewer channels; one piece of work and several; a share of the tiles that is short.
@needs_compiler
@pytest.mark.parametrize('shape', [(2, 16, 32, 48, 64), (1, 80, 48, 64, 68), (1, 128, 20, 64, 64), (4, 28, 64, 36, 32)])
def test_gradients(shape: tuple[int, ...]) -> None:
    images, channels, out_channels, height, width = shape
    x = torch.randn(images, channels, height, width, requires_grad=True)
    weight, bias = torch.randn(out_channels, channels, 3, 3, requires_grad=True), torch.randn(out_channels)
    bias.requires_grad_()
    with CompiledConvolutions():
        ours = F.conv2d(x, weight, bias, padding=1)
    theirs = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    assert uses_kernel(ours) and not uses_kernel(theirs)
    gradient = torch.randn_like(ours)
    found = torch.autograd.grad(ours, (x, weight, bias), gradient)
    wanted = torch.autograd.grad(theirs, (x, weight, bias), gradient.double())
    for got, want in zip((ours, *found), (theirs, *wanted)):
        assert got.shape == want.shape and (got - want).abs().max() < 2e-4 * want.std()
    with CompiledConvolutions():
        frozen = F.conv2d(x, weight.detach(), padding=1)
        frozen.relu_()
    assert frozen.grad_fn is not None
    assert torch.autograd.grad(frozen.sum(), x)[0].shape == x.shape


@needs_compiler
def test_what_has_no_code_is_left_to_pytorch() -> None:
    x, weight = torch.randn(1, 16, 64, 64), torch.randn(16, 16, 3, 3, requires_grad=True)
    with CompiledConvolutions():
        assert uses_kernel(F.conv2d(x, weight, padding=1)) and uses_kernel(F.conv2d(x, weight, None, (1, 1), [1, 1]))
        for result in (
            F.conv2d(x, weight), F.conv2d(x, weight, padding=1, stride=2), F.conv2d(x, weight, padding='same'),
            F.conv2d(x, weight[:, :4], padding=1, groups=4), F.conv2d(x, weight, padding=1, dilation=1)[:0],
            F.conv2d(x[..., :62], weight, padding=1), F.conv2d(x[..., :32, :32], weight, padding=1),
            F.conv2d(x[:, :3], weight[:, :3], padding=1), F.conv2d(x.double(), weight.double(), padding=1),
        ):  # fmt: skip
            assert not uses_kernel(result)
        with torch.autocast('cpu', torch.bfloat16):
            half = F.conv2d(x, weight, padding=1)
        assert half.dtype == torch.bfloat16 and not uses_kernel(half)
    assert not uses_kernel(F.conv2d(x, weight, padding=1))


def restorer(**train_cfg: Any) -> nn.Module:
    torch.manual_seed(0)
    channels = {4: 32, 8: 32, 16: 32, 32: 16, 64: 16}
    bank = dict(type='StyleGAN2Bank', out_size=64, style_channels=8, num_mlps=2, channels=channels, rgb=False)
    return MODELS.build(dict(
        type='GLEANRestorer', train_cfg=train_cfg, pixel_loss=dict(type='MSELoss'),
        generator=dict(type='GLEAN', in_size=16, bank=bank | dict(mapping=False),
                       encoder=dict(type='GLEANEncoder', num_rrdbs=3, rrdb_channels=16, growth_channels=8)),
        discriminator=dict(type='StyleGAN2BankDiscriminator', in_size=64, channels=channels),
        gan_loss=dict(type='GANLoss', gan_type='vanilla', loss_weight=1e-2, real_label_val=1.0, fake_label_val=0),
        data_preprocessor=dict(type='DataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3),
    ))  # fmt: skip


def two_steps(model: nn.Module, wrapper: type[OptimWrapper] = OptimWrapper) -> tuple[list[dict[str, float]], int]:
    """Losses, and the bytes that the generator's forward pass kept for the backward pass."""
    wrappers = OptimWrapperDict(**{
        name: wrapper(torch.optim.SGD(getattr(model, name).parameters(), lr=1e-3))
        for name in ('generator', 'discriminator')
    })  # fmt: skip
    generator = torch.Generator().manual_seed(1)
    kept: dict[int, int] = {}

    def keep(x: Tensor) -> Tensor:
        kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
        return x

    forward = model.generator.forward

    def watched(*inputs: Any) -> Tensor:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x):
            return forward(*inputs)

    model.generator.forward = watched
    logs = []
    for _ in range(2):
        lq, gt = (torch.randint(0, 256, (2, 3, n, n), generator=generator, dtype=torch.uint8) for n in (16, 64))
        log = model.train_step(dict(inputs=list(lq), data_samples=[DataSample(gt_img=x) for x in gt]), wrappers)
        logs.append({name: value.item() for name, value in log.items()})
    return logs, sum(kept.values())


@pytest.fixture(scope='module')
def plain() -> tuple[nn.Module, list[dict[str, float]], int]:
    model = restorer()
    return model, *two_steps(model)


@needs_compiler
@pytest.mark.parametrize('train_cfg', [
    dict(compiled=True), dict(recompute=True), dict(compiled=True, recompute=True, channels_last=True),
])  # fmt: skip
def test_steps_are_the_plain_ones(
    train_cfg: dict[str, bool], plain: tuple[nn.Module, list[dict[str, float]], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for name in ('_convolve', 'weight_gradient'):
        real = getattr(trained, name)
        monkeypatch.setattr(trained, name, lambda *args, name=name, real=real: (calls.append(name), real(*args))[1])
    model = restorer(**train_cfg)
    logs, kept = two_steps(model)
    for ours, theirs in zip(logs, plain[1]):
        assert ours == pytest.approx(theirs, rel=1e-4) and len(ours) == 4
    start = dict(restorer().named_parameters())
    for (name, ours), theirs in zip(model.named_parameters(), plain[0].parameters()):
        moved = (theirs - start[name]).norm()
        assert (ours - theirs).norm() <= 2e-3 * moved + 1e-7 * theirs.norm(), name
    assert {*calls} == ({'_convolve', 'weight_gradient'} if 'compiled' in train_cfg else set())
    if 'recompute' in train_cfg:
        assert kept < 0.75 * plain[2]


@needs_compiler
def test_what_the_kernel_does_not_do_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr('glean_plus.training.restorer.print_log', lambda text, **options: said.append(text))
    for wrapper, messages in ((OptimWrapper, 0), (BF16OptimWrapper, 1)):
        model = restorer(compiled=True)
        two_steps(model, wrapper)
        assert len(said) == messages and all('the kernel is for float32' in text for text in said)
    with pytest.raises(ValueError, match='for CPUs, but the model is on meta: take train_cfg.compiled=False'):
        model.to('meta').train_step({}, None)


@pytest.mark.parametrize('kind', ['BigGANBank', 'BigGANDeepBank'])
def test_recompute_moves_no_norm_twice(kind: str) -> None:
    """Statistics and singular vectors of a bank that is trained."""
    bank = dict(type=kind, out_size=16, noise_size=16, num_classes=5, shared_dim=6, channels={4: 24, 8: 24, 16: 16},
                attention=[8], embedding=False, rgb=False)  # fmt: skip
    plain = MODELS.build(dict(
        type='GLEAN', in_size=8, bank=bank, freeze_bank=False,
        encoder=dict(type='GLEANEncoder', num_rrdbs=1, rrdb_channels=8, growth_channels=4),
    )).train()  # fmt: skip
    ours = copy.deepcopy(plain)
    recompute(ours, True)
    x = torch.randn(2, 3, 8, 8)
    for model in (plain, ours):
        model(x).square().mean().backward()
    for (name, tensor), wanted in zip(ours.state_dict().items(), plain.state_dict().values()):
        assert torch.equal(tensor, wanted), name
    for parameter, wanted in zip(ours.parameters(), plain.parameters()):
        torch.testing.assert_close(parameter.grad, wanted.grad)


def test_recompute_needs_something_to_recompute() -> None:
    with pytest.raises(ValueError, match='recompute=True, but a MSRResNet has nothing to recompute'):
        MODELS.build(dict(type='GLEANRestorer', train_cfg=dict(recompute=True), pixel_loss=dict(type='MSELoss'),
                          generator=dict(type='MSRResNet', in_channels=3, out_channels=3)))  # fmt: skip


@needs_compiler
def test_benchmark_trains_both_from_the_same_weights() -> None:
    x = torch.rand(2, 3, 8, 8) * 2 - 1
    theirs, ours = (
        contenders.build(contenders.CONTENDERS[name], 8, 16, 'cpu')(x)
        for name in ('MMagic SRGAN step', 'GLEAN step, compiled, recompute')
    )
    assert len(theirs) == 5 and torch.allclose(ours, theirs, rtol=1e-4)
