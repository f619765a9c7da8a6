"""Multi-class super-resolution: labelled pairs in class folders, and a discriminator that is told the class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from mmagic.registry import DATASETS, MODELS
from mmagic.structures import DataSample
from mmengine.optim import OptimWrapper, OptimWrapperDict
from PIL import Image

from glean_plus.models import BigGANBankDiscriminator, GLEANRestorer
from glean_plus.prepare import DataError

from conftest import batch

CHANNELS = {4: 12, 8: 10, 16: 8}
CLASSES = 5


def bank(**options: Any) -> dict[str, Any]:
    return dict(
        type='BigGANBank', out_size=16, noise_size=12, num_classes=CLASSES, shared_dim=6, channels=CHANNELS,
        attention=[], rgb=False, **options)  # fmt: skip


def restorer(given_class: bool = False, num_classes: int = CLASSES) -> GLEANRestorer:
    return MODELS.build(dict(
        type='GLEANRestorer',
        generator=dict(
            type='GLEAN',
            in_size=8,
            given_class=given_class,
            bank=bank(embedding=given_class),
            encoder=dict(type='GLEANEncoder', num_rrdbs=1, rrdb_channels=8, growth_channels=4)),
        discriminator=dict(
            type='BigGANBankDiscriminator', in_size=16, num_classes=num_classes, widths=[8, 8, 8], attention=[]),
        pixel_loss=dict(type='MSELoss', loss_weight=1.0, reduction='mean'),
        gan_loss=dict(type='GANLoss', gan_type='vanilla', loss_weight=1e-2, real_label_val=1.0, fake_label_val=0),
        data_preprocessor=dict(type='DataPreprocessor', mean=[127.5] * 3, std=[127.5] * 3)))  # fmt: skip


def labelled(labels: list[int]) -> dict[str, Any]:
    data = batch(len(labels), 8, 16)
    for sample, label in zip(data['data_samples'], labels):
        sample.set_gt_label(label)
    return data


def step(model: GLEANRestorer, data: dict[str, Any], lr: float = 0.0) -> dict[str, float]:
    optimizers = OptimWrapperDict(**{
        part: OptimWrapper(optimizer=torch.optim.SGD(getattr(model, part).parameters(), lr))
        for part in ('generator', 'discriminator')
    })  # fmt: skip
    return {name: value.item() for name, value in model.train_step(data, optimizers).items()}


def test_discriminator_scores_real_and_restored_pictures_with_their_classes() -> None:
    """Against the discriminator called by hand, spectral normalisation standing still."""
    model = restorer()
    model.discriminator.eval()
    labels = [3, 0, 4, 1]
    data = labelled(labels)
    with torch.no_grad():
        processed = model.data_preprocessor(data, True)
        truth = model.extract_gt_data(processed['data_samples'])
        restored = model.generator(processed['inputs'])
        real = model.discriminator(truth, torch.tensor(labels))
        fake = model.discriminator(restored, torch.tensor(labels))
    softplus = torch.nn.functional.softplus
    logged = step(model, labelled(labels))
    assert logged['loss_d_real'] == pytest.approx(float(softplus(-real).mean()), rel=1e-4)
    assert logged['loss_d_fake'] == pytest.approx(float(softplus(fake).mean()), rel=1e-4)
    assert logged['loss_gan'] == pytest.approx(1e-2 * float(softplus(-fake).mean()), rel=1e-4)
    others = step(model, labelled([0, 1, 2, 2]))
    for name in ('loss_d_real', 'loss_d_fake', 'loss_gan'):
        assert others[name] != pytest.approx(logged[name], rel=1e-5), name
    assert others['loss_pix'] == logged['loss_pix']  # the generator was not told


def test_class_embedding_of_the_discriminator_trains_where_there_are_pictures() -> None:
    model = restorer()
    before = {name: value.clone() for name, value in model.discriminator.named_parameters()}
    step(model, labelled([1, 1, 3, 3]), lr=0.5)
    embedding = next(name for name in before if name.startswith('proj_y') and before[name].shape[0] == CLASSES)
    moved = (dict(model.discriminator.named_parameters())[embedding] != before[embedding]).any(dim=1)
    assert moved[1] and moved[3]


def test_given_class_reaches_the_bank() -> None:
    model = restorer(given_class=True).eval()
    one, other = (model.test_step(labelled([label])) for label in (0, 4))
    assert not torch.equal(one[0].output.pred_img, other[0].output.pred_img)


@pytest.mark.parametrize(('given_class', 'who'), [(False, 'discriminator has classes'), (True, 'given_class=True')])
def test_missing_classes_are_named(given_class: bool, who: str) -> None:
    model = restorer(given_class)
    with pytest.raises(ValueError, match=f'{who}.*no `gt_label`.*LabeledImageDataset'):
        step(model, batch(2, 8, 16))


def test_a_discriminator_without_classes_needs_none() -> None:
    assert isinstance(restorer(num_classes=0).discriminator, BigGANBankDiscriminator)
    assert np.isfinite(list(step(restorer(num_classes=0), batch(2, 8, 16)).values())).all()


# ---- the data set


@pytest.fixture
def class_folders(tmp_path: Path) -> Path:
    """Three photographs in two class folders, one of them with a space in its name, and their halves."""
    names = {'n01440764/cat one': 'chelsea', 'n01440764/cup': 'coffee', 'n02119789/rocket': 'rocket'}
    for name, picture in names.items():
        image = Image.fromarray(getattr(skimage.data, picture)()).resize((16, 16))
        for folder, size in (('GT', 16), ('BIx2_down', 8)):
            path = tmp_path / folder / f'{name}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            image.resize((size, size)).save(path)
    (tmp_path / 'labels.txt').write_text(''.join(f'{name}.png {index}\n' for index, name in enumerate(names)) + '\n')
    return tmp_path


def data_set(root: Path, **options: Any) -> Any:
    load = [dict(type='LoadImageFromFile', key=key, channel_order='rgb') for key in ('img', 'gt')]
    return DATASETS.build(dict(
        type='LabeledImageDataset', num_classes=3, data_root=str(root), data_prefix=dict(gt='GT', img='BIx2_down'),
        ann_file='labels.txt', pipeline=[*load, dict(type='PackInputs')]) | options)  # fmt: skip


def test_pairs_come_with_their_class(class_folders: Path) -> None:
    pictures = data_set(class_folders)
    assert len(pictures) == 3
    for index in range(3):
        item = pictures[index]
        assert item['inputs'].shape == (3, 8, 8) and item['data_samples'].gt_img.shape == (3, 16, 16)
        assert int(item['data_samples'].gt_label.label) == index
    assert pictures[0]['data_samples'].gt_img.float().mean() != pictures[1]['data_samples'].gt_img.float().mean()
    assert DataSample.stack([pictures[i]['data_samples'] for i in (2, 0)]).gt_label.label.flatten().tolist() == [2, 0]


@pytest.mark.parametrize('line', ['n01440764/cup.png', 'n01440764/cup.png cat', 'n01440764/cup.png 3', 'cup.png -1'])
def test_a_bad_line_is_named(line: str, class_folders: Path) -> None:
    (class_folders / 'labels.txt').write_text(f'n02119789/rocket.png 2\n{line}\n')
    with pytest.raises(DataError, match=r'labels\.txt, line 2: .*class from 0 to 2.*labels_\*\.txt'):
        data_set(class_folders)


def test_a_list_is_needed(class_folders: Path) -> None:
    with pytest.raises(ValueError, match='needs `ann_file`'):
        data_set(class_folders, ann_file='')
