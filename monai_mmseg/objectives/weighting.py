# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Weights that training moves: ramps, and gradients of two losses held in a ratio."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from monai_mmseg.distributed import world_size
from monai_mmseg.losses.inputs import at_least_float32, onehot_labels
from monai_mmseg.losses.masked import global_count, group_sums

FOLLOW, FOLLOW_NORM = 0.05, 0.1  # how much of a running mean comes from the last step, or measurement
SCALE = 4096.0  # of both losses, so that gradients in half precision do not vanish; a power of two changes no digit


class Weighting(nn.Module):
    """Base of what a weight is multiplied by: a ``factor`` on the device that :meth:`advance` moves, once a step.

    When to use: subclass it for another schedule. Its state consists of buffers, which a resumed run has.

    Examples:
        >>> Weighting().factor
        tensor(0.)
    """

    factor: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("factor", torch.zeros(()))


class Ramp(Weighting):
    """Grows from 0 to 1: over a number of steps, or as far as the network segments.

    When to use: for a term that pulls on what a network does not know yet.

    Args:
        over: steps; or ``"dice"``: the factor is the running mean of the foreground's Dice in the training batches.

    Raises:
        ValueError: if ``over`` is neither.

    Examples:
        >>> ramp = Ramp(4)
        >>> factors = []
        >>> for _ in range(6):
        ...     ramp.advance()
        ...     factors.append(float(ramp.factor))
        >>> factors
        [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
    """

    def __init__(self, over: int | Literal["dice"]) -> None:
        super().__init__()
        if over != "dice" and (isinstance(over, bool) or not isinstance(over, int) or over < 1):
            raise ValueError(f"over must be a number of steps, 1 or more, or 'dice', got {over!r}.")
        self.over = over
        # steps done; or running means of the Dice and of one, whose ratio has no bias towards the start
        self.register_buffer("state", torch.zeros(()) if over != "dice" else torch.zeros(2))
        self.state: Tensor

    @torch.no_grad()
    def advance(self, dice: Tensor | None = None) -> None:
        """Set the factor of this step.

        Args:
            dice: of the batch, scalar, NaN where it has none; for ``"dice"``.
        """
        if self.over == "dice":
            assert dice is not None
            found, known = torch.stack([dice.nan_to_num(), torch.ones_like(dice)]), ~dice.isnan()
            self.state.lerp_(found.to(self.state), (FOLLOW * known).to(self.state))
            self.factor.copy_(self.state[0] / self.state[1].clamp(min=1e-12))
        else:
            self.factor.copy_((self.state / self.over).clamp(max=1))
            self.state.add_(1)

    def extra_repr(self) -> str:
        """Returns the settings for ``print(ramp)``."""
        return f"over={self.over!r}"


class GradientBalance(Weighting):
    """Makes the gradient of a loss as large as that of another one at given parameters.

    When to use: for a term whose size depends on sizes of regions, widths of layers and progress, so that no weight
    fits; its weight is then the ratio of the gradients. The factor is the ratio of the running means of both norms. It
    costs two backward passes down to the parameters every so many steps, and cannot be compiled.

    Args:
        every: steps from one measurement to the next.

    Raises:
        ValueError: if ``every`` is less than 1.

    Reference:
        In the spirit of Chen et al., "GradNorm", ICML 2018, arXiv:1711.02257: norms at one shared layer. Differs from
        it: the ratio is set and not learned, and gradients of the other loss are its measure.

    Examples:
        >>> weight, balance = nn.Parameter(torch.ones(2)), GradientBalance(every=1)
        >>> balance.advance(weight.sum() * 1e-4, weight.sum() * 2, [weight])
        >>> f"{float(balance.factor):.0f}"
        '20000'
    """

    def __init__(self, every: int = 20) -> None:
        super().__init__()
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"every must be a number of steps, 1 or more, got {every!r}.")
        self.every, self.steps = every, 0
        self.register_buffer("norms", torch.zeros(2))
        self.norms: Tensor

    def advance(self, term: Tensor, other: Tensor, parameters: Sequence[nn.Parameter]) -> None:
        """Count a step, and measure if it is due.

        Args:
            term: loss whose factor it is, scalar.
            other: loss that it is compared with, scalar.
            parameters: where both gradients are taken.
        """
        self.steps += 1
        if (self.steps - 1) % self.every:
            return
        found = torch.stack([_gradient_norm(loss, parameters) for loss in (other, term)]).to(self.norms)
        usable = found.isfinite().all() & (found > 0).all()  # not where a batch lacks what a loss needs
        norms = torch.where(usable, found, self.norms)
        self.norms.copy_(torch.where(self.norms > 0, self.norms.lerp(norms, FOLLOW_NORM), norms))
        self.factor.copy_(self.norms[0] / self.norms[1].clamp(min=torch.finfo(torch.float32).tiny))

    def get_extra_state(self) -> dict[str, int]:
        """Steps so far."""
        return {"steps": self.steps}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Take the steps back."""
        self.steps = int(state["steps"])

    def extra_repr(self) -> str:
        """Returns the settings for ``print(balance)``."""
        return f"every={self.every}"


def _gradient_norm(loss: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
    """Norm of the gradient of the joined batch, detached, of the scaled loss."""
    gradients: Sequence[Tensor | None] = [None] * len(parameters)
    if loss.requires_grad:
        scale = torch.full_like(loss, SCALE)
        gradients = torch.autograd.grad(loss, parameters, scale, retain_graph=True, allow_unused=True)
    pairs = zip(gradients, parameters, strict=True)
    # of one length on all processes, whatever their batches lack
    own = torch.cat([at_least_float32(torch.zeros_like(p) if g is None else g).flatten() for g, p in pairs])
    return (global_count(own) / world_size()).square().sum().sqrt()


@torch.no_grad()
def foreground_dice(
    logits: Tensor, onehot: Tensor, group: Tensor, num_groups: int, labelled: Tensor | None = None
) -> Tensor:
    """Dice of the batch of all processes, mean over the groups and the classes that are in them.

    When to use: to know how far training is, at no cost but sums.

    Args:
        logits: shape ``(N, K, *spatial)``.
        onehot: labels, same shape, zeros where there is none.
        group: of each row, int64 ``(N,)``.
        num_groups: number of groups.
        labelled: rows that carry a label, bool ``(N,)``; ``None`` means all.

    Returns:
        Scalar, NaN without any pixel of the foreground.

    Raises:
        ValueError: if the shapes do not fit.

    Examples:
        >>> onehot = onehot_labels(torch.tensor([[[0, 1, 1, 2]]]), 3)
        >>> guess = onehot_labels(torch.tensor([[[0, 1, 0, 2]]]), 3)
        >>> foreground_dice(guess, onehot, torch.tensor([0]), 1)  # 2 / 3 and 1
        tensor(0.8333)
    """
    known = onehot.sum(1, keepdim=True)
    pred = onehot_labels(logits.argmax(1, keepdim=True), logits.shape[1], onehot.dtype) * known
    pixels = torch.stack([(pred * onehot).flatten(2).sum(2), (pred + onehot).flatten(2).sum(2)], 1)
    pixels = torch.cat([pixels, onehot.flatten(2).sum(2)[:, None]], 1).float()  # (N, 3, K)
    overlap, both, true = group_sums(pixels, group, num_groups, labelled, differentiable=False)[..., 1:].unbind(1)
    there = true > 0
    return (2 * overlap / both.clamp(min=1) * there).sum() / there.sum()
