"""The network of a source, ready for images: built, loaded, on its device, in its precision."""

from __future__ import annotations

import copy
import dataclasses

import torch
from torch import Tensor, nn

from glean_plus.accel.compiler import CompilerError
from glean_plus.accel.openvino import OpenVINOError
from glean_plus.accel.speed import PRECISIONS, arithmetic, at_speed, check_words, resolve
from glean_plus.inference.build import in_a_sentence, load_generator
from glean_plus.inference.errors import RestoreError
from glean_plus.inference.fidelity import enlarge_bank_features
from glean_plus.inference.memory import bytes_per_pixel
from glean_plus.inference.source import Source
from glean_plus.models.banks import LatentBank
from glean_plus.models.codes import predicts_codes
from glean_plus.models.task import TaskSpec, run, task_of
from glean_plus.registry import MODELS
from glean_plus.utils.color import rgb_to_lab
from glean_plus.utils.devices import DeviceError, usable_device
from glean_plus.weights.errors import shown


def choose_device(name: str) -> torch.device:
    """The device of a name; ``auto`` is CUDA, else MPS, else the CPU.

    Raises:
        RestoreError: If it cannot be used here.
    """
    if name == 'auto':
        mps = torch.backends.mps.is_available()
        name = 'cuda' if torch.cuda.is_available() else 'mps' if mps else 'cpu'
    try:
        return usable_device(name)
    except DeviceError as error:
        raise RestoreError(str(error)) from error


class Network:
    """The predictor: images (N, C, H, W), 0 to 1 -> results (N, C', s H, s W), about 0 to 1, for inputs that fit.

    Restoration, the web page, export and what measures restorers all predict with it. It loads the generator
    (:func:`load_generator`), normalizes and denormalizes as the generator's :class:`TaskSpec` says, and runs it
    (:func:`glean_plus.models.task.run`). A test of MMagic's runs the generator in the same way; its images are
    normalized by the ``data_preprocessor`` of the config, of which ``spec`` has the mean and the deviation.

    Args:
        source: Where it comes from.
        device: As :func:`choose_device` takes it.
        precision: ``fp32``, ``bf16`` or ``fp16``, of the arithmetic.
        speed: See :func:`glean_plus.accel.speed.at_speed`.
        seed: Of noise maps in place of the bank's own; None keeps these.
        label: Class of the images, for a model built with ``given_class``.
        bank_factor: See :func:`glean_plus.inference.fidelity.enlarge_bank_features`; not for colorization.

    Attributes:
        speed: How it is run; what ``auto`` stands for.
        spec: What the network is for, and its pixel values.
        in_size, scale: Nominal side of the input, and how much larger the result is.
        colorizes: The input is L of Lab, and the results are a and b.
        gray: It takes and gives one channel; those of a colour image go through it one by one.
        any_size: It takes sides that are multiples of ``multiple``; otherwise ``in_size`` alone.
        predicts_codes: Its codes depend on the image, see :meth:`codes`.
        has_bank, has_noise: It has a bank, and that adds noise maps, see :meth:`redrawn`.
        bytes_per_pixel: Memory of the activations for each pixel of the input.

    Raises:
        RestoreError: If the network or the device has no such thing.
        WeightsError: If the weights do not fit.
    """

    def __init__(
        self,
        source: Source,
        device: str = 'auto',
        precision: str = 'fp32',
        speed: str = 'exact',
        seed: int | None = None,
        label: int | None = None,
        bank_factor: float = 1.0,
    ) -> None:
        try:
            speed, self.precision = check_words(speed, precision)
        except ValueError as error:
            raise RestoreError(str(error)) from error
        self.device, self.dtype = choose_device(device), PRECISIONS[self.precision]
        if self.precision == 'fp16' and self.device.type == 'cpu':
            raise RestoreError('fp16 is slow or missing on a CPU: take bf16, or a GPU.')
        network = load_generator(source)
        with in_a_sentence(source.config):
            self._take_facts(source, network)
        if seed is not None:
            self._draw_noise(network, seed)
        if bank_factor != 1 and not self.colorizes:
            enlarge_bank_features(network, bank_factor)
        self.label = self._check_label(network, label)
        network.to(self.device)
        for parameter in network.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self.network: nn.Module = network
        self.speed = resolve(network, self.precision) if speed == 'auto' else speed
        self._plain = network
        try:
            self.network = at_speed(network, self.speed, self.precision)
        except (CompilerError, OpenVINOError, TypeError, ValueError) as error:
            raise RestoreError(f"{error} Or take speed='exact'.") from error

    def _take_facts(self, source: Source, network: nn.Module) -> None:
        spec = task_of(network)
        if not (spec.colorizes or spec.gray or spec.rgb):
            raise RestoreError(
                f'The network of {source.config} takes {spec.in_channels} channels and gives {spec.out_channels}: only '
                '3 and 3 (RGB), 1 and 1 (gray), or colorization can be run.'
            )
        mean, std = (_levels(source, key) for key in ('mean', 'std'))
        bgr = source.card is not None and source.card.colour_order == 'bgr'
        self.spec = spec = dataclasses.replace(spec, mean=mean, std=std, bgr=bgr)
        self.in_size, self.scale, self.any_size, self.multiple = spec.in_size, spec.scale, spec.any_size, spec.multiple
        self.colorizes: bool = spec.colorizes
        self.gray, self.bgr = spec.gray, spec.bgr
        self.predicts_codes = predicts_codes(network)
        bank: LatentBank | None = getattr(network, 'bank', None)
        self.has_bank = bank is not None
        self.has_noise = bank is not None and bool(bank.draw_noises(torch.Generator()))
        # Without labels: their values would be looked at, of which there are none; the maps are the same.
        generator = {key: value for key, value in source.model['generator'].items() if key != 'given_class'}
        shape = (1, spec.in_channels, self.in_size, self.in_size)
        self.bytes_per_pixel = bytes_per_pixel(lambda: MODELS.build(generator), shape) * (3 if self.gray else 1)

    @staticmethod
    def _draw_noise(network: nn.Module, seed: int) -> None:
        """Noise maps of the seed, in place of the bank's."""
        bank: LatentBank | None = getattr(network, 'bank', None)
        noises = {} if bank is None else bank.draw_noises(torch.Generator().manual_seed(seed))
        if bank is None or not noises:
            raise RestoreError('This model has no noise maps, so a seed changes nothing: leave it out.')
        bank.set_noises(noises)

    def redrawn(self, seed: int) -> Network:
        """The same with other noise maps, not folded; the weights are shared.

        Raises:
            RestoreError: If there are none.
        """
        other = copy.copy(self)
        shared = {id(parameter): parameter for parameter in self._plain.parameters()}
        other._plain = other.network = copy.deepcopy(self._plain, shared)
        other.speed = 'exact'
        self._draw_noise(other._plain, seed)
        return other

    def _check_label(self, network: nn.Module, label: int | None) -> Tensor | None:
        classes = self.spec.classes
        if not classes:
            if label is not None:
                raise RestoreError('This model takes no label: leave it out.')
            return None
        if label is None or not 0 <= label < classes:
            raise RestoreError(f'This model needs the class of the images as label, 0 to {classes - 1}, not {label}.')
        return torch.tensor([label], device=self.device)

    @torch.no_grad()
    def codes(self, whole: Tensor) -> list[Tensor | None] | None:
        """Codes of images (N, C, in_size, in_size), 0 to 1, for their tiles; None where there are none to share.

        Of a gray network they are (N, C, dim), one of each channel.
        """
        if not predicts_codes(self._plain):
            return None
        inputs = self._normalized(whole)
        with arithmetic(self.device, self.speed, self.precision):
            _, codes = self._plain.encode(inputs, *self._labels(inputs))
        if self.gray:
            codes = [None if code is None else code.unflatten(0, whole.shape[:2]) for code in codes]
        return codes

    @torch.no_grad()
    def __call__(
        self,
        images: Tensor,
        codes: list[Tensor | None] | None = None,
        origin: tuple[int, int] = (0, 0),
    ) -> Tensor:
        """Restore.

        Args:
            images: (N, 3, H, W), RGB, 0 to 1, on any device; for a gray network (N, C, H, W).
            codes: In place of those that the model would predict.
            origin: Where the images begin in the one that they are parts of, for a model of any size.

        Returns:
            (N, C, s H, s W), float32, on the network's device, not clamped; of a colorizing network a and b of Lab,
            (N, 2, H, W).
        """
        if self.gray and codes is not None:
            codes = [None if code is None else code.flatten(0, 1) for code in codes]
        inputs = self._normalized(images)
        with arithmetic(self.device, self.speed, self.precision):
            result = run(self.network, inputs, *self._labels(inputs), codes=codes, origin=origin)
        result = self.spec.denormalize(result.float(), images.shape[1])
        return rgb_to_lab(result)[:, 1:] if self.colorizes else result

    def _normalized(self, images: Tensor) -> Tensor:
        inputs = self.spec.normalize(images.to(self.device, torch.float32))
        return inputs if self.colorizes else inputs.contiguous(memory_format=torch.channels_last)

    def _labels(self, images: Tensor) -> tuple[Tensor, ...]:
        return () if self.label is None else (self.label.repeat_interleave(len(images) // len(self.label)),)


def _levels(source: Source, key: str) -> float:
    """Mean or deviation of the config's preprocessor, which is one number here for all colours."""
    values = (source.model.get('data_preprocessor') or {}).get(key, getattr(TaskSpec, key))
    numbers = {float(value) for value in (values if isinstance(values, (list, tuple)) else [values])}
    if len(numbers) != 1:
        raise RestoreError(
            f'data_preprocessor.{key} in {source.config} must be the same for all colours, but is {shown(values)}.'
        )
    (number,) = numbers
    if key == 'std' and not number > 0:
        raise RestoreError(f'data_preprocessor.std in {source.config} must be above 0, but is {shown(values)}.')
    return number
