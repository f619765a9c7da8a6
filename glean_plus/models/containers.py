"""PyTorch's containers of modules, for type checkers with the class of what they hold: ``ModuleDict[StyleConv]``.

PyTorch's own give ``nn.Module``, of which no attribute has a type. At run time they are the same classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from collections.abc import ItemsView, Iterable, Iterator, Mapping
    from typing import Generic, TypeVar

    Part = TypeVar('Part', bound=nn.Module)

    class ModuleDict(nn.ModuleDict, Generic[Part]):
        def __init__(self, modules: Mapping[str, Part] | None = None) -> None: ...
        def __getitem__(self, key: str) -> Part: ...
        def items(self) -> ItemsView[str, Part]: ...

    class ModuleList(nn.ModuleList, Generic[Part]):
        def __init__(self, modules: Iterable[Part] | None = None) -> None: ...
        def __iter__(self) -> Iterator[Part]: ...

    class Sequential(nn.Sequential, Generic[Part]):
        def __init__(self, *modules: Part) -> None: ...
        def __iter__(self) -> Iterator[Part]: ...

else:
    ModuleDict, ModuleList, Sequential = nn.ModuleDict, nn.ModuleList, nn.Sequential
