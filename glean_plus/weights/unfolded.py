"""How much a pickle unfolds to, told from its opcodes before any object of it is built.

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
OLD_PICKLES = 5  # before PyTorch 1.6: a magic number, version, system, the content, and the keys of the storages

Node = list[Any]
ATOM: Sequence[Any] = ()  # what holds no other object
MARK = object()
FILLING = {'APPEND', 'APPENDS', 'SETITEM', 'SETITEMS', 'ADDITEMS', 'BUILD'}


def check_torch(file: BinaryIO) -> None:
    """:func:`check_pickle` of every pickle in a file of ``torch.save``, whose position does not change.

    Raises:
        UnpicklingError: As there.
        RuntimeError: If it is a zip archive without a pickle, or a broken one.
    """
    start = file.tell()
    if file.read(len(ZIP)) == ZIP:
        file.seek(start)
        check_pickle(io.BytesIO(torch._C.PyTorchFileReader(file).get_record('data.pkl')))
    else:
        file.seek(start)
        for _ in range(OLD_PICKLES):
            check_pickle(file)
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

    for opcode, argument, _ in pickletools.genops(file):
        name, before = opcode.name, opcode.stack_before
        marked = pickletools.markobject in before
        if name == 'MARK':
            stack.append(MARK)
        elif name in ('PUT', 'BINPUT', 'LONG_BINPUT'):
            if argument > MAX_OBJECTS:  # Python's reader would reserve as many places
                raise pickle.UnpicklingError(f'it numbers an object {argument:,}')
            memo[argument] = stack[-1]
        elif name == 'MEMOIZE':
            memo[len(memo)] = stack[-1]
        elif name in ('GET', 'BINGET', 'LONG_BINGET'):
            stack.append(memo[argument])
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
