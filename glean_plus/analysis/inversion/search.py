"""The optimisation: codes whose image would give the input."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor

from glean_plus.analysis.errors import InversionError
from glean_plus.analysis.inversion.settings import Settings
from glean_plus.analysis.inversion.tasks import Task
from glean_plus.models.banks.space import Space


@dataclass
class Found:
    """The best of each of N inputs."""

    pictures: Tensor  # (N, 3, out_size, out_size), RGB, 0 to 1
    # Mean squared error of the input that the found image would give, for values of 0 to 1, and prior; (N,).
    objective: Tensor
    # PSNR of the input that the found image would give, in dB, (N,): LR-PSNR, or in colorization that of the
    # lightness. Without the prior, and of colours in gamut: the bank synthesizes some beyond 0 and 1.
    psnr: Tensor
    start_psnr: Tensor  # the same of the best of the random starts, (N,)
    steps: int  # how many were done
    seconds: float  # for each image
    limited: bool  # whether the time limit ended the search


def _psnr(task: Task, images: Tensor, inputs: Tensor) -> Tensor:
    """Of the inputs that images would give, in dB, (N,)."""
    return -10 * (task.degrade(images.clamp(0, 1)) - inputs).square().mean(dim=(1, 2, 3)).log10()


def search(
    space: Space,
    task: Task,
    inputs: Tensor,
    settings: Settings,
    bgr: bool = False,
    progress: Callable[[int, float], None] | None = None,
) -> Found:
    """Search the bank for images that would give the inputs. The bank stays as it is.

    Args:
        space: Where to search; its bank has the device.
        inputs: (N, C, in_size, in_size), 0 to 1, on that device.
        bgr: The bank synthesizes BGR images.
        progress: Called at each step, before it is done, with its number and the mean objective of the best so far.

    Raises:
        InversionError: If the objective is not a number: the learning rate is too high, or the bank broken.
    """
    begin = time.monotonic()
    n, restarts = len(inputs), settings.restarts
    limit = math.inf if settings.time_limit is None else settings.time_limit * n
    weight = space.prior_weight if settings.prior is None else settings.prior
    # Each image has all the starts; [n r] is one axis.
    starts = space.start(restarts, torch.Generator().manual_seed(settings.seed))
    tensors = [start.to(inputs.device).repeat(n, *[1] * (start.ndim - 1)).requires_grad_() for start in starts]
    targets = inputs.repeat_interleave(restarts, dim=0)
    optimizer = torch.optim.Adam(tensors, lr=settings.lr)
    best = targets.new_full((len(targets),), math.inf)

    for step in count():
        with torch.enable_grad():
            drawn = (space.draw(tensors) + 1) / 2
            drawn = drawn.flip(1) if bgr else drawn
            error = (task.degrade(drawn) - targets).square().mean(dim=(1, 2, 3))
            objective = error + weight * space.prior(tensors)
        if not objective.isfinite().all():
            raise InversionError(f'The objective is not a number at step {step}: lower lr, which is {settings.lr}.')
        with torch.no_grad():
            if step == 0:
                first = _psnr(task, drawn, targets).view(n, restarts).amax(dim=1)
                images = drawn
            better = objective < best
            best = torch.where(better, objective, best)
            images = torch.where(better[:, None, None, None], drawn, images)
        if progress is not None:
            progress(step, float(best.view(n, restarts).amin(dim=1).mean()))
        limited = step < settings.steps and time.monotonic() - begin >= limit
        if limited or step == settings.steps:
            break
        for group in optimizer.param_groups:
            group['lr'] = settings.lr_at(step)
        # Of a sum, each image's gradient is its own.
        for tensor, gradient in zip(tensors, torch.autograd.grad(objective.sum(), tensors)):
            tensor.grad = gradient
        optimizer.step()
        space.to_sphere(tensors)

    chosen = best.view(n, restarts).argmin(dim=1) + restarts * torch.arange(n, device=best.device)
    return Found(
        pictures=task.result(images[chosen], inputs),
        objective=best[chosen],
        psnr=_psnr(task, images[chosen], inputs),
        start_psnr=first,
        steps=step,
        seconds=(time.monotonic() - begin) / n,
        limited=limited,
    )
