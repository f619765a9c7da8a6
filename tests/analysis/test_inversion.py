"""GAN inversion: known images are found again, and the tool does what it says."""

from __future__ import annotations

import csv
import itertools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmagic.registry import MODELS
from PIL import Image
from skimage import data
from skimage.color import rgb2lab
from torch import Tensor

from glean_plus.analysis.inversion import InversionError, Inverter, Settings
from glean_plus.datasets.transforms import SquareResize
from glean_plus.models.banks.space import geodesic
from glean_plus.models.loading import load_bank
from glean_plus.prepare.images import shrink
from glean_plus.weights import WeightsError

from conftest import load_tool, run_tool, shake
from image_files import SRGB

STYLE = dict(out_size=32, style_channels=16, num_mlps=2, channels={4: 24, 8: 16, 16: 12, 32: 8})
CLASSES = dict(
    out_size=32, noise_size=16, num_classes=5, shared_dim=6, channels={4: 24, 8: 16, 16: 16, 32: 8}, attention=[16]
)
BANKS: dict[str, dict[str, Any]] = {
    'StyleGAN2Bank': STYLE,
    'StyleGAN1Bank': STYLE,
    'BigGANBank': CLASSES,
    'BigGANDeepBank': CLASSES,
}
SHORT = Settings(steps=60, lr=0.3, restarts=1)


@torch.no_grad()
def in_range(bank: Any) -> None:
    """Scale what makes the image, so that a random bank's, too, is about -1 to 1."""
    spread = bank(torch.randn(8, bank.noise_size), randomize_noise=False).std()
    for name, parameter in bank.named_parameters():
        if name.startswith('to_rgb') and 'modulation' not in name:
            parameter /= 2 * spread


@pytest.fixture(scope='module')
def banks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Generators' configs on tiny banks, whose random weights are in files; LightGLEAN's bank is a part."""
    folder = tmp_path_factory.mktemp('banks')
    configs = {}
    for name, arguments in BANKS.items():
        torch.manual_seed(0)
        bank = MODELS.build(dict(type=name, **arguments))
        shake(bank, 0.3 if arguments is STYLE else 0.05)
        if arguments is STYLE:
            in_range(bank)
        state = {f'generator_ema.{key}': value for key, value in bank.state_dict().items()}
        torch.save(dict(state_dict=state), folder / f'{name}.pth')
        parts = dict(rgb=False, start_res=8, **({'mapping': False} if arguments is STYLE else {'embedding': False}))
        pretrained = dict(checkpoint=str(folder / f'{name}.pth'), prefix='generator_ema')
        configs[name] = dict(
            type='GLEAN', in_size=8, bank=dict(type=name, **arguments, **parts, pretrained=pretrained),
            encoder=dict(type='GLEANEncoder', num_rrdbs=1),
        )  # fmt: skip
    return configs


@pytest.fixture(scope='module')
def config(banks: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Function: bank -> the file of a config with it and PSNR and bicubic's as metrics."""
    folder = tmp_path_factory.mktemp('configs')

    def write(name: str = 'StyleGAN2Bank', **generator: Any) -> Path:
        path = folder / f'{name}{len(generator)}.py'
        metrics = [dict(type='PSNR'), dict(type='PSNR', pred_key='bicubic_img', prefix='bicubic')]
        path.write_text(
            f'model = dict(generator={ {**banks[name], **generator} !r})\n'
            f"val_evaluator = dict(type='Evaluator', metrics={metrics!r})\n"
        )
        return path

    return write


def own_image(bank: Any, seed: int = 3) -> Tensor:
    """An image of the bank's own, (1, 3, 32, 32), 0 to 1."""
    noise = torch.randn(1, bank.noise_size, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        if any(bank.class_dims):
            picture = bank(noise, torch.tensor([2]))
        else:
            picture = bank(noise, randomize_noise=False)
    return (picture + 1) / 2


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Two photographs of 8 px, and their ground truths of 32 px beside them in `gt`."""
    (tmp_path / 'lq' / 'animals').mkdir(parents=True)
    (tmp_path / 'gt' / 'animals').mkdir(parents=True)
    for name, photograph in (('woman', data.astronaut()), ('animals/cat', data.chelsea())):
        truth = SquareResize(32).transform(dict(img=photograph))['img']
        Image.fromarray(truth).save(tmp_path / 'gt' / f'{name}.png')
        Image.fromarray(shrink(truth, 4)).save(tmp_path / 'lq' / f'{name}.png')
    return tmp_path


def invert(*arguments: object) -> None:
    """The tool in this process."""
    tool, argv = load_tool('invert'), sys.argv
    sys.argv = ['invert.py', *map(str, arguments)]
    try:
        tool.main()
    finally:
        sys.argv = argv


def report(folder: Path) -> list[dict[str, str]]:
    with open(folder / 'report.csv', newline='') as file:
        return list(csv.DictReader(file))


# ---- what is found


@pytest.mark.parametrize('name', BANKS)
def test_a_picture_of_the_bank_s_own_is_found_again(name: str, banks: dict[str, dict[str, Any]]) -> None:
    inverter = Inverter(banks[name], SHORT)
    before = {key: value.clone() for key, value in inverter.bank.state_dict().items()}
    inputs = inverter.task.degrade(own_image(inverter.bank))
    found = inverter(inputs)
    assert found.steps == 60 and not found.limited
    assert found.psnr.item() > found.start_psnr.item() + 6
    assert found.pictures.shape == (1, 3, 32, 32) and found.pictures.min() >= 0 and found.pictures.max() <= 1
    after = inverter.bank.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    assert all(parameter.grad is None for parameter in inverter.bank.parameters()) and not inverter.bank.training


@pytest.mark.parametrize('space', ['w', 'z'])
def test_the_smaller_spaces_hold_what_the_bank_was_trained_on(space: str, banks: dict[str, dict[str, Any]]) -> None:
    inverter = Inverter(banks['StyleGAN2Bank'], SHORT, space)
    found = inverter(inverter.task.degrade(own_image(inverter.bank)))
    assert found.psnr.item() > found.start_psnr.item() + 3
    tensors = inverter.space.start(3, torch.Generator().manual_seed(0))
    assert [tuple(tensor.shape) for tensor in tensors] == [(3, 1, 16)] and inverter.space.prior(tensors).sum() == 0


def test_codes_of_w_are_distributed_as_the_bank_s(banks: dict[str, dict[str, Any]]) -> None:
    """Vectors of the sphere are brought to the mean and spread that codes of the mapping network have."""
    inverter = Inverter(banks['StyleGAN2Bank'], SHORT)
    drawn: list[Tensor] = []
    inverter.bank.forward = lambda latent, **options: drawn.append(latent)
    inverter.space.draw(inverter.space.start(4000, torch.Generator().manual_seed(1)))
    codes, real = drawn[0][:, 0], inverter.bank.sample_codes(4000, seed=7)
    assert drawn[0].shape == (4000, 8, 16)
    spread = real.std(dim=0)
    assert ((codes.mean(dim=0) - real.mean(dim=0)).abs() < 0.15 * spread).all()
    assert ((codes.std(dim=0) / spread - 1).abs() < 0.2).all()


def test_prior_is_the_mean_squared_angle() -> None:
    vectors = torch.randn(2, 5, 7)
    vectors[1, 1:] = vectors[1, :1]  # equal ones have a gradient, too
    units = (vectors / vectors.norm(dim=2, keepdim=True)).double().numpy()
    pairs = itertools.combinations(range(5), 2)
    expected = np.mean([np.arccos((units[:, i] * units[:, j]).sum(1).clip(-1, 1)) ** 2 for i, j in pairs], axis=0)
    vectors.requires_grad_()
    np.testing.assert_allclose(geodesic(vectors).detach().numpy(), expected, atol=1e-5)
    geodesic(vectors).sum().backward()
    assert vectors.grad.isfinite().all() and vectors.grad[0].abs().max() > 0


def test_prior_draws_the_codes_together(banks: dict[str, dict[str, Any]]) -> None:
    found, angles = {}, {}
    for prior in (0.0, 1.0):
        inverter = Inverter(banks['StyleGAN2Bank'], Settings(steps=30, lr=0.3, restarts=1, prior=prior))
        seen: list[float] = []

        def measured(tensors: list[Tensor], seen: list[float] = seen) -> Tensor:
            seen.append(geodesic(tensors[0]).item())
            return geodesic(tensors[0])

        inverter.space.prior = measured
        found[prior] = inverter(inverter.task.degrade(own_image(inverter.bank))).psnr.item()
        angles[prior] = seen[-1] / seen[0]
    assert angles[1.0] < 0.2 and angles[0.0] > 0.5 and found[0.0] > found[1.0]


def test_a_class_is_searched_or_given(banks: dict[str, dict[str, Any]]) -> None:
    generator = banks['BigGANBank']
    bank = load_bank(generator['bank'], whole=True)
    inputs = Inverter(generator, SHORT).task.degrade(own_image(bank))
    found = {label: Inverter(generator, SHORT, label=label)(inputs) for label in (2, 4)}
    assert found[2].psnr.item() > found[4].psnr.item()  # it is of class 2
    given = Inverter(generator, SHORT, label=2).space.draw([torch.ones(1, 1, 16)])
    torch.testing.assert_close(given, bank(torch.ones(1, 16), torch.tensor([2])))
    searched = Inverter(generator, SHORT).space
    mean = searched.draw([torch.ones(1, 1, 16), torch.zeros(1, 6)])
    assert not torch.allclose(mean, given) and searched.prior([torch.ones(2, 1, 16), torch.full((2, 6), 3.0)])[1] == 9


def test_best_of_several_starts(banks: dict[str, dict[str, Any]]) -> None:
    gains = []
    for seed in range(3):
        one, four = (Inverter(banks['StyleGAN2Bank'], Settings(2, 0.3, restarts, seed=seed)) for restarts in (1, 4))
        inputs = one.task.degrade(own_image(one.bank))
        gains.append(1 - four(inputs).objective.item() / one(inputs).objective.item())
    assert min(gains) > -1e-4 and max(gains) > 0.02


def test_part_and_whole_of_a_bank_are_searched_alike(banks: dict[str, dict[str, Any]]) -> None:
    """What a GLEAN or LightGLEAN leaves out of the bank, and a learning-rate multiplier of its own."""
    generator = banks['StyleGAN2Bank']
    kept = dict(generator['bank'], start_res=4, mapping=True, rgb=True)
    noise = torch.randn(1, 16)
    pictures = [load_bank(bank, whole=True)(noise, randomize_noise=False) for bank in (generator['bank'], kept)]
    assert torch.equal(*pictures)
    bank = MODELS.build(dict(type='StyleGAN2Bank', lr_mlp=0.5, **STYLE))
    whole = bank.whole()
    whole.load_state_dict(bank.state_dict())
    assert torch.equal(bank(noise, randomize_noise=False), whole(noise, randomize_noise=False))


def test_colours_are_found_at_the_input_s_lightness(
    config: Any, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    color = config('BigGANBank', in_size=32, encoder=dict(type='GLEANEncoder', in_channels=1),
                   decoder=dict(type='ColorizationHead'))
    invert(color, small / 'gt', small / 'out', '--steps', 20)
    assert 'PSNR of lightness' in capsys.readouterr().out
    for name in ('woman', 'animals/cat'):
        result, truth = (np.asarray(Image.open(small / folder / f'{name}.png')) for folder in ('out', 'gt'))
        assert np.abs(rgb2lab(result)[..., 0] - rgb2lab(truth)[..., 0]).max() < 0.6
        assert np.abs(rgb2lab(result)[..., 1:]).max() > 1  # of some colour
    assert all(float(row['lr_psnr']) > float(row['start_lr_psnr']) + 1 for row in report(small / 'out'))


# ---- the tool


def test_flags(config: Any, small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ['--steps', 6, '--restarts', 2]

    def run(name: str, *options: object, file: Path | None = None, source: str = 'lq/woman.png') -> bytes:
        invert(file or config(), small / source, small / name, *base, *options)
        return (small / name / 'woman.png').read_bytes()

    plain = run('plain')
    assert run('again') == plain
    for index, options in enumerate((
        ['--seed', 1], ['--space', 'w'], ['--space', 'z'], ['--lr', 0.4], ['--steps', 9], ['--prior', 1], ['--bgr'],
        ['--cfg-options', 'model.generator.bank.lr_mlp=0.2'],
    )):  # fmt: skip
        assert run(f'option{index}', *options) != plain, options
    assert run('rgb', '--no-bgr') == plain
    assert run('label', '--label', 2, file=config('BigGANBank')) != run('none', file=config('BigGANBank'))
    assert report(small / 'option4')[0]['steps'] == '9'
    run('more', '--restarts', 6)
    few, more = (float(report(small / name)[0]['objective']) for name in ('plain', 'more'))
    assert more < few * 1.0001

    # A folder: the same image as alone, and its ground truths are measured.
    capsys.readouterr()
    together = run('folder', '--batch', 2, '--gt', small / 'gt', source='lq')
    pixels = [np.asarray(Image.open(small / name / 'woman.png')).astype(int) for name in ('plain', 'folder')]
    assert together and np.abs(pixels[0] - pixels[1]).max() <= 1
    truths = [np.asarray(Image.open(small / 'gt' / f'{name}.png')).astype(float) for name in ('woman', 'animals/cat')]
    results = [np.asarray(Image.open(small / 'folder' / f'{name}.png')) for name in ('woman', 'animals/cat')]
    psnr = np.mean([10 * np.log10(255**2 / ((a - b) ** 2).mean()) for a, b in zip(truths, results)])
    printed = capsys.readouterr().out
    assert f'PSNR: {psnr:.4f}' in printed and 'bicubic' not in printed

    (small / 'list.txt').write_text('woman.png (8,8,3)\n')
    run('listed', '--ann-file', small / 'list.txt', source='lq')
    assert [Path(row['file']).name for row in report(small / 'listed')] == ['woman.png']
    assert not (small / 'listed' / 'animals').exists()


def test_results_have_the_profiles_of_their_inputs(config: Any, small: Path) -> None:
    with Image.open(small / 'lq' / 'woman.png') as image:
        image.save(small / 'lq' / 'woman.png', icc_profile=SRGB)
        image.convert('L').save(small / 'lq' / 'animals' / 'cat.png', icc_profile=SRGB)
    invert(config(), small / 'lq', small / 'out', '--steps', 1)
    profiles = [Image.open(small / 'out' / f'{name}.png').info.get('icc_profile') for name in ('woman', 'animals/cat')]
    assert profiles == [SRGB, None]


def test_report_s_psnr_is_that_of_the_written_picture(config: Any, small: Path) -> None:
    invert(config(), small / 'lq', small / 'out', '--steps', 20)
    rows = {Path(row['file']).stem: row for row in report(small / 'out')}
    for name in ('woman', 'animals/cat'):
        result, given = (np.asarray(Image.open(small / folder / f'{name}.png')) for folder in ('out', 'lq'))
        error = ((shrink(result, 4).astype(float) - given) ** 2).mean()
        row = rows[Path(name).name]
        assert float(row['lr_psnr']) == pytest.approx(10 * np.log10(255**2 / error), abs=0.2)
        assert (row['steps'], row['stopped_by_limit']) == ('20', 'False') and float(row['seconds']) > 0


def test_time_limit(config: Any, small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    invert(config(), small / 'lq', small / 'out', '--steps', 10**6, '--time-limit', 0.1)
    rows = report(small / 'out')
    assert len(rows) == 2 and all(row['stopped_by_limit'] == 'True' and int(row['steps']) < 10**6 for row in rows)
    assert 'The time limit of 0.1 s stopped 2 of them' in capsys.readouterr().out
    assert (small / 'out' / 'woman.png').is_file()


def test_results_that_are_there(config: Any, small: Path) -> None:
    arguments = [config(), small / 'lq/woman.png', small / 'out', '--steps', 2]
    invert(*arguments)
    kept = (small / 'out' / 'woman.png').read_bytes()
    with pytest.raises(SystemExit, match='there already'):
        invert(*arguments, '--seed', 1)
    assert (small / 'out' / 'woman.png').read_bytes() == kept
    invert(*arguments, '--seed', 1, '--overwrite')
    assert (small / 'out' / 'woman.png').read_bytes() != kept
    with pytest.raises(SystemExit, match='is an input and would be overwritten'):
        invert(config(), small / 'lq', small / 'lq', '--overwrite')


def test_errors_by_name(config: Any, small: Path) -> None:
    out, lq = small / 'out', small / 'lq'
    (small / 'empty').mkdir()
    (small / 'broken').mkdir()
    (small / 'broken' / 'x.png').write_bytes(b'no image')
    (small / 'twice').mkdir()
    for ending in ('png', 'bmp'):
        Image.open(lq / 'woman.png').save(small / 'twice' / f'woman.{ending}')
    (small / 'list.txt').write_text('dog.png\n')
    for message, arguments in (
        (r'cat\.png is 32 x 32, but an input of this config is 8 x 8', [small / 'gt', out]),
        (r'no images in .*empty', [small / 'empty', out]),
        (r'neither an image nor a folder at .*nowhere', [small / 'nowhere', out]),
        (r'x\.png cannot be read', [small / 'broken', out]),
        (r'woman\.png and .*woman\.bmp would have the same result', [small / 'twice', out]),
        (r'has no dog\.png, which .*list\.txt names', [lq, out, '--ann-file', small / 'list.txt']),
        (r'chooses images of a folder', [lq / 'woman.png', out, '--ann-file', small / 'list.txt']),
        (r'has no ground truth of .*\.png \(2 missing\)', [lq, out, '--gt', small / 'twice/../broken']),
        (r'is 8 x 8, but a result of this config is 32 x 32', [lq, out, '--gt', lq]),
        (r'results go to a folder', [lq, lq / 'woman.png']),
        (r'steps must be positive, but is 0', [lq, out, '--steps', 0]),
        (r'time_limit must be positive, but is -1', [lq, out, '--time-limit', -1]),
        (r'prior must be at least 0', [lq, out, '--prior', -1]),
        (r'batch must be positive', [lq, out, '--batch', 0]),
        (r'has no classes, but the label 3', [lq, out, '--label', 3]),
        (r"no device 'nonsense'", [lq, out, '--device', 'nonsense']),
        (r'names no weights of the bank', [lq, out, '--cfg-options', 'model.generator.bank.pretrained=None']),
        (r'inputs of 4 channels for restoration; known are',
         [lq, out, '--cfg-options', 'model.generator.encoder.in_channels=4']),
    ):
        with pytest.raises(SystemExit, match=message):
            invert(config(), *arguments)
    for message, arguments in (
        (r"no space 'w' to search, but 'z'", ['--space', 'w']),
        (r'classes 0 to 4, but the label is 5', ['--label', 5]),
    ):
        with pytest.raises(SystemExit, match=message):
            invert(config('BigGANBank'), lq, out, *arguments)
    with pytest.raises(SystemExit, match=r"no config 'nowhere\.py'"):
        invert('nowhere.py', lq, out)
    assert not out.exists()
    with pytest.raises(InversionError, match='has no bank'):
        Inverter(dict(type='RRDBNet'))
    with pytest.raises(WeightsError):
        Inverter(dict(in_size=8, bank=dict(type='StyleGAN2Bank', **STYLE, pretrained=dict(checkpoint='nowhere.pth'))))


def test_the_command_restores_photographs(
    no_scope: None, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the shipped bank."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'in').mkdir()
    for name, photograph in (('woman', data.astronaut()), ('coffee', data.coffee())):
        Image.fromarray(SquareResize(16).transform(dict(img=photograph))['img']).save(tmp_path / 'in' / f'{name}.png')
    arguments = ['glean_twemoji_4x.py', 'in', 'out', '--steps', '15', '--lr', '0.3', '--restarts', '1']  # by its name
    run_tool('invert', arguments, monkeypatch)
    said = capsys.readouterr()
    assert 'out: 2 images' in said.out and 'objective=' in said.err and '30/30' in said.err
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {'woman.png', 'coffee.png', 'report.csv'}
    for row in report(tmp_path / 'out'):
        assert float(row['lr_psnr']) > float(row['start_lr_psnr']) + 2
    assert np.asarray(Image.open(tmp_path / 'out' / 'woman.png')).shape == (64, 64, 3)
