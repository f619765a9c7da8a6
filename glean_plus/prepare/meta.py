"""Lines of the files that list a data set for MMagic."""

from __future__ import annotations


def meta_line(name: str, size: tuple[int, int], label: int | None = None) -> str:
    """`NAME.png (H,W,3)` for MMagic's BasicImageDataset, which reads the first word; a class follows."""
    return f'{name}.png ({size[0]},{size[1]},3)' + ('' if label is None else f' {label}') + '\n'


def label_line(name: str, label: int) -> str:
    """`NAME.png CLASS` for MMagic's BasicConditionalDataset."""
    return f'{name}.png {label}\n'
