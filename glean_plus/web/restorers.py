"""The models that a server offers, and restorers of them, each for one picture at a time."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glean_plus.inference.base import PictureRestorer
from glean_plus.inference.errors import RestoreError
from glean_plus.inference.faces import detectors
from glean_plus.inference.fidelity import MIDDLE, STEPS, check_fidelity
from glean_plus.inference.restorer import Restorer
from glean_plus.inference.source import available, is_here
from glean_plus.inference.tiling import MODES
from glean_plus.utils.choices import DEFAULT_MODEL
from glean_plus.web.settings import Settings

BEST = 'best'
LARGEST_SEED = 2**31 - 1


@dataclass(frozen=True)
class Choice:
    """What a user of the page chooses, checked as far as it can be without a model.

    Attributes:
        model: Name of one that is offered.
        mode: None is the best that the model can.
        fidelity: None is the model's own.
        consistent: Steps.
        seed: Of noise maps; None is the model's own.
        faces: The faces of a photo alone.
    """

    model: str
    mode: str | None = None
    fidelity: float | None = None
    consistent: int = 0
    seed: int | None = None
    faces: bool = False

    @classmethod
    def read(cls, model: Any, mode: Any, fidelity: Any, consistent: Any, seed: Any, faces: Any) -> Choice:
        """Of what a request says.

        Raises:
            RestoreError: If a value is of another kind, or cannot be had.
        """
        if mode not in (BEST, *MODES):
            raise RestoreError(f'The mode is one of {", ".join((BEST, *MODES))}.')
        if isinstance(fidelity, bool) or not isinstance(fidelity, (int, float, type(None))):
            raise RestoreError('The fidelity is a number from 0 to 1.')
        digits = '' if seed is None else str(seed).strip()
        if digits and not (re.fullmatch('[0-9]{1,10}', digits) and int(digits) <= LARGEST_SEED):
            raise RestoreError(f'The seed is a whole number from 0 to {LARGEST_SEED}, or empty.')
        fidelity, consistent = None if fidelity == MIDDLE else fidelity, STEPS if consistent else 0
        check_fidelity(fidelity, consistent)
        if faces and mode != BEST:
            raise RestoreError(f"Faces are brought to the model's size: leave the mode at {BEST!r}.")
        return cls(
            str(model), None if mode == BEST else mode, fidelity, consistent, int(digits) if digits else None,
            bool(faces),
        )  # fmt: skip


@dataclass(frozen=True)
class Offer:
    """A model of the list.

    Attributes:
        given: What :class:`Restorer` is given for it.
        about: What it was trained with, and its licence.
    """

    given: str
    about: str


def offers(models: tuple[str, ...]) -> dict[str, Offer]:
    """The models that are here without a download, and the operator's own, which come first.

    Raises:
        RestoreError: If two have the same name, or a file is not there.
    """
    own: dict[str, Offer] = {}
    for given in models:
        path = Path(given).expanduser()
        if not path.is_file():
            raise RestoreError(f'--model is a checkpoint, and there is no file {given}.')
        if path.stem in own:
            raise RestoreError(f'Two models are named {path.stem}: rename the file {given}.')
        own[path.stem] = Offer(str(path), 'added by the operator')
    cards = available()
    for name in sorted(cards, key=lambda name: name != DEFAULT_MODEL):
        if name not in own and is_here(cards[name]):
            own[name] = Offer(name, f'{cards[name].data}. {cards[name].licence}')
    if not own:
        raise RestoreError('No model is here: give one with --model, or fetch one, `glean-plus models` lists them.')
    return own


class Restorers:
    """Restorers of what is offered; some of those that were used last are kept.

    Args:
        settings: The server's.

    Attributes:
        offers: Name -> model.

    Raises:
        RestoreError: If a model of the operator's cannot be used.
        WeightsError: If its weights cannot.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.offers: Mapping[str, Offer] = offers(settings.models)
        self._idle: list[tuple[Choice, PictureRestorer]] = []
        self._kept = settings.concurrency + 1
        self._lock = threading.Lock()
        for name in [*self.offers][:max(1, len(settings.models))]:  # what cannot be used is told at the start
            with self.of(Choice(name)):
                pass

    @contextmanager
    def of(self, choice: Choice) -> Iterator[PictureRestorer]:
        """A restorer that nobody else uses meanwhile.

        Raises:
            RestoreError: If the model is not here, or cannot do that.
            WeightsError: If its weights cannot be had.
        """
        restorer = self._idle_one(choice) or self._built(choice)
        try:
            yield restorer
        finally:
            with self._lock:
                self._idle.append((choice, restorer))
                del self._idle[:-self._kept]

    def _idle_one(self, choice: Choice) -> PictureRestorer | None:
        with self._lock:
            for index, (other, restorer) in enumerate(self._idle):
                if other == choice:
                    del self._idle[index]
                    return restorer
        return None

    def _built(self, choice: Choice) -> PictureRestorer:
        offer, settings = self.offers.get(choice.model), self.settings
        if offer is None or not self._still_here(choice.model, offer):
            raise RestoreError(f'The model {choice.model!r} is not here: choose one of the list.')
        if choice.faces and not detectors.is_here():
            raise RestoreError('No detector of faces is here: leave the faces out.')
        restorer = Restorer(
            offer.given, mode=choice.mode, device=settings.device, precision=settings.precision, speed=settings.speed,
            max_memory=settings.max_memory, seed=choice.seed, consistent=choice.consistent, fidelity=choice.fidelity,
        )  # fmt: skip
        if not choice.faces:
            return restorer
        from glean_plus.inference.faces import FaceRestorer

        return FaceRestorer(restorer)

    @staticmethod
    def _still_here(name: str, offer: Offer) -> bool:
        """Nobody who uses the page makes the server download anything."""
        return Path(offer.given).is_file() or (offer.given == name and is_here(available()[name]))
