"""A checkpoint of training -> a folder that can be uploaded to the Hugging Face hub as it is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmengine.fileio import dump
from PIL import Image

from glean_plus.analysis.samples import save_samples
from glean_plus.inference import Restorer
from glean_plus.inference.embedded import embedded_model
from glean_plus.inference.errors import RestoreError
from glean_plus.utils.files import save_text
from glean_plus.utils.tables import markdown
from glean_plus.weights.containers import read_torch
from glean_plus.weights.files import local_copy
from glean_plus.weights.hub import SCHEME
from glean_plus.weights.publish import publish

LICENCE = re.compile(r'(?:Weights: )?([A-Za-z0-9][A-Za-z0-9.-]*)(?:[.:;] .*|$)')  # an SPDX name, and what follows
# Kind of a published file -> the hub's name of its task, and that task for people.
TASKS = {
    'restorer': ('image-to-image', 'Image restoration'),
    'bank': ('unconditional-image-generation', 'Image generation'),
}
# Lines of a config that concern the machine of the training alone.
MACHINE = re.compile(r'^(?:work_dir|load_from|resume|launcher) = .*\n', re.MULTILINE)


def publish_any(
    kind: str,
    checkpoint: str,
    out: Path,
    *,
    repo: str | None = None,
    samples: Iterable[Path] = (),
    test_set: str = 'held-out images',
    **facts: Any,
) -> None:
    """Write a file with its card beside it, or, where ``out`` does not end in .safetensors, a folder for the hub.

    The folder has the weights and their card, the config of the training, sample images, and a model card, README.md,
    with the metrics in its header.

    Args:
        kind: ``restorer`` or ``bank``.
        checkpoint: Of training: path, URL or ``hf://`` address.
        samples: Images to restore for it; a bank's samples are its own.
        **facts: As for :func:`glean_plus.weights.publish.publish`.

    Raises:
        WeightsError: If it is no checkpoint of training.
        RestoreError: If a sample cannot be restored.
    """
    source = local_copy(checkpoint)
    model = _model(source) if kind == 'restorer' else None
    if out.suffix == '.safetensors':
        publish(kind, source, out, model=model, **facts)
        return
    file = out / f'{out.name}.safetensors'
    card = publish(kind, source, file, model=model, **facts)
    config = read_torch(source)['meta'].get('cfg')
    if isinstance(config, str):
        save_text(MACHINE.sub('', config), out / f'{out.name}.py')
    shown = _restored(file, samples) if kind == 'restorer' else _synthesized(file)
    header = dump(hub_header(card, test_set), file_format='yaml', sort_keys=False, allow_unicode=True)
    save_text(f'---\n{header}---\n\n{_readme(card, repo or f"OWNER/{out.name}", shown)}', out / 'README.md')
    print(f'{out}: ready for `hf upload {repo or f"OWNER/{out.name}"} {out}`')


def _model(source: Path) -> str | None:
    """The network's part of the config in a checkpoint, as text; None where there is none of ours."""
    try:
        found = embedded_model(source)
    except RestoreError:
        return None
    return f'model = {found!r}' if found else None


def hub_header(card: Mapping[str, Any], test_set: str) -> dict[str, Any]:
    """The header of a model card for the hub: licence, task, and the metrics as a model index."""
    task, title = TASKS[card['kind']]
    licence = LICENCE.match(card['licence'])
    header: dict[str, Any] = dict(license=licence[1].lower() if licence else 'other')
    if licence is None:
        header |= dict(license_name='see-below', license_link='README.md')
    header |= dict(library_name='glean_plus', pipeline_tag=task, tags=['glean', 'latent-bank', title.lower()])
    metrics = [dict(type=name.lower(), name=name, value=value) for name, value in card.get('metrics', {}).items()
               if '/' not in name]  # fmt: skip
    if metrics:
        dataset = dict(type=re.sub(r'\W+', '-', test_set.lower()).strip('-'), name=test_set)
        header['model-index'] = [dict(name=card['name'], results=[
            dict(task=dict(type=task, name=title), dataset=dataset, metrics=metrics)])]  # fmt: skip
    return header


def _restored(file: Path, images: Iterable[Path]) -> list[tuple[str, ...]]:
    """Restore images; returns the rows of their table."""
    rows: list[tuple[str, ...]] = []
    restorer: Restorer | None = None
    for image in images:
        restorer = restorer or Restorer(file, device='cpu')
        name = f'samples/{image.stem}'
        try:
            with Image.open(image) as opened:
                given = opened.convert('RGB')
        except OSError as error:
            raise RestoreError(f'The sample {image} cannot be read ({error}): give another image.') from error
        result = restorer(given)
        for part, suffix in ((given, '_input'), (result, '')):
            target = file.parent / f'{name}{suffix}.png'
            target.parent.mkdir(exist_ok=True)
            part.save(target)
        rows.append((f'![input]({name}_input.png)', f'![restored]({name}.png)'))
    return [('input', 'restored'), *rows] if rows else []


def _synthesized(file: Path) -> list[tuple[str, ...]]:
    (file.parent / 'samples').mkdir(exist_ok=True)
    save_samples(str(file), file.parent / 'samples' / 'samples.png')
    return [('samples',), ('![samples](samples/samples.png)',)]


def _readme(card: Mapping[str, Any], repo: str, shown: list[tuple[str, ...]]) -> str:
    name, address = card['name'], f'{SCHEME}{repo}/{card["name"]}.safetensors'
    if card['kind'] == 'restorer':
        what, use = 'A GLEAN image restorer', f"""\
```python
from glean_plus import Restorer

Restorer('{address}')('photo.png').save('restored.png')
```"""
    else:
        what, use = 'A latent bank of GLEAN', f"""\
```python
bank = dict(pretrained=dict(checkpoint='{address}', prefix='generator_ema'))  # of a config
```"""
    facts = [('trained on', card['data']), ('command', f'`{card["command"]}`'), ('iterations', card['iterations']),
             ('images seen', card['images_seen']), ('minutes', card.get('training_minutes')), ('note', card['note']),
             ('SHA-256 of the weights', f'`{card["sha256"]}`')]  # fmt: skip
    parts = [f'# {name}', f'{what} for [glean_plus](https://github.com/glean-plus/glean_plus).', use]
    if shown:
        parts.append('\n'.join(markdown(shown)))
    if metrics := card.get('metrics'):
        parts.append('\n'.join(['## Metrics', '', *markdown(
            [('metric', 'value'), *((key, f'{value:.4f}') for key, value in metrics.items())])]))  # fmt: skip
    rows = [(key, str(value)) for key, value in facts if value not in (None, '')]
    parts.append('\n'.join(['## Training', '', *markdown([('', ''), *rows])]))
    parts.append(f'## Licence\n\n{card["licence"]}')
    return '\n\n'.join(parts) + '\n'
