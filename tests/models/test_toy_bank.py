"""A bank is one file: this one defines a fifth, and every part of the package takes it as it takes the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glean_plus import Restorer
from glean_plus.analysis.ablation import Inspector, own_image_bank
from glean_plus.analysis.complexity import complexity
from glean_plus.analysis.inversion import InversionError, Inverter, Settings
from glean_plus.export import export
from glean_plus.inference.codes import code_statistics
from glean_plus.models import GLEAN, LatentBank
from glean_plus.models.banks.base import check_channels, whole_resolutions
from glean_plus.models.banks.space import Space
from glean_plus.models.folding import FoldedBank, FoldedConv, FoldedLayer
from glean_plus.registry import MODELS
from glean_plus.weights import WeightsError, import_weights
from glean_plus.weights.formats.layout import count, side

from conftest import relative_error
from small_restorers import CHANNELS, generator_config, write_checkpoint

SLOPE = 0.2


class ToyBlock(nn.Module):
    """Repetition, then a convolution whose inputs are scaled by the code."""

    def __init__(self, below: int, width: int, code_dim: int) -> None:
        super().__init__()
        self.scale = nn.Linear(code_dim, below)
        self.conv = nn.Conv2d(below, width, 3, padding=1)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        x = x * (1 + self.scale(code))[:, :, None, None]
        return F.leaky_relu(self.conv(F.interpolate(x, scale_factor=2)), SLOPE)


class FoldedStart(FoldedLayer):
    index = 0

    def __init__(self, start: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = start.weight.detach().clone(), start.bias.detach().clone()

    def forward(self, x: Tensor | None, code: Tensor | None, noise: Tensor | None) -> Tensor:
        return F.linear(code, self.weight, self.bias).unflatten(1, (-1, 4, 4))


class FoldedToyBlock(FoldedLayer):
    def __init__(self, block: ToyBlock, index: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.index = index
        self.affine = block.scale.weight.detach().clone(), block.scale.bias.detach() + 1
        self.conv = FoldedConv.of(block.conv.weight, block.conv.bias, dtype, up='repeat')

    def forward(self, x: Tensor, code: Tensor | None, noise: Tensor | None) -> Tensor:
        return F.leaky_relu_(self.conv(x * F.linear(code, *self.affine)[:, :, None, None]), SLOPE)


class Sphere(Space):
    """The noise, on its sphere."""

    def __init__(self, bank: ToyBank) -> None:
        self.bank = bank

    def start(self, count: int, generator: torch.Generator) -> list[Tensor]:
        tensors = [torch.randn(count, 1, self.bank.noise_size, generator=generator)]
        self.to_sphere(tensors)
        return tensors

    def draw(self, tensors: list[Tensor]) -> Tensor:
        return self.bank(tensors[0][:, 0])

    def prior(self, tensors: list[Tensor]) -> Tensor:
        return tensors[0].new_zeros(len(tensors[0]))


@MODELS.register_module()
class ToyBank(LatentBank):
    """The noise itself is the code of each layer: a linear layer to 4x4, then a block a resolution."""

    architecture = 'Toy'
    anchors = ('start.weight', 'blocks.8.scale.weight')
    spaces = ('sphere',)
    left_out = {'to_image.': 'output layer'}

    def __init__(
        self,
        out_size: int,
        channels: Mapping[int, int],
        noise_size: int = 6,
        start_res: int = 4,
        rgb: bool = True,
        pretrained: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        whole = whole_resolutions(out_size, start_res)
        channels = {int(res): width for res, width in channels.items()}
        check_channels(channels, whole)
        self.out_size, self.start_res, self.noise_size, self.pretrained = out_size, start_res, noise_size, pretrained
        self.channels = {res: channels[res] for res in whole}
        self.resolutions = tuple(res for res in whole if res >= start_res)
        self.code_dims, self.class_dims = (noise_size,) * len(whole), (0,) * len(whole)
        self.layers = tuple(layer for res in self.resolutions for layer in self.layers_of(res))
        if start_res == 4:
            self.start = nn.Linear(noise_size, 16 * channels[4])
        self.blocks = nn.ModuleDict({
            str(res): ToyBlock(channels[res // 2], channels[res], noise_size) for res in self.resolutions if res > 4
        })  # fmt: skip
        if rgb:
            self.to_image = nn.Conv2d(channels[out_size], 3, 1)

    @classmethod
    def hyperparameters(cls, state: Mapping[str, Tensor]) -> dict[str, Any]:
        levels = count(state, r'blocks\.(\d+)\.')
        channels = {4: len(state['start.bias']) // 16}
        channels |= {side(i): len(state[f'blocks.{side(i)}.conv.bias']) for i in range(1, levels + 1)}
        return dict(out_size=side(levels), channels=channels, noise_size=state['start.weight'].shape[1])

    def layers_of(self, resolution: int) -> tuple[int, ...]:
        return (resolution.bit_length() - 3,)

    def step(
        self,
        resolution: int,
        codes: Sequence[Tensor | None],
        feature: Tensor | None = None,
        noises: Sequence[Tensor | None] | None = None,
    ) -> Tensor:
        code = codes[self.layers_of(resolution)[0]]
        if resolution == 4:
            return self.start(code).unflatten(1, (-1, 4, 4))
        return self.blocks[str(resolution)](feature, code)

    def picture(self, codes: Sequence[Tensor | None], features: Mapping[int, Tensor]) -> Tensor:
        return torch.tanh(self.to_image(features[self.out_size]))

    def mean_codes(self, num_samples: int = 4096, seed: int = 0) -> list[Tensor]:
        return [torch.zeros(dim) for dim in self.code_dims]

    def code_spreads(self, num_samples: int = 4096, seed: int = 0) -> list[Tensor]:
        return [torch.ones(dim) for dim in self.code_dims]

    def space(self, name: str, seed: int = 0, label: int | None = None) -> Space:
        return Sphere(self)

    def whole(self) -> ToyBank:
        return ToyBank(self.out_size, self.channels, self.noise_size)

    def fold(self, codes: Sequence[Tensor | None], dtype: torch.dtype) -> FoldedBank:
        return FoldedBank({
            res: [FoldedStart(self.start) if res == 4 else
                  FoldedToyBlock(self.blocks[str(res)], self.layers_of(res)[0], dtype)]
            for res in self.resolutions
        })  # fmt: skip

    def forward(self, noise: Tensor) -> Tensor:
        codes, feature = [noise] * len(self.code_dims), None
        for res in self.resolutions:
            feature = self.step(res, codes, feature)
        return self.picture(codes, {self.out_size: feature})


@pytest.fixture(scope='module')
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank's weights as a GAN's training leaves them, beside other networks."""
    torch.manual_seed(0)
    bank = ToyBank(32, CHANNELS)
    for block in bank.blocks.values():
        nn.init.orthogonal_(block.conv.weight, gain=2)
    tensors = bank.state_dict().items()
    state = {f'{top}.{key}': value for top in ('generator', 'generator_ema') for key, value in tensors}
    path = tmp_path_factory.mktemp('toy') / 'toy.pth'
    torch.save(dict(state_dict=state), path)
    return path


def config(light: bool = False, weights: Path | None = None) -> dict[str, Any]:
    """The generator 16 -> 32 on this bank."""
    pretrained = {} if weights is None else dict(pretrained=dict(checkpoint=str(weights)))
    bank = dict(type='ToyBank', out_size=32, channels=CHANNELS, start_res=16 if light else 4, rgb=False, **pretrained)
    return generator_config(light, bank=bank)


@pytest.fixture(scope='module', params=['whole', 'light'])
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a restorer's training, with its config inside."""
    path = write_checkpoint(tmp_path_factory.mktemp('restorer') / 'model.pth', config(request.param == 'light'))
    content = torch.load(path, weights_only=True)
    if request.param == 'whole':  # nothing in this bank normalizes what large codes ask for
        content['state_dict']['generator_ema.codes.linear.weight'] /= 100
    torch.save(content, path)
    return path


@pytest.fixture(scope='module')
def photo() -> np.ndarray:
    return np.random.default_rng(0).random((16, 16, 3), dtype=np.float32)


def test_weights_tell_the_bank_that_they_are_of(weights: Path, tmp_path: Path) -> None:
    found = import_weights(weights)
    assert (found.format, found.architecture, found.prefix) == ('glean_plus Toy', 'Toy', 'generator_ema')
    assert found.kwargs == dict(out_size=32, channels=CHANNELS, noise_size=6) and found.missing == []
    ToyBank(**found.kwargs).load_state_dict(found.state, strict=True)
    light = ToyBank(32, CHANNELS, start_res=16, rgb=False, pretrained=dict(checkpoint=str(weights)))
    light.init_weights()
    assert torch.equal(light.blocks['16'].conv.weight, found.state['blocks.16.conv.weight'])
    with pytest.raises(WeightsError, match='is a Toy .glean_plus Toy., but StyleGAN2Bank is a StyleGAN2'):
        pretrained = dict(checkpoint=str(weights))
        MODELS.build(dict(type='StyleGAN2Bank', out_size=32, channels=CHANNELS, pretrained=pretrained)).init_weights()


@pytest.mark.parametrize('freeze_bank', [True, False])
def test_training_fits_a_few_images(freeze_bank: bool, weights: Path) -> None:
    torch.manual_seed(0)
    model: GLEAN = MODELS.build(config(weights=weights) | dict(freeze_bank=freeze_bank))
    model.init_weights()
    before = {key: value.clone() for key, value in model.bank.state_dict().items()}
    lq, gt = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 1, 1).expand(-1, -1, 32, 32)
    optimizer = torch.optim.Adam([each for each in model.parameters() if each.requires_grad], lr=1e-3)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = F.mse_loss(model.train()(lq), gt)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    same = [torch.equal(value, before[key]) for key, value in model.bank.state_dict().items()]
    assert all(same) if freeze_bank else not any(same)


@pytest.mark.parametrize('speed', ['folded', 'compiled', 'auto'])
def test_restored_and_folded_images_are_the_model_s(speed: str, checkpoint: Path, photo: np.ndarray) -> None:
    exact = Restorer(checkpoint, device='cpu', speed='exact')
    network = exact.network.network
    with torch.no_grad():
        own = network(torch.from_numpy(photo).permute(2, 0, 1)[None] * 2 - 1)[0].permute(1, 2, 0) / 2 + 0.5
        own = own.clamp(0, 1)
    assert np.abs(exact(photo) - own.numpy()).max() < 1e-5
    fast = Restorer(checkpoint, device='cpu', speed=speed)
    assert relative_error(torch.from_numpy(exact(photo)), torch.from_numpy(fast(photo))) < 1e-5
    assert isinstance(network.fold().bank, FoldedBank)


def test_export_gives_what_the_model_gives(checkpoint: Path, photo: np.ndarray, tmp_path: Path) -> None:
    export(checkpoint, tmp_path / 'model.onnx')
    image = photo.transpose(2, 0, 1)[None]
    result = onnxruntime.InferenceSession(tmp_path / 'model.onnx').run(None, dict(image=image))[0]
    wanted = Restorer(checkpoint, device='cpu', speed='exact')(photo).transpose(2, 0, 1)
    assert np.abs(result[0] - wanted).max() < 1e-4 and wanted.std() > 0.01


def test_inversion_finds_a_bank_s_own_image(weights: Path) -> None:
    inverter = Inverter(config(light=True, weights=weights), Settings(steps=60, lr=0.3, restarts=2))
    with torch.no_grad():
        target = inverter.bank(torch.randn(1, 6, generator=torch.Generator().manual_seed(7)))
    found = inverter(F.avg_pool2d((target + 1) / 2, 2))
    assert found.pictures.shape == (1, 3, 32, 32)
    assert found.psnr.item() > found.start_psnr.item() + 3
    with pytest.raises(InversionError, match="ToyBank has no space 'w' to search, but 'sphere'"):
        Inverter(config(weights=weights), space='w')
    with pytest.raises(InversionError, match='ToyBank has no classes, but the label 1 is given'):
        Inverter(config(weights=weights), label=1)


def test_codes_are_as_far_away_as_the_bank_says(weights: Path) -> None:
    statistics = code_statistics(config(weights=weights))
    codes = [torch.full((2, 6), 3.0)] * 4
    assert torch.allclose(statistics.distance(codes), torch.tensor(3.0))


def test_ablation_without_encoder_is_the_bank_s_own_walk(weights: Path) -> None:
    torch.manual_seed(0)
    model: GLEAN = MODELS.build(config(weights=weights))
    model.init_weights()
    nn.init.normal_(model.codes.linear.weight)
    lq = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        codes, output = model.eval().encode(lq)[1], model(lq)
    inspector = Inspector(model, own_image_bank(config(weights=weights)), [code[:1] for code in codes], count=2)
    view = inspector.view(lq, next_codes=[code.flip(0) for code in codes])
    pictures = inspector.images(view)
    assert torch.equal(pictures['model'], output)
    bank, feature = inspector.own_image, None
    with torch.no_grad():
        for res in (4, 8, 16, 32):
            feature = bank.step(res, codes, feature)
        torch.testing.assert_close(pictures['own_encoder_off'], torch.tanh(bank.to_image(feature)))
    off = {each.key: each.reason for each in inspector.switches if not each.applies}
    assert off.keys() == {'noise', 'bank_to'}
    assert off['noise'] == 'ToyBank has no noise maps: its noise is a part of the codes'


def test_complexity_counts_the_whole_generator() -> None:
    result = complexity(config())
    bank = ToyBank(32, CHANNELS)
    assert result.paper['generator'] == sum(each.numel() for each in bank.parameters())
    assert result.paper['generator'] - result.kept['generator'] == CHANNELS[32] * 3 + 3
