"""A GLEAN run with one part after the other switched off or exchanged.

Nothing of the model's forward pass is repeated here but its three steps, ``encode``, ``retrieve`` and ``decode``: with
everything on they are the forward pass.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from glean_plus.analysis.ablation.switches import BANK, MEAN, NEXT, Switch, Walk, entries, switches_of
from glean_plus.models.banks import LatentBank
from glean_plus.models.glean import GLEAN

Codes = Sequence['Tensor | None']
# What stands where an encoder feature is not fused: the block of the bank as it is (S_i for S_i' of Eq. 3), or the
# fusion's convolution on zeros.
FUSION_OFF = ('bypass', 'zeros')


@dataclass(frozen=True)
class View:
    """A batch of images, encoded once for all switches."""

    lq: Tensor  # (N, C, in_size, in_size)
    features: Mapping[int, Tensor]  # the encoder's
    codes: Codes  # of these images
    next_codes: Codes  # of others, for the switch that exchanges them
    seed: int = 0  # of the noise maps


class Inspector:
    """Runs a model with every switch that it has.

    Args:
        model: In evaluation mode.
        own_image: The model's bank, pre-trained, with the layers that synthesize its own image, on the model's device;
            or why there is none.
        mean_codes: The mean of all images' codes, (1, code_dims[k]) each; None if that switch is not run.
        count: How many images there are.
        fusion_off: One of ``FUSION_OFF``.
        bgr: The bank's own image has its channels in the other order than the model's.

    Raises:
        ValueError: On another ``fusion_off``.
    """

    def __init__(
        self,
        model: GLEAN,
        own_image: LatentBank | str,
        mean_codes: Codes | None = None,
        count: int = 1,
        fusion_off: str = 'bypass',
        bgr: bool = False,
    ) -> None:
        if fusion_off not in FUSION_OFF:
            raise ValueError(f'fusion_off must be one of {FUSION_OFF}, but is {fusion_off!r}.')
        self.model, self.own_image, self.fusion_off, self.bgr = model, own_image, fusion_off, bgr
        self.switches = switches_of(model, own_image, count)
        self._codes: dict[str, Codes] = {} if mean_codes is None else {MEAN: mean_codes}
        if not isinstance(own_image, str):
            self._codes[BANK] = [code[None] for code in own_image.mean_codes()]

    @torch.no_grad()
    def view(self, lq: Tensor, label: Tensor | None = None, next_codes: Codes = (), seed: int = 0) -> View:
        """Encode a batch; the arguments are the model's and :class:`View`'s."""
        features, codes = self.model.encode(lq, label)
        return View(lq, features, codes, next_codes, seed)

    @torch.no_grad()
    def images(self, view: View) -> dict[str, Tensor]:
        """The image (N, C, out_size, out_size), about -1 to 1, of each switch that applies, by its key.

        Each walk through the bank is taken once, and its features are kept no longer than they are used.
        """
        sharing: dict[Walk, list[Switch]] = defaultdict(list)
        for switch in self.switches:
            if switch.applies:
                sharing[switch.walk].append(switch)
        images = {}
        for walk, switches in sharing.items():
            codes = self.codes(view, walk)
            bank_features = self._walk(view, walk, codes)
            for switch in switches:
                images[switch.key] = self._read(view, switch, codes, bank_features)
        return {switch.key: images[switch.key] for switch in self.switches if switch.applies}

    def codes(self, view: View, walk: Walk) -> Codes:
        """The codes of a walk; where the image has none, as a bank without the layer needs none, there is none."""
        if walk.codes not in (NEXT, MEAN, BANK):
            return view.codes
        others = view.next_codes if walk.codes == NEXT else self._codes[walk.codes]
        return [
            None if own is None or other is None else other.to(own).expand_as(own)
            for own, other in zip(view.codes, others)
        ]

    def _walk(self, view: View, walk: Walk, codes: Codes) -> dict[int, Tensor]:
        """g_i of every resolution of the bank."""
        features, fused = view.features, None
        if walk.encoder_to is not None:
            on = [res for res in entries(self.model) if res <= walk.encoder_to]
            fused = None if self.fusion_off == 'zeros' else on
            features = {res: f if res in on else torch.zeros_like(f) for res, f in features.items()}
        noises = None
        if walk.new_noise:
            noises = self.model.bank.draw_noises(torch.Generator().manual_seed(view.seed))
        everywhere = self.model.bank.resolutions
        return self.model.retrieve(features, list(codes), fused=fused, noises=noises, wanted=everywhere)

    def _read(self, view: View, switch: Switch, codes: Codes, bank_features: Mapping[int, Tensor]) -> Tensor:
        """The decoder's image, or the bank's own."""
        if switch.decoder:
            to = self.model.out_size if switch.bank_to is None else switch.bank_to
            given = {res: g if res <= to else torch.zeros_like(g) for res, g in bank_features.items()}
            return self.model.decode(view.lq, view.features, given)
        # The last ToRGB of a StyleGAN2 has a code of its own, which reaches no feature, so that GLEAN never trains it.
        last = max(self.model.bank.layers)
        trained = [code if layer <= last else codes[last] for layer, code in enumerate(codes)]
        assert not isinstance(self.own_image, str)  # without the bank, no such switch applies
        image = self.own_image.picture(trained, bank_features)
        return image.flip(1) if self.bgr else image
