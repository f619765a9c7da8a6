"""Wrong calls of every command: one line that says what is wrong, with which value and what to do, and exit code 2."""

from __future__ import annotations

import shlex
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
from mmengine.config import Config
from mmengine.logging import MMLogger
from PIL import Image

from glean_plus import Restorer
from glean_plus.cli.main import WRONG, main
from glean_plus.inference import RestoreError
from glean_plus.weights import WeightsError

from conftest import CONFIGS
from small_restorers import photo

WEIGHTS = CONFIGS / 'weights'
NAME = 'lightglean_twemoji_4x'

# Command line -> parts of its line; W/ is the folder of the shipped weights.
CALLS = {
    'restor in.png out.png': ("invalid choice: 'restor'", "'restore'"),
    'restore': ('required: OUT', 'glean-plus restore --help'),
    'restore in.png': ('give IN and OUT, or OUT and --list FILE',),
    'restore in.png out.png --frobnicate': ('unrecognized arguments: --frobnicate', '--help'),
    'restore nowhere.png out.png': ('neither a file nor a folder at nowhere.png',),
    'restore empty out': ('no images and no videos in empty',),
    'restore words out': ('no images and no videos in words',),
    "restore 'no*.png' out": ('no images and no videos in no*.png',),
    'restore in.png in.png': ('in.png is an input and would be overwritten', 'another place'),
    'restore photos photos': ('would be inputs of the next run', 'another folder'),
    'restore photos file': ('go to a folder, but file is a file',),
    'restore in.png file/out.png': ('Nothing can be written to file/out.png', 'another place'),
    'restore photos /proc/out': ('Nothing can be written to /proc/out', 'another place'),
    'restore in.png out.xyz': ('ends in one of .png', "'.xyz'"),
    'restore in.png out.jpg --format png': ('out.jpg', '.png', 'give one of them'),
    'restore in.png out.png --format psd': ("'psd'", "'png', 'jpg'"),
    'restore in.png out.png --device gpu': ("no device 'gpu'", 'take cpu, cuda'),
    'restore in.png out.png --device cuda:77': ("'cuda:77' cannot be used (", '): '),
    f'restore in.png out.png --model {NAME}x': (f"no model '{NAME}x'", f'did you mean {NAME}'),
    'restore in.png out.png --model LightGLEAN-Twemoji-4x': (f'did you mean {NAME}',),
    'restore in.png out.png --model zzz': ("no model 'zzz'", 'there are glean_twemoji_multiclass_4x, ', f', {NAME}, '),
    'restore in.png out.png --model glean_cat_16x': ('GLEAN_PLUS_OFFLINE', 'put it at'),
    'restore in.png out.png --model bad.pth': ('bad.pth is no PyTorch file',),
    'restore in.png out.png --model bad.safetensors': ('bad.safetensors is no readable safetensors file',),
    'restore in.png out.png --model W/stylegan2_twemoji_64px.safetensors': ('which config', 'A bank alone'),
    f'restore in.png out.png --model {NAME}.py': ('has no weights', 'give its checkpoint'),
    f'restore in.png out.png --model {NAME} --checkpoint W/lightglean_twemoji_8x.safetensors': (
        'does not fit', '121', 'lightglean_twemoji_8x: take that',
    ),
    f'restore in.png out.png --model {NAME} --checkpoint W/stylegan2_twemoji_64px.safetensors': (
        '"generator."', 'another file',
    ),
    f'restore in.png out.png --model {NAME} --checkpoint nowhere.pth': ('no weight file nowhere.pth',),
    'restore in.png out.png --model other.py --checkpoint W/lightglean_twemoji_8x.safetensors': ('other.py', 'in_size'),
    'restore in.png out.png --model syntax.py --checkpoint W/lightglean_twemoji_8x.safetensors': ('syntax.py', 'was'),
    'restore in.png out.png --model bank.py --checkpoint W/lightglean_twemoji_4x.safetensors': ('StyleGAN9Bank',),
    'restore in.png out.png --model nowhere.py --checkpoint W/lightglean_twemoji_8x.safetensors': ("'nowhere.py'",),
    'restore in.png out.png --mode tile': ("'tile'", "'direct', 'tiles', 'fit'"),
    'restore in.png out.png --model glean_twemoji_multiclass_4x --mode direct': ('no direct mode', 'take tiles or fit'),
    'restore in.png out.png --precision fp16 --device cpu': ('fp16', 'take bf16'),
    'restore in.png out.png --speed fast': ("'fast'", "'exact', 'folded'"),
    'restore in.png out.png --batch 0': ('batch is 1 or more, not 0',),
    'restore in.png out.png --max-memory much': ("'much'", 'as 4G'),
    'restore in.png out.png --max-memory 1K': ("'1K'", '1M at least'),
    'restore in.png out.png --seed a': ("'a'", '--seed'),
    'restore in.png out.png --seed 99999999999999999999': ('seed has 64 bits', '99999999999999999999'),
    'restore in.png out.png --label 1': ('takes no label', 'leave it out'),
    'restore in.png out.png --label 0.5': ("'0.5'", '--label'),
    'restore in.png out.png --consistent -1': ('consistent is 0 or more, not -1',),
    'restore in.png out.png --consistent 3 --fidelity 1': ('give one of them',),
    'restore in.png out.png --fidelity nan': ('not nan',),
    'restore in.png out.png --report --model lightglean_twemoji_color': ('Colorization has no report',),
    'restore in.png out.png --crf 20': ('crf is the quality of videos', 'leave it out'),
    'restore in.png out.png --min-face 3': ('--min-face', 'give --faces'),
    'restore in.png out.png --faces --report': ('leave --report or --faces out',),
    'restore in.png out.png --json in.png': ("would overwrite 'in.png'", 'NAME.json'),
    'restore in.png out.png --json out/glean-plus.run.json': ('would overwrite', 'NAME.json'),
    'web --port 99999': ('0 to 65535, not 99999',),
    'web --model zzz': ('no file zzz',),
    'web --device gpu': ("no device 'gpu'", 'take cpu, cuda'),
    f'export {NAME} out.xyz': ('out.xyz', '.onnx, .pt2, .ts'),
    f'export {NAME} out.ts --size 16y': ("'16y'", '64x96'),
    f'export {NAME} out.ts --size 17': ('multiples of 2', '17x17'),
    f'export {NAME} out.ts --batch 0': ('batch is 1 or more, not 0',),
    f'export {NAME} file/out.ts': ('file/out.ts cannot be written', 'another place'),
    'convert nowhere.pth x.safetensors': ('no weight file nowhere.pth',),
    'convert bad.pth x.safetensors': ('bad.pth is no PyTorch file',),
    'convert W/stylegan2_twemoji_64px.safetensors x.pth': ('.safetensors', 'x.pth'),
    'convert W/stylegan2_twemoji_64px.safetensors x.safetensors --prefix nothing': ('"nothing."', 'generator_ema'),
    'convert W/stylegan2_twemoji_64px.safetensors file/x.safetensors': ('file/x.safetensors', 'another place'),
    f'inspect {NAME} W/{NAME}.safetensors empty': ('no images in empty',),
    f'inspect {NAME} W/{NAME}.safetensors photos --out file': ('file is a file',),
    f'fidelity {NAME} nowhere photos': ('no folder nowhere',),
    f'fidelity {NAME} photos photos --names nowhere.txt': ('no list nowhere.txt',),
    f'fidelity {NAME} photos photos --values 2': ('0 (the bank) to 1 (the input), not 2',),
    f'calibrate {NAME} nowhere': ('no folder nowhere',),
    f'calibrate {NAME} photos': ('40 images', 'in photos there are 1'),
    f'invert {NAME} nowhere.png out': ('neither an image nor a folder at nowhere.png',),
    f'invert {NAME} in.png out --steps 0': ('steps must be positive, but is 0',),
    'invert other.py in.png out': ('other.py is no restorer', 'Give the config of one'),
    'invert syntax.py in.png out': ('syntax.py cannot be read',),
    'benchmark --only zzz': ("no contender 'zzz'", "'LightGLEAN'"),
    'benchmark --device gpu': ("no device 'gpu'", 'take cpu, cuda'),
    'benchmark --out file/x.md': ('no folder', 'another'),
    'complexity nowhere.py': ("'nowhere.py'", 'glean-plus models'),
    'fetch zzz': ("no 'zzz' in the catalogue", '--list lists'),
    'fetch StyleGAN2_Cat': ("no 'StyleGAN2_Cat'", 'did you mean stylegan2_cat_256'),
    'study nowhere.py --out out': ('nowhere.py',),
    'prepare zzz photos out': ("'zzz'", "'ffhq'"),
    'prepare folder photos out': ('give --size',),
    'prepare folder nowhere out --size 16': ('nowhere is no folder',),
    'prepare folder photos out --size 64 --scales 3': ('[3] do not divide', '64'),
    'prepare folder photos photos --size 16': ('lie in each other',),
    'text': ('OUT is missing', 'glean-plus text --help'),
    'text out --fonts words': ('--texts is missing',),
    'text out --fonts words --texts nowhere': ('nowhere is not a folder of texts',),
    'text out --fonts words --texts words --crops 0': ('--crops is 0, but must be positive',),
    'samples nowhere.pth x.png': ('no weight file nowhere.pth',),
    'samples W/stylegan2_twemoji_64px.safetensors x.xyz': ('must end in .png', 'x.xyz'),
    'samples W/biggan_twemoji_64px.safetensors x.png --classes 99': ('the classes 0 to 8, not 99',),
    'samples W/stylegan2_twemoji_64px.safetensors x.png --columns 0': ('--columns is 1 or more, not 0',),
}


@pytest.fixture(scope='module')
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('wrong')
    for name in ('empty', 'words', 'photos'):
        (folder / name).mkdir()
    Image.fromarray(photo('coffee', 16, 16)).save(folder / 'in.png')
    Image.fromarray(photo('coffee', 16, 16)).save(folder / 'photos' / 'a.png')
    for name in ('words/a.txt', 'file', 'bad.pth', 'bad.safetensors'):
        (folder / name).write_text('no')
    (folder / 'other.py').write_text("model = dict(type='X')")
    (folder / 'syntax.py').write_text('model = (')
    config = Config.fromfile(CONFIGS / f'{NAME}.py')
    config.model.generator.bank.type = 'StyleGAN9Bank'
    config.dump(folder / 'bank.py')
    return folder


@pytest.mark.parametrize('call', CALLS)
def test_a_wrong_call_is_a_sentence(
    call: str, place: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv('GLEAN_PLUS_OFFLINE', '1')
    monkeypatch.setenv('GLEAN_PLUS_CACHE', str(tmp_path))
    # As in a process of its own: a logger of another test writes to that one's stream.
    monkeypatch.setattr(MMLogger, '_instance_dict', OrderedDict())
    before = sorted(place.rglob('*'))
    try:
        code = main(shlex.split(call.replace('W/', f'{WEIGHTS}/')))
    except SystemExit as ended:
        code = ended.code
    said = capsys.readouterr().err
    assert code == WRONG, said
    assert said.count('\n') == 1 and all(part in said for part in CALLS[call]), said
    assert sorted(place.rglob('*')) == before, 'nothing is written'


@pytest.mark.parametrize('options, words', [
    (dict(seed='a'), "seed is a whole number, not 'a'"), (dict(seed=1.5), 'seed is a whole number, not 1.5'),
    (dict(seed=True), 'seed is a whole number, not True'), (dict(seed=2**63), 'seed has 64 bits'),
    (dict(label=0.5), 'label is a whole number, not 0.5'), (dict(label=2), 'takes no label'),
    (dict(batch=0), 'batch is 1 or more, not 0'), (dict(batch=2.0), 'batch is 1 or more, not 2.0'),
    (dict(consistent='all'), "consistent is 0 or more, not 'all'"),
    (dict(fidelity='high'), "fidelity is a number from 0 to 1, not 'high'"), (dict(device='gpu'), "no device 'gpu'"),
    (dict(mode='tile'), "not 'tile'"), (dict(precision='half'), "but is 'half'"),
    (dict(max_memory='much'), "not 'much'"),
    (dict(model='lightglean_twemoji_4'), 'did you mean lightglean_twemoji_4x'),
    (dict(checkpoint=WEIGHTS / 'lightglean_twemoji_8x.safetensors'), 'does not fit'),
])  # fmt: skip
def test_so_is_a_wrong_restorer(options: dict[str, Any], words: str) -> None:
    with pytest.raises((RestoreError, WeightsError)) as error:
        Restorer(**{'model': NAME, 'device': 'cpu', **options})
    assert words in str(error.value) and '\n' not in str(error.value)


def test_a_class_that_there_is_not_is_named() -> None:
    with pytest.raises(RestoreError, match='takes no label'):
        Restorer('glean_twemoji_multiclass_4x', device='cpu', label=2)
