"""Published weights that fit the networks here: OpenMMLab's generative banks, and MMagic's GLEAN.

Files, licences and evidence are as in MMagic 1.2.0 (github.com/open-mmlab/mmagic) and MMGeneration
(github.com/open-mmlab/mmgeneration). Neither publishes sizes, nor more of a hash than the name of the file ends in.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from glean_plus.weights.cards import Card, hash_in_name

OPENMMLAB = 'https://download.openmmlab.com/mmediting/'

NVIDIA = 'Nvidia Source Code License-NC (converted from the official networks): research and evaluation only'
APACHE = 'Apache-2.0 (as MMagic, which publishes them)'
FFHQ = 'Images: FFHQ, CC BY-NC-SA 4.0, non-commercial'
LSUN = 'Images: LSUN (terms: yf.io/p/lsun)'
IMAGENET = 'Images: ImageNet, non-commercial research'

# BGR: MMGeneration's StyleGAN2 "allows to generate BGR image, while the original StyleGAN2 outputs RGB" (docstring), it
# trains with to_rgb=False, and the published FIDs are measured with bgr2rgb=True. What a bank hands to GLEAN are
# features: the order matters only for the images that the bank itself draws.
_OFFICIAL = partial(
    Card, kind='bank', architecture='StyleGAN2 config-f', colour_order='bgr',
    source='MMagic configs/styleganv2/README.md ("official weight"); licence: NVlabs/stylegan2 LICENSE.txt; '
           'colour: MMGeneration configs/styleganv2/*.py (bgr2rgb=True), StyleGANv2Generator (docstring)',
)  # fmt: skip
_STYLEGAN1 = partial(
    Card, kind='bank', architecture='StyleGAN', colour_order='bgr',
    source='MMagic configs/styleganv1/metafile.yml; colour: MMGeneration configs/styleganv1/*.py (bgr2rgb=True) and '
           'configs/_base_/datasets/grow_scale_imgs_ffhq_styleganv1.py (to_rgb=False)',
)  # fmt: skip
# RGB: the converted BigGANs are used with rgb2bgr=True, "weights whose output channels order is `rgb`".
_CONVERTED_BIGGAN = partial(
    Card, kind='bank', colour_order='rgb',
    source='MMagic configs/biggan/metafile.yml, README.md ("Converted weights"); colour: configs/biggan/*_cvt-*.py '
           '(rgb2bgr=True), BigGANGenerator (docstring)',
)  # fmt: skip
_TRAINED_BIGGAN = partial(
    Card, kind='bank', colour_order='bgr',
    source='MMagic configs/biggan/README.md; colour: MMGeneration configs/_base_/datasets/imagenet_noaug_128.py '
           '("to_rgb is set to False to remain image orders as BGR")',
)  # fmt: skip
_GLEAN = partial(
    Card, kind='restorer', architecture='GLEAN', colour_order='rgb',
    source="MMagic configs/glean/metafile.yml; colour: configs/glean/*.py (channel_order='rgb')",
)  # fmt: skip


def _at(path: str) -> dict[str, Any]:
    return dict(url=OPENMMLAB + path, sha256=hash_in_name(path))


CATALOGUE: dict[str, Card] = {card.name: card for card in (
    _OFFICIAL(
        name='stylegan2_ffhq_1024', data='FFHQ, 1024x1024', licence=f'{NVIDIA}. {FFHQ}',
        **_at('stylegan2/official_weights/stylegan2-ffhq-config-f-official_20210327_171224-bce9310c.pth')),
    _OFFICIAL(
        name='stylegan2_car_512', data='LSUN Car, 384x512 within 512x512', licence=f'{NVIDIA}. {LSUN}',
        **_at('stylegan2/official_weights/stylegan2-car-config-f-official_20210327_172340-8cfe053c.pth')),
    _OFFICIAL(
        name='stylegan2_cat_256', data='LSUN Cat, 256x256', licence=f'{NVIDIA}. {LSUN}',
        **_at('stylegan2/official_weights/stylegan2-cat-config-f-official_20210327_172444-15bc485b.pth')),
    _OFFICIAL(
        name='stylegan2_church_256', data='LSUN Church, 256x256', licence=f'{NVIDIA}. {LSUN}',
        **_at('stylegan2/official_weights/stylegan2-church-config-f-official_20210327_172657-1d42b7d1.pth')),
    _OFFICIAL(
        name='stylegan2_horse_256', data='LSUN Horse, 256x256', licence=f'{NVIDIA}. {LSUN}',
        **_at('stylegan2/official_weights/stylegan2-horse-config-f-official_20210327_173203-ef3e69ca.pth')),
    _STYLEGAN1(
        name='stylegan1_ffhq_256', data='FFHQ, 256x256', licence=f'{APACHE}. {FFHQ}',
        **_at('styleganv1/styleganv1_ffhq_256_g8_25Mimg_20210407_161748-0094da86.pth')),
    _STYLEGAN1(
        name='stylegan1_ffhq_1024', data='FFHQ, 1024x1024', licence=f'{APACHE}. {FFHQ}',
        **_at('styleganv1/styleganv1_ffhq_1024_g8_25Mimg_20210407_161627-850a7234.pth')),
    _CONVERTED_BIGGAN(
        name='biggan_imagenet_128', architecture='BigGAN', data='ImageNet, 128x128',
        licence=f'MIT (converted from ajbrock/BigGAN-PyTorch). {IMAGENET}',
        **_at('biggan/biggan_imagenet1k_128x128_cvt_BigGAN-PyTorch_rgb_20210730_125223-3e353fef.pth')),
    _TRAINED_BIGGAN(
        name='biggan_imagenet_128_best_fid', architecture='BigGAN', data='ImageNet, 128x128',
        licence=f'{APACHE}. {IMAGENET}',
        **_at('biggan/biggan_imagenet1k_128x128_b32x8_best_fid_iter_1232000_20211111_122548-5315b13d.pth')),
    _TRAINED_BIGGAN(
        name='biggan_imagenet_128_best_is', architecture='BigGAN', data='ImageNet, 128x128',
        licence=f'{APACHE}. {IMAGENET}',
        **_at('biggan/biggan_imagenet1k_128x128_b32x8_best_is_iter_1328000_20211111_122911-28c688bc.pth')),
    *(_CONVERTED_BIGGAN(
        name=f'biggan_deep_imagenet_{size}', architecture='BigGAN-deep', data=f'ImageNet, {size}x{size}',
        licence=f"MIT (converted from huggingface/pytorch-pretrained-BigGAN, DeepMind's weights). {IMAGENET}",
        **_at(f'biggan/biggan-deep_imagenet1k_{size}x{size}_cvt_hugging-face_rgb_{end}.pth'))
      for size, end in (
          (128, '20210728_111659-099e96f9'), (256, '20210728_111735-28651569'), (512, '20210728_112346-a42585f2'))),
    _GLEAN(
        name='glean_cat_8x', config='glean_cat_8x', data='LSUN Cat, 32 -> 256',
        licence=f'{APACHE}; its bank: {NVIDIA}. {LSUN}',
        **_at('restorers/glean/glean_cat_8x_20210614-d3ac8683.pth')),
    _GLEAN(
        name='glean_cat_16x', config='glean_cat_16x', data='LSUN Cat, 16 -> 256',
        licence=f'{APACHE}; its bank: {NVIDIA}. {LSUN}',
        **_at('restorers/glean/glean_cat_16x_20210527-68912543.pth')),
    _GLEAN(
        name='glean_face_8x', config='glean_face_8x', data='FFHQ, 128 -> 1024',
        licence=f'{APACHE}; its bank: {NVIDIA}. {FFHQ}',
        **_at('restorers/glean/glean_in128out1024_4x2_300k_ffhq_celebahq_20210812-acbcb04f.pth')),
    _GLEAN(
        name='glean_face_16x', config='glean_face_16x', data='FFHQ, 64 -> 1024',
        licence=f'{APACHE}; its bank: {NVIDIA}. {FFHQ}',
        **_at('restorers/glean/glean_ffhq_16x_20210527-61a3afad.pth')),
)}  # fmt: skip


def draws_bgr(source: str) -> bool:
    """Whether the catalogue says that the weights at a path or URL synthesize BGR images; False for others."""
    return any(card.url == source and card.colour_order == 'bgr' for card in CATALOGUE.values())
