"""Exported files in others' tools, by the calls that these make: ComfyUI's of a node, chaiNNer's of an ONNX file."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from documents import DOCS
from onnx import shape_inference

from glean_plus.export import BOUND, export
from glean_plus.inference import Restorer

from small_restorers import generator_config, photo

pytestmark = pytest.mark.usefixtures('exact_speed')
ANY, FIXED, CODES = 'lightglean_twemoji_4x', 'lightglean_twemoji_multiclass_4x', 'glean_twemoji_multiclass_4x'
NODE = DOCS / 'comfyui' / 'comfyui_glean_plus.py'


@pytest.fixture(scope='module')
def files(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Function: model, ending, options -> the exported file, made once."""
    folder = tmp_path_factory.mktemp('glean_plus')

    def make(model: Any, ending: str = '.onnx', **options: Any) -> Path:
        path = folder / f'{Path(str(model)).stem}{"_".join(map(str, options.items()))}{ending}'
        return path if path.exists() else export(model, path, **options).path

    return make


def close(given: np.ndarray, wanted: np.ndarray) -> bool:
    return given.shape == wanted.shape and np.abs(given - wanted).max() <= BOUND * np.ptp(wanted)


# ---- ComfyUI


@pytest.fixture
def node(files: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The node's module, imported as ComfyUI does it; `folder_paths` is the one of its modules that it needs."""
    paths, folders = ModuleType('folder_paths'), dict[str, Path]()
    paths.models_dir = str(files(FIXED).parent.parent)
    paths.add_model_folder_path = lambda name, folder: folders.update({name: folder})
    paths.get_filename_list = lambda name: sorted(path.name for path in files(FIXED).parent.iterdir())
    paths.get_full_path_or_raise = lambda name, file: str(files(FIXED).parent / file)
    monkeypatch.setitem(sys.modules, 'folder_paths', paths)
    spec = importlib.util.spec_from_file_location('custom_nodes.comfyui_glean_plus', NODE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert folders == {'glean_plus': f'{paths.models_dir}/glean_plus'}
    return module


def run_node(module: ModuleType, image: torch.Tensor, file: Path, **more: Any) -> np.ndarray:
    """What ComfyUI does with a node: ask for its inputs, make one, and call the function that it names."""
    (name, kind), = module.NODE_CLASS_MAPPINGS.items()
    assert module.NODE_DISPLAY_NAME_MAPPINGS[name] and kind.RETURN_TYPES == ('IMAGE',) and kind.CATEGORY
    inputs = kind.INPUT_TYPES()
    assert inputs['required']['image'] == ('IMAGE',) and file.name in inputs['required']['model'][0]
    assert inputs['optional']['label'][0] == 'INT'
    (result,) = getattr(kind(), kind.FUNCTION)(image=image, model=file.name, **more)
    assert result.dtype == torch.float32 and result.min() >= 0 and result.max() <= 1
    return result.numpy()


@pytest.mark.parametrize(('model', 'ending', 'options', 'size'), [
    (ANY, '.onnx', dict(dynamic=True), (9, 70)), (FIXED, '.onnx', {}, (47, 38)), (FIXED, '.onnx', {}, (7, 16)),
    (FIXED, '.ts', {}, (20, 16)), (CODES, '.onnx', {}, (12, 16)),
])  # fmt: skip
def test_comfyui(
    model: str, ending: str, options: dict[str, Any], size: tuple[int, int], files: Callable[..., Path],
    node: ModuleType,
) -> None:  # fmt: skip
    """A batch of any size: what the restorer gives, in one piece, and in its tiles where the model has a size.

    With little contrast: what a tile overshoots beyond 0 and 1 is cut in a file, before tiles are blended.
    """
    images = np.stack([photo(name, *size) for name in ('astronaut', 'chelsea')]).astype(np.float32) / 255
    images = 0.3 + 0.4 * images
    given = torch.from_numpy(images)
    results = run_node(node, given, files(model, ending, **options))
    restorer = Restorer(model, device='cpu', mode='direct' if options else 'tiles')
    assert len(results) == 2 and all(close(each, restorer(image)) for each, image in zip(results, images))


@pytest.mark.skipif(not hasattr(getattr(torch.export, 'Dim', None), 'AUTO'), reason='a .pt2 needs PyTorch 2.6')
def test_comfyui_takes_classes_and_programs(
    files: Callable[..., Path], node: ModuleType, tmp_path: Path
) -> None:
    from test_export import BANKS, tamed

    config = generator_config(False, bank=BANKS['BigGAN-deep'] | dict(start_res=16), given_class=True)
    model = tamed(tmp_path / 'classes.pth', config)
    image = photo('chelsea', 16, 16).astype(np.float32) / 255
    alpha = torch.from_numpy(np.dstack([image, np.ones((16, 16, 1), np.float32)]))[None]
    for ending in ('.onnx', '.pt2'):
        results = [run_node(node, alpha, files(model, ending), label=label)[0] for label in (1, 3)]
        assert np.abs(results[0] - results[1]).max() > 100 * BOUND
        assert close(results[1], Restorer(model, device='cpu', label=3)(image))


def test_the_node_is_short() -> None:
    assert len(NODE.read_text().splitlines()) <= 80


# ---- chaiNNer (backend/src/nodes/impl/onnx), in our own words


def as_chainner_reads(path: Path) -> tuple[int, tuple[int, int] | None, int]:
    """Scale, fixed size and the multiple of the sides that chaiNNer finds in a file.

    It looks at the first input and output, which must be 4 sizes each. Channels are the second size. Where height and
    width are free, it gives them values, 16 at first, and lets ONNX infer the size of the result, strictly. The first
    value that works is taken for the multiple.
    """
    model = onnx.load_model_from_string(path.read_bytes())
    assert len(model.graph.input) == len(model.graph.output) == 1, 'an image to an image'
    image, result = model.graph.input[0].type.tensor_type, model.graph.output[0].type.tensor_type
    assert image.elem_type == onnx.TensorProto.FLOAT and len(image.shape.dim) == len(result.shape.dim) == 4
    batch, channels, height, width = image.shape.dim
    assert channels.dim_value == 3 and result.shape.dim[1].dim_value == 3, 'else they count as sides'
    fixed = (height.dim_value, width.dim_value) if height.dim_value else None
    if not batch.dim_value:
        batch.dim_value = 1
    for side in (16, 64, 256, 512):
        height.dim_value, width.dim_value = fixed or (side, side)
        inferred = shape_inference.infer_shapes(model, strict_mode=True).graph.output[0].type.tensor_type.shape.dim
        sides = [dim.dim_value for dim in inferred[2:]]
        if all(sides):
            assert sides[0] % height.dim_value == 0 and sides[0] * width.dim_value == sides[1] * height.dim_value
            return sides[0] // height.dim_value, fixed, 1 if fixed else side
    raise AssertionError('no scale is found')


def as_chainner_runs(path: Path, image: np.ndarray, multiple: int) -> np.ndarray:
    """A tile (H, W, 3), BGR, 0 to 1, padded by its mirror image at the right and at the bottom."""
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=['CPUExecutionProvider'])
    (given,), (made,) = session.get_inputs(), session.get_outputs()
    assert given.type == 'tensor(float)'
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % multiple), (0, -width % multiple), (0, 0)), 'reflect')
    planes = np.flip(padded, 2).transpose(2, 0, 1)[None]
    result = session.run([made.name], {given.name: planes})[0]
    result = np.flip(result[0].transpose(1, 2, 0), 2)
    scale = result.shape[0] // padded.shape[0]
    return result[:scale * height, :scale * width]


@pytest.mark.parametrize(('model', 'dynamic', 'size'), [
    ('lightglean_photo_4x', True, (32, 48)), (ANY, True, (37, 53)), (FIXED, False, (16, 16)), (CODES, False, (16, 16)),
    ('lightglean_twemoji_color', False, (64, 64)),
])  # fmt: skip
def test_chainner(model: str, dynamic: bool, size: tuple[int, int], files: Callable[..., Path]) -> None:
    """The right scale is found, and the result is the restorer's: of the padded image, where its sides are padded."""
    path = files(model, dynamic=dynamic)
    scale, fixed, multiple = as_chainner_reads(path)
    restorer = Restorer(model, device='cpu')
    facts = onnxruntime.InferenceSession(path).get_modelmeta().custom_metadata_map
    assert scale == restorer.network.scale == int(facts['scale'])
    assert (fixed is None) == dynamic and multiple % int(facts['multiple']) == 0
    assert fixed in (None, size)
    image = photo('astronaut', *size).astype(np.float32) / 255
    result = as_chainner_runs(path, np.flip(image, 2), multiple)
    padded = np.pad(image, ((0, -size[0] % multiple), (0, -size[1] % multiple), (0, 0)), 'reflect')
    wanted = restorer(padded)[:scale * size[0], :scale * size[1]]
    assert close(np.flip(result, 2), wanted)


def test_chainner_needs_a_class_that_is_fixed(tmp_path: Path) -> None:
    """It gives a model one input; with --label, a class-conditional one has no other."""
    from test_export import BANKS, tamed

    config = generator_config(False, bank=BANKS['BigGAN-deep'] | dict(start_res=16), given_class=True)
    model = tamed(tmp_path / 'classes.pth', config)
    fixed = export(model, tmp_path / 'fixed.onnx', label=2).path
    assert as_chainner_reads(fixed) == (2, (16, 16), 1)
    image = photo('chelsea', 16, 16).astype(np.float32) / 255
    result = np.flip(as_chainner_runs(fixed, np.flip(image, 2), 1), 2)
    assert close(result, Restorer(model, device='cpu', label=2)(image))
