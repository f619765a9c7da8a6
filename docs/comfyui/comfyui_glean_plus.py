"""A ComfyUI node that restores images with files of `glean-plus export`: copy it to ComfyUI/custom_nodes."""

import itertools
import json
import math

import folder_paths
import torch

folder_paths.add_model_folder_path('glean_plus', f'{folder_paths.models_dir}/glean_plus')  # of the exported files


def load(path):
    """An exported file -> a function of images (1, 3, H, W) and a class, and what the file says of itself."""
    if path.endswith('.onnx'):
        import onnxruntime

        session = onnxruntime.InferenceSession(path, providers=onnxruntime.get_available_providers())
        def run(*given):
            inputs = dict(zip(('image', 'label'), (each.numpy() for each in given)))
            return torch.from_numpy(session.run(None, inputs)[0])

        return run, session.get_modelmeta().custom_metadata_map
    facts = {'glean_plus.json': ''}
    if path.endswith('.pt2'):
        return torch.export.load(path, extra_files=facts).module(), json.loads(facts['glean_plus.json'])
    return torch.jit.load(path, map_location='cpu', _extra_files=facts), json.loads(facts['glean_plus.json'])


def mirrored(length, side):
    """Rows or columns of an image that is continued by its mirror image."""
    index = torch.arange(length) % max(2 * (side - 1), 1)
    return torch.where(index < side, index, 2 * (side - 1) - index)


def parts(side, tile, scale):
    """Where tiles begin that overlap by half, and how much each counts for each pixel of the result."""
    steps = math.ceil((side - tile) / (tile - round(tile / 2))) if side > tile else 0
    starts = [round((side - tile) * i / max(steps, 1)) for i in range(steps + 1)]
    margin = round(tile / 16)  # what of a tile's edge does not count
    inward = torch.arange(scale * tile) + 0.5 - scale * margin
    rise = torch.sin(math.pi / 2 * (inward / (scale * (round(tile / 2) - 2 * margin))).clamp(0, 1)).square()
    shares = torch.zeros(steps + 1, scale * (starts[-1] + tile))
    for i, start in enumerate(starts):
        shares[i, scale * start:scale * (start + tile)] = (rise if i else 1) * (rise.flip(0) if i < steps else rise**0)
    return starts, shares / shares.sum(0)


class RestoreGLEAN:
    RETURN_TYPES, FUNCTION, CATEGORY = ('IMAGE',), 'restore', 'image/upscaling'

    @classmethod
    def INPUT_TYPES(cls):
        files = folder_paths.get_filename_list('glean_plus')
        return dict(required=dict(image=('IMAGE',), model=(files,)), optional=dict(label=('INT', dict(default=0))))

    def restore(self, image, model, label=0):
        """(B, H, W, C), 0 to 1 -> (B, s H, s W, 3), in tiles if the model is bound to its size; label: their class."""
        height, width = image.shape[1:3]
        run, facts = load(folder_paths.get_full_path_or_raise('glean_plus', model))
        s, labels = int(facts['scale']), [torch.tensor([label])] if 'classes' in facts else []
        if facts['size'] == 'any':
            multiple, least = int(facts['multiple']), int(facts['in_size'])
            h, w = (max(math.ceil(side / multiple) * multiple, least) for side in (height, width))
        else:
            h, w = map(int, facts['size'].split('x'))
        (tops, down), (lefts, across) = parts(height, h, s), parts(width, w, s)
        rows, columns = mirrored(tops[-1] + h, height), mirrored(lefts[-1] + w, width)
        whole = image[..., :3].float().cpu().movedim(-1, 1)[:, :, rows][..., columns]
        result = torch.zeros(len(image), 3, down.shape[1], across.shape[1])
        for n, i, j in itertools.product(range(len(image)), range(len(tops)), range(len(lefts))):
            rows, columns = slice(tops[i], tops[i] + h), slice(lefts[j], lefts[j] + w)
            with torch.no_grad():
                tile = run(whole[n:n + 1, :, rows, columns].contiguous(), *labels)[0]
            rows, columns = slice(s * rows.start, s * rows.stop), slice(s * columns.start, s * columns.stop)
            result[n, :, rows, columns] += tile * down[i, rows, None] * across[j, columns]
        return (result[..., :s * height, :s * width].clamp(0, 1).movedim(1, -1),)


NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS = dict(RestoreGLEAN=RestoreGLEAN), dict(RestoreGLEAN='Restore (GLEAN)')
