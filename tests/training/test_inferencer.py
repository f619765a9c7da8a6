"""MMagic's own inferencer runs our models, by name or by config and checkpoint, as ``Restorer`` does."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from mmagic.apis import MMagicInferencer
from mmengine.config import Config
from PIL import Image
from test_shipped import SHIPPED

from glean_plus import Restorer, compat
from glean_plus.training.inferencer import settings

from conftest import CONFIGS, ROOT
from small_restorers import photo


def weights(name: str) -> str:
    return str(CONFIGS / 'weights' / f'{name}.safetensors')




def assert_same(image: np.ndarray, expected: np.ndarray) -> None:
    """But for a value that lies between two levels: ``Restorer`` keeps its weights in another memory layout."""
    np.testing.assert_allclose(image.astype(int), expected, atol=1)
    assert (image != expected).mean() < 1e-3


def test_it_is_imported_in_a_process_of_its_own() -> None:
    """As a user does: after this package, in the default stack, without a word."""
    code = (
        'import glean_plus; from mmagic.apis import MMagicInferencer as M; '
        'print("lightglean_twemoji_4x" in M.get_inference_supported_models())'
    )
    result = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True, cwd=ROOT)
    assert result.stdout == 'True\n', result.stderr


@pytest.mark.parametrize('name', SHIPPED)
def test_result_is_that_of_restorer(name: str, tmp_path: Path) -> None:
    restorer = Restorer(name, device='cpu')
    side = restorer.network.in_size
    given, written = tmp_path / 'in.png', tmp_path / 'out' / 'large.png'
    Image.fromarray(photo('astronaut', side, side)).save(given)
    _, image = MMagicInferencer(name, device='cpu').infer(img=str(given), result_out_dir=str(written))
    expected = np.asarray(restorer(given))
    assert_same(np.asarray(Image.open(written)), expected)
    assert_same(image[..., ::-1], expected)  # as OpenCV has it


def test_by_config_and_checkpoint(tmp_path: Path) -> None:
    """With a name of MMagic's, or none; the config, which it edits, may be a live one."""
    name = 'lightglean_twemoji_4x'
    given = tmp_path / 'in.png'
    Image.fromarray(photo('coffee', 16, 16)).save(given)
    expected = np.asarray(Restorer(name, device='cpu')(given))
    config = Config.fromfile(CONFIGS / f'{name}.py')
    before = copy.deepcopy(config.to_dict())
    for arguments in (
        dict(model_name='glean', model_config=str(CONFIGS / f'{name}.py'), model_ckpt=weights(name)),
        dict(model_config=str(CONFIGS / f'{name}.py'), model_ckpt=weights(name)),
        dict(model_config=config, model_ckpt=weights(name)),
        dict(model_name='glean_cat_16x', model_config=config, model_ckpt=weights(name)),  # nothing is fetched
    ):
        inferencer = MMagicInferencer(**arguments, device='cpu')
        for _ in range(2):
            _, image = inferencer.infer(img=str(given))
            assert_same(image[..., ::-1], expected)
    assert config.to_dict() == before


def test_lists_have_ours_beside_mmagic_s() -> None:
    listed = MMagicInferencer.get_inference_supported_models()
    assert {*SHIPPED, 'glean_cat_16x', 'esrgan', 'styleganv2'} <= {*listed} and len(listed) == len({*listed})
    tasks = {name: MMagicInferencer.get_task_supported_models(name) for name in
             MMagicInferencer.get_inference_supported_tasks()}  # fmt: skip
    assert {'lightglean_twemoji_4x', 'glean_face_16x', 'glean'} <= {*tasks['Image Super-Resolution']}
    assert tasks['Colorization'] == ['inst_colorization', 'lightglean_twemoji_color']
    assert 'lightglean_twemoji_blind' in tasks['Image Restoration']
    for each in settings().values():
        assert Path(each['settings'][0]['Config']).is_file()


def test_names_of_mmagic_s_are_its_own() -> None:
    """What a name of MMagic's gives is what it gave; one that nobody knows is refused as ever."""
    take = SimpleNamespace(get_model_config=lambda name: MMagicInferencer.inference_supported_models_cfg[name])
    MMagicInferencer.init_inference_supported_models_cfg()
    found = MMagicInferencer._get_inferencer_kwargs(take, 'esrgan', None, None, None, None, None)
    assert found['task'] == 'Image Super-Resolution' and 'configs/esrgan/' in found['config']
    with pytest.raises(ValueError, match='nothing_like_it is not supported'):
        MMagicInferencer('nothing_like_it')
    with pytest.raises(ValueError, match='Unknown inferencer task: None'):
        MMagicInferencer(model_config=str(CONFIGS / 'stylegan2_twemoji_64px.py'))


@pytest.mark.parametrize('folder', ['python/solutions', 'solutions', None])
def test_stand_in_for_faces_is_there_where_mediapipe_has_none(
    folder: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = 'controlnet_aux.mediapipe_face'
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, 'mediapipe', raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / 'mediapipe' / (folder or '')).mkdir(parents=True)
    (tmp_path / 'mediapipe' / '__init__.py').write_text('raise AssertionError("it is not to be imported")\n')
    compat.stand_in_for_mediapipe_faces()
    assert (name in sys.modules) == (folder is None)
    if folder is None:
        with pytest.raises(NotImplementedError, match='needs mediapipe.solutions'):
            sys.modules[name].MediapipeFaceDetector()
