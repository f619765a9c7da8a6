"""Errors of a text that was read: characters, words, and words that became others."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from glean_plus.analysis.study.statistics import percentile_interval, resamples

# What a reader cannot tell, or writes in its own way: one form of each.
SAME = str.maketrans({
    **dict.fromkeys('‘’‚`´', "'"), **dict.fromkeys('“”„«»', '"'), **dict.fromkeys('–—−‐', '-'),
})  # fmt: skip


@dataclass(frozen=True)
class Counts:
    """Errors and lengths of one page, of which the rates are made."""

    character_errors: int  # insertions, deletions and substitutions of characters, at the least
    characters: int  # of the ground truth
    word_errors: int  # the same of words
    words: int
    wrong_words: int  # words of the ground truth that were read as another word of the dictionary


RATES = {
    'character error rate': ('character_errors', 'characters'),
    'word error rate': ('word_errors', 'words'),
    'wrong words': ('wrong_words', 'words'),
}


def normalized(text: str) -> str:
    """One line with single spaces; one form of quotation marks and dashes; ligatures taken apart (NFKC)."""
    return ' '.join(unicodedata.normalize('NFKC', text.translate(SAME)).translate(SAME).split())


def edits(read: Sequence[object], truth: Sequence[object]) -> np.ndarray:
    """Levenshtein's edit distances of all beginnings of two sequences of hashable things, (read + 1, truth + 1)."""
    number = {thing: index for index, thing in enumerate({*read, *truth})}
    a, b = (np.array([number[thing] for thing in each], np.int64) for each in (read, truth))
    steps = np.arange(len(b) + 1)
    rows = [steps]
    for index, thing in enumerate(a, 1):
        other = np.minimum(rows[-1][1:] + 1, rows[-1][:-1] + (b != thing))
        # Insertions run along the row: the least of all that begin before, at one each.
        rows.append(np.minimum.accumulate(np.concatenate([[index], other]) - steps) + steps)
    return np.stack(rows)


def distance(read: Sequence[object], truth: Sequence[object]) -> int:
    """Levenshtein's edit distance."""
    return int(edits(read, truth)[-1, -1])


def aligned(read: Sequence[str], truth: Sequence[str]) -> list[tuple[str, str]]:
    """(read, truth) of the words that a least edit substitutes for each other or keeps."""
    table = edits(read, truth)
    i, j, pairs = len(read), len(truth), []
    while i and j:
        if table[i, j] == table[i - 1, j - 1] + (read[i - 1] != truth[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((read[i], truth[j]))
        elif table[i, j] == table[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return pairs[::-1]


def bare(word: str) -> str:
    """A word in small letters, without the punctuation around it."""
    letters = [index for index, character in enumerate(word) if character.isalnum()]
    return word[letters[0]:letters[-1] + 1].casefold() if letters else ''


def count(read: str, truth: str, dictionary: Collection[str]) -> Counts:
    """Compare a text that was read with the ground truth."""
    read, truth = normalized(read), normalized(truth)
    read_words, words = read.split(), truth.split()
    pairs = [(bare(word), bare(right)) for word, right in aligned(read_words, words)]
    wrong = sum(word != right and word in dictionary and len(right) > 1 for word, right in pairs)
    return Counts(distance(read, truth), len(truth), distance(read_words, words), len(words), wrong)


def rate(counts: Sequence[Counts], name: str) -> float:
    """One of :data:`RATES` over all pages: the errors of all by the length of all."""
    errors, total = (sum(getattr(each, field) for each in counts) for field in RATES[name])
    return errors / total if total else 0.0


def interval(
    counts: Sequence[Counts], name: str, baseline: Sequence[Counts] | None = None
) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of a rate over pages, or of its difference to that of a baseline."""
    chosen = resamples(len(counts))

    def rates(rows: Sequence[Counts]) -> np.ndarray:
        errors, total = (np.array([getattr(each, field) for each in rows], float) for field in RATES[name])
        return errors[chosen].sum(1) / np.maximum(total[chosen].sum(1), 1)

    return percentile_interval(rates(counts) - (rates(baseline) if baseline is not None else 0))
