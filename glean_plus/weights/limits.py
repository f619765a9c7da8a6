"""Limits of what a pickle unfolds to, checked by its opcodes before any object of it is built.

A pickle may refer to one object any number of times: of fifty tuples each of which holds the one before it twice, two
hundred bytes, whoever hashes, prints or copies the last one never ends. And a tuple that is nested a hundred thousand
deep ends the interpreter when it is hashed. No checkpoint needs either.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Sequence
from typing import Any, BinaryIO

import torch

MAX_OBJECTS, MAX_DEPTH = 2_000_000, 500
ZIP = b'PK\x03\x04'
# Before PyTorch 1.6, files are five pickles: a magic number, the version, the system, the content and the keys of its
# storages. The first is this number, in digits up to protocol 1 and in bytes from protocol 2 on.
OLD_PICKLES = 5
OLD_NUMBER = 0x1950A86A20F9469CFC6C
OLD_STARTS = (b'L%dL\n' % OLD_NUMBER, b'\x8a\n' + OLD_NUMBER.to_bytes(10, 'little'))
TAR = b'ustar', 257  # where

Node = list[Any]
ATOM: Sequence[Any] = ()  # what holds no other object
MARK = object()
FILLING = {'APPEND', 'APPENDS', 'SETITEM', 'SETITEMS', 'ADDITEMS', 'BUILD'}


def is_old_torch(head: bytes) -> bool:
    """Whether a file that starts so is one of ``torch.save`` before PyTorch 1.6, or without a zip archive."""
    return any(start in head[:40] for start in OLD_STARTS)


def check_torch(file: BinaryIO) -> None:
    """:func:`check_pickle` of every pickle in a file of ``torch.save``, whose position does not change.

    Raises:
        UnpicklingError: As there; or if it is a TorchScript program, or PyTorch's format before 2017, a tar archive.
        RuntimeError: If it is a zip archive without a pickle, or a broken one.
    """
    start = file.tell()
    head = file.read(512)
    file.seek(start)
    tar, place = TAR
    if head.startswith(ZIP):
        archive = torch._C.PyTorchFileReader(file)
        if 'constants.pkl' in archive.get_all_records():  # `torch.load` would hand it on to `torch.jit.load`
            raise pickle.UnpicklingError('it is a TorchScript program, not a file of torch.save')
        check_pickle(io.BytesIO(archive.get_record('data.pkl')))
    elif is_old_torch(head):
        for _ in range(OLD_PICKLES):
            check_pickle(file)
    elif head[place:].startswith(tar):
        raise pickle.UnpicklingError('it is a tar archive, PyTorch\'s format before 2017: save it again by a later one')
    else:
        check_pickle(file)  # `torch.load` looks at a first pickle of any kind
    file.seek(start)


def check_pickle(file: BinaryIO) -> None:
    """Look at the pickle that begins where ``file`` is, and leave ``file`` behind it.

    Raises:
        UnpicklingError: If it is none; or has an object that holds itself, is nested more than ``MAX_DEPTH`` deep, or
            unfolds to more than ``MAX_OBJECTS``.
    """
    try:
        _measure(_nodes(file))
    except (ValueError, LookupError, AttributeError) as error:  # an opcode unknown, cut off, or without its operands
        raise pickle.UnpicklingError(f'its opcodes cannot be read: {error}') from error


def _nodes(file: BinaryIO) -> list[Node]:
    """Each object that holds others, as the list of these."""
    nodes: list[Node] = []
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def taken(count: int | None) -> Node:
        """The topmost objects, down to a mark if there is no count."""
        if count is None:
            count = stack[::-1].index(MARK)
            parts = stack[len(stack) - count:]
            del stack[len(stack) - count - 1:]
            return parts
        if len(stack) < count or MARK in stack[len(stack) - count:]:
            raise IndexError('too few objects before one that takes them')
        return [stack.pop() for _ in range(count)]

    def numbered(argument: object) -> int:
        """The number of an object in the memo."""
        if not isinstance(argument, int):
            raise ValueError(f'an object is numbered {argument!r}')
        return argument

    for opcode, argument, _ in pickletools.genops(file):
        name, before = opcode.name, opcode.stack_before
        marked = pickletools.markobject in before
        if name == 'MARK':
            stack.append(MARK)
        elif name in ('PUT', 'BINPUT', 'LONG_BINPUT'):
            number = numbered(argument)
            if number > MAX_OBJECTS:  # Python's reader would reserve as many places
                raise pickle.UnpicklingError(f'it numbers an object {number:,}')
            memo[number] = stack[-1]
        elif name == 'MEMOIZE':
            memo[len(memo)] = stack[-1]
        elif name in ('GET', 'BINGET', 'LONG_BINGET'):
            stack.append(memo[numbered(argument)])
        elif name == 'DUP':
            stack.append(stack[-1])
        elif name == 'POP':
            stack.pop()
        elif name == 'POP_MARK':
            taken(None)
        elif name in FILLING:
            parts = taken(None if marked else len(before) - 1)
            if stack[-1] is ATOM:  # such as the state of a class
                stack[-1] = parts
                nodes.append(parts)
            else:
                stack[-1].extend(parts)
        elif opcode.stack_after:
            if before or name.startswith('EMPTY_'):
                nodes.append(taken(None if marked else len(before)))
                stack.append(nodes[-1])
            else:
                stack.append(ATOM)
    return nodes


def _measure(nodes: list[Node]) -> None:
    sizes: dict[int, tuple[int, int]] = {id(ATOM): (1, 0)}  # objects and depth
    open_nodes: set[int] = set()
    for root in nodes:
        pending = [root]
        while pending:
            node = pending[-1]
            if id(node) in sizes:
                pending.pop()
            elif id(node) not in open_nodes:
                open_nodes.add(id(node))
                parts = [part for part in node if id(part) not in sizes]
                if any(id(part) in open_nodes for part in parts):
                    raise pickle.UnpicklingError('it holds an object that holds itself')
                pending += parts
            else:
                pending.pop()
                open_nodes.discard(id(node))
                below = [sizes[id(part)] for part in node]
                objects, depth = 1 + sum(size for size, _ in below), 1 + max((deep for _, deep in below), default=0)
                if objects > MAX_OBJECTS or depth > MAX_DEPTH:
                    raise pickle.UnpicklingError(
                        f'it unfolds to more than {MAX_OBJECTS:,} objects, or is nested more than {MAX_DEPTH} deep'
                    )
                sizes[id(node)] = objects, depth
