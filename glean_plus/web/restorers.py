"""The models that a server offers, and restorers of them, each for one image at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from glean_plus.inference.base import PictureRestorer
from glean_plus.inference.errors import RestoreError
from glean_plus.inference.faces import detectors
from glean_plus.inference.restorer import Restorer
from glean_plus.inference.source import available, is_here
from glean_plus.utils.choices import DEFAULT_MODEL
from glean_plus.web.settings import Settings


@dataclass(frozen=True)
class Choice:
    """Model and options of a restoration."""

    model: str  # name of one that is offered
    mode: str | None = None  # None is the best of the model's
    fidelity: float | None = None  # None is the model's own
    consistent: int = 0  # steps of iterative back-projection
    seed: int | None = None  # of the noise maps; None is the model's own
    faces: bool = False  # only the faces of a photo


@dataclass(frozen=True)
class Offer:
    """A model of the list."""

    given: str  # name or file, for Restorer
    about: str  # its training data and licence


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
    """Restorers of the models that are offered; some of those that were used last are kept.

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
        for name in [*self.offers][:max(1, len(settings.models))]:  # what cannot be used ends the server at its start
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
