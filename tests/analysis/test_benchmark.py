"""The benchmark: real processes that take turns, their images compared, and the table."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch
from matplotlib.axes import Axes
from mmengine.config import Config
from PIL import Image

from glean_plus.accel.openvino import OpenVINOError
from glean_plus.analysis.benchmark import compare, contenders, run, worker
from glean_plus.analysis.benchmark.compare import BenchmarkError, Measured, Setting, markdown
from glean_plus.analysis.benchmark.plot import plot
from glean_plus.analysis.benchmark.run import left_out
from glean_plus.analysis.benchmark.throughput import measure
from glean_plus.export.errors import ExportError
from glean_plus.models import GLEAN

from conftest import CONFIGS, ROOT, load_tool, run_tool


def test_table_of_real_processes(
    no_scope: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The contenders' are real."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('PYTHONPATH', str(ROOT))
    out = tmp_path / 'table.md'
    names = ['LightGLEAN', 'LightGLEAN, folded, bf16']
    options = ['--sizes', '8:16', '--runs', '2', '--threads', '1', '--out', str(out), '--only', *names]
    run_tool('benchmark', options, monkeypatch)
    text = out.read_text()
    assert text in capsys.readouterr().out and text.startswith('8 -> 16, batch 1, cpu, 1 threads')
    lines = [line.strip('|') for line in text.splitlines() if line.startswith('| L')]
    rows = [[cell.strip() for cell in line.split('|')] for line in lines]
    assert [row[0] for row in rows] == names
    plain, half = rows
    assert plain[2] == '1.00' and plain[7:9] == ['', ''] and 1e-4 < float(half[7]) < 0.1
    assert 100 > float(half[8].removesuffix(' dB')) > 35
    for row in rows:
        # 22 M parameters are at rest, more in the run; a small share of the limit, as the maps are tiny.
        held, peak = (float(row[column].replace(',', '').removesuffix(' MB')) for column in (5, 3))
        assert 20 < held <= peak and float(row[1]) > 0 and 0 < float(row[6]) < 2


def test_ratios_and_shares() -> None:
    found = {
        'MMagic GLEAN': Measured([4.0, 2.0, 9.0], peak=2_000_000_000, held=0, macs=4e9),
        'GLEAN, folded, bf16': Measured([0.5, 0.25, 0.4], 500_000_000, 0, 1e-2, 45.04, 4e9),
        'MMagic RRDBNet (4x)': Measured([1.0], 1, 0),
    }
    lines = markdown(Setting(16, 64), found, {'float32': 1e9, 'bfloat16': 1e11}, 'MMagic GLEAN').splitlines()
    assert lines[-3:-1] == [
        '| MMagic GLEAN | 4 | 1.00 | 2,000 MB | 1.00 | 0 MB | 1.00 |  |  |',
        '| GLEAN, folded, bf16 | 0.4 | 10.00 | 500 MB | 4.00 | 0 MB | 0.10 | 1e-02 | 45.0 dB |',
    ]
    assert lines[-1].startswith('| MMagic RRDBNet (4x) | 1 | 4.00 |') and lines[-1].endswith('| 0 MB |  |  |  |')


def test_plot_has_a_line_for_each_contender(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[tuple[list[float], list[float], str]] = []
    real = Axes.plot

    def watched(self: Axes, x: list[float], y: list[float], *args: object, **kwargs: object) -> object:
        lines.append((x, y, str(kwargs['label'])))
        return real(self, x, y, *args, **kwargs)

    monkeypatch.setattr(Axes, 'plot', watched)
    found = {256: {'a': Measured([1.0], 10_000_000), 'b': Measured([2.0], 1_000_000)}}
    found[1024] = {'a': Measured([8.0], 40_000_000)}
    plot(found, tmp_path / 'x.png')
    assert Image.open(tmp_path / 'x.png').size == (1000, 400)
    pixels = 'as the pixels'
    assert lines[:3] == [([256, 1024], [1.0, 8.0], 'a'), ([256], [2.0], 'b'), ([256, 1024], [0.5, 8.0], pixels)]
    assert lines[3:] == [([256, 1024], [10, 40], 'a'), ([256], [1], 'b'), ([256, 1024], [2.5, 40], pixels)]


@torch.no_grad()
def test_contenders_have_the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(1, 3, 8, 8)
    theirs = contenders.build(contenders.CONTENDERS['MMagic GLEAN'], 8, 16, 'cpu')(x)
    ours = contenders.build(contenders.CONTENDERS['GLEAN'], 8, 16, 'cpu')
    assert (ours(x) - theirs).abs().max() < 1e-5 * (theirs.max() - theirs.min())
    strengths = [each for name, each in ours.named_parameters() if 'noise_injector' in name]
    assert strengths and all((each == contenders.NOISE_STRENGTH).all() for each in strengths)


@torch.no_grad()
def test_colorization(monkeypatch: pytest.MonkeyPatch) -> None:
    for light in (False, True):
        theirs = Config.fromfile(CONFIGS / f'{"light" if light else ""}glean_imagenet_color.py').model.generator
        del theirs.bank.pretrained
        assert contenders.color_config(256, 256, light) == theirs.to_dict()
    lightness = torch.rand(1, 1, 32, 32)
    shallow = contenders.color_config(32, 32, False)
    shallow['encoder'] |= dict(num_rrdbs=1)
    shallow['bank'] |= dict(base_channels=16)
    monkeypatch.setattr(contenders, 'color_config', lambda *args: shallow)
    names = [name for name, contender in contenders.CONTENDERS.items() if contender.task == 'color']
    assert all(contenders.CONTENDERS[name].same_as in (name.split(',')[0], None) for name in names)
    plain, folded = (contenders.build(contenders.CONTENDERS[name], 32, 32, 'cpu') for name in names[:2])
    assert (plain(lightness) - folded(lightness)).abs().max() < 1e-4
    assert compare._macs(names[0], Setting(32, 32)) > 0


def test_memory_is_what_a_network_needs() -> None:
    if sys.platform != 'linux':
        pytest.skip('memory is read from /proc')
    worker.forget_peak()
    before = worker.resident('VmRSS')
    kept = torch.ones(20_000_000)
    timed = worker.Timed(lambda x: (torch.ones(50_000_000) + x).sum(), kept[:1], before)
    assert timed.seconds() > 0
    memory = timed.memory()
    assert 70e6 < memory['held'] < 150e6 and 380e6 < memory['peak'] - memory['held'] < 700e6
    assert len(kept) == 20_000_000


def test_what_cannot_run_here_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = ['GLEAN', 'GLEAN, folded', 'GLEAN, torch.compile', 'GLEAN, compiled', 'GLEAN, compiled, bf16',
             'GLEAN, openvino', 'GLEAN, onnxruntime']  # fmt: skip
    monkeypatch.setattr(run, 'core', lambda: None)
    monkeypatch.setattr(run, 'package', lambda name: None)
    assert left_out(names, 'cuda') == names[3:]
    monkeypatch.setenv('CXX', str(tmp_path / 'no compiler'))
    assert left_out(names, 'cpu') == names[3:5]
    monkeypatch.undo()
    monkeypatch.setattr(run, 'compiler', list)
    monkeypatch.setattr(run, 'core', Mock(side_effect=OpenVINOError))
    monkeypatch.setattr(run, 'package', Mock(side_effect=ExportError))
    assert left_out(names, 'cpu') == names[5:]


@torch.no_grad()
@pytest.mark.parametrize('name', ['GLEAN, onnxruntime', 'LightGLEAN, onnxruntime', 'Color LightGLEAN, onnxruntime'])
def test_another_runtime_gives_the_same_images(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shallow = contenders.color_config(32, 32, True)
    shallow['encoder'] |= dict(num_rrdbs=1)
    shallow['bank'] |= dict(base_channels=16)
    monkeypatch.setattr(contenders, 'color_config', lambda *args: shallow)
    size, out = (32, 32) if name.startswith('Color') else (8, 16)
    x = torch.rand(3, 1 if name.startswith('Color') else 3, size, size)
    plain, theirs = (contenders.build(contenders.CONTENDERS[each], size, out, 'cpu')(x)
                     for each in (name.partition(',')[0], name))  # fmt: skip
    torch.testing.assert_close(theirs, plain, rtol=0, atol=1e-4 * float(plain.max() - plain.min()))


def test_torch_s_compiler_is_given_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, 'compile', lambda network: (network, 'compiled'))
    network, word = contenders.build(contenders.CONTENDERS['LightGLEAN, torch.compile'], 8, 16, 'cpu')
    assert word == 'compiled' and isinstance(network, GLEAN)


def test_errors(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    tool = load_tool('benchmark')
    for options, message in (
        (['--only', 'GLEAM'], "there is no contender 'GLEAM'; known are 'MMagic GLEAN'"),
        (['--sizes', '64-1024'], 'a size is INPUT:OUTPUT'),
        (['--task', 'color', '--only', 'GLEAN'], "there is no contender 'GLEAN'; known are 'Color GLEAN'"),
        (['--device', 'nonsense'], "no device 'nonsense'"),
        (['--runs', '0'], '--runs must be 1 or more'),
        (['--sizes', '16:256', '32:256', '--plot', 'x.png'], 'of which two are the same'),
        (['--sizes', '12:16'], 'GLEAN cannot restore 12 to 16: in_size 12 does not fit the bank'),
    ):
        monkeypatch.setattr(sys, 'argv', ['benchmark.py', *options])
        with pytest.raises(SystemExit) as caught:
            tool.main()
        assert message in f'{caught.value} {capsys.readouterr().err}'
    # Three workers that fail at once, each of which would otherwise import for seconds.
    monkeypatch.setattr(sys, 'executable', shutil.which('false'))
    with pytest.raises(BenchmarkError, match=r'MMagic RRDBNet \(4x\) ended with 1'):
        compare.compare(['MMagic RRDBNet (4x)'], Setting(8, 32), 1)


def test_throughput_of_a_folder(tmp_path: Path) -> None:
    for i in range(3):
        Image.new('RGB', (16, 16), (50 * i, 90, 200)).save(tmp_path / f'{i}.png')
    table = measure(tmp_path, 'lightglean_twemoji_4x', ['exact', 'folded'], 'cpu', 'fp32', 1, 1, runs=2)
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines()[2:]]
    assert [row[0] for row in rows] == ['lightglean_twemoji_4x, exact', 'lightglean_twemoji_4x, folded']
    for _, images, speed, cpu, share in rows:
        assert images == '3' and float(speed) > 0 and float(cpu) > 0 and 0 < int(share.removesuffix('%')) <= 100
    (tmp_path / '1.png').write_bytes(b'no image')
    with pytest.raises(BenchmarkError, match=r'1 images of .* cannot be restored'):
        measure(tmp_path, 'lightglean_twemoji_4x', ['exact'], 'cpu', 'fp32', 1, 1, runs=1)
