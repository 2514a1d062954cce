# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What the representation disentanglement minimises: images reconstructed, and codes that belong together."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from monai_mmseg.losses.distances import gaussian_kl, mean_absolute
from monai_mmseg.losses.inputs import at_least_float32
from monai_mmseg.losses.margin import (
    ModalityMarginLoss,
    Pairs,
    SubjectMarginLoss,
    anatomy_signature,
    subject_margin,
)
from monai_mmseg.losses.masked import group_sums, mean_of_columns
from monai_mmseg.losses.modality_adversarial import modality_classification, modality_confusion
from monai_mmseg.networks.nets.disentangle.disentangle import DisentangleNet
from monai_mmseg.networks.nets.disentangle.modulation import memory_format_of
from monai_mmseg.objectives.base import Objective, PhaseOutput
from monai_mmseg.objectives.rows import paired_rows
from monai_mmseg.objectives.weighting import Ramp

GENERATOR, DISCRIMINATOR = "generator", "discriminator"


class _Plan(NamedTuple):
    """What a mask of present modalities means for a step: lists on the CPU, index tensors on the device."""

    modality: list[int]  # (N,) of each image that is there, modality-major
    target: list[int]  # (P,) modality of each reconstruction: the N self ones, then those of the ordered pairs
    own: Tensor  # (N,) modality again, on the device
    anatomy: Tensor  # (P,) own row of the anatomy of each reconstruction
    code: Tensor  # (P,) own row of its code
    sample: Tensor  # (P,) sample of each reconstruction
    pair: Tensor  # (P - N,) number of the ordered pair
    both: Tensor  # (B, pairs) which pairs a sample has, bool


class DisentangleObjective(Objective):
    r"""Self and cross reconstruction, latent consistency, and margins between anatomies and between codes.

    Use it to train a :class:`~monai_mmseg.networks.nets.DisentangleNet` without labels. Absent images are not encoded,
    not reconstructed and change nothing. Terms of the phase ``generator``, before weighting:

    ======================  ====================================================================  ==============
    term                    what                                                                  default weight
    ======================  ====================================================================  ==============
    ``self_reconstruction`` mean absolute error of an image reconstructed from its own anatomy and code   1
    ``cross_reconstruction``  the same with the anatomy of another modality of the subject        2
    ``latent``              absolute difference of the code and that of a reconstruction, summed  0.1
    ``subject_margin``      anatomies of a subject alike, of subjects apart                       10
    ``modality_margin``     codes of a modality alike, of modalities apart                        2
    ``kl``                  codes to a standard normal distribution (variational network)         0
    ``adversarial``         how sure ``discriminator`` is of the modality of an anatomy           0
    ======================  ====================================================================  ==============

    A term of weight 0 is not computed. Each is a mean over the rows of a modality (or pair), then over modalities.

    With a ``discriminator`` there is a second phase of this name, with an optimiser of its own and the one term
    ``classification`` (weight 1): the cross-entropy of its logits on the anatomies of the same step, detached. With
    ``adversarial`` at 0 it is a probe of how well anatomies tell their modality.

    Args:
        network: what is trained.
        discriminator: gives logits ``(N, M)`` of the modality of anatomies ``(N, C, *spatial)``, such as
            :class:`~monai_mmseg.networks.nets.AnatomyDiscriminator`. ``None``: there is one phase only.
        margin: of both margin losses.
        margin_ramp: training steps over which the weights of both margins grow from 0 to their values; ``None``: they
            have these from the first step. At the start anatomies are alike, and a margin holds them where they are.
        pool: edge of the blocks by which anatomies are compared.
        anatomy_pairs: ``"all"`` pairs of modalities a step, or a ``"random"`` one as in the original code.
        code_pairs: ``"all"`` ordered pairs, or ``"ascending"`` ones as in the original code.
        latent_pairs: which reconstructions are encoded again for ``latent``: those of an image from its own anatomy, as
            in the original code (``"same"``), or also those from the anatomies of other modalities, as in the paper's
            Eq. 1 (``"all"``: M times as many).
        momentum: how fast :attr:`~monai_mmseg.networks.nets.DisentangleNet.mean_code` follows the codes of a batch.
        weights: ``{phase: {term: weight}}`` that replace the weights above.

    Raises:
        ValueError: if a setting is not one of those listed, or a weight is misnamed.

    Reference:
        Ouyang et al., IPMI 2021, arXiv:2102.11456: Eqs. 1 to 6. Differs from the paper in the adversarial baseline: one
        classifier of all modalities in place of a discriminator of two at random, which is trained on its own.

    Examples:
        >>> net = DisentangleNet(
        ...     2, 1, modalities=("t1", "t2"), target="t2", spatial_size=(64, 32), anatomy_features=(4, 8, 8, 8, 8),
        ...     appearance_features=(4, 8), decoder_features=(8, 8, 8, 8, 4, 4, 2),
        ... )
        >>> batch = {"image": torch.rand(3, 2, 64, 32), "present": torch.tensor([[True, True]] * 2 + [[True, False]])}
        >>> list(DisentangleObjective(net)(batch, "generator").terms)[:2]
        ['self_reconstruction', 'cross_reconstruction']
    """

    network: DisentangleNet
    phases: tuple[str, ...] = (GENERATOR,)
    default_weights: ClassVar[dict[str, dict[str, float]]] = {
        GENERATOR: {
            "self_reconstruction": 1.0,
            "cross_reconstruction": 2.0,
            "latent": 0.1,
            "subject_margin": 10.0,
            "modality_margin": 2.0,
            "kl": 0.0,
            "adversarial": 0.0,
        },
        DISCRIMINATOR: {"classification": 1.0},
    }

    outside_graphs: ClassVar[tuple[str, ...]] = ("_plan",)

    def __init__(
        self,
        network: DisentangleNet,
        discriminator: nn.Module | None = None,
        *,
        margin: float = 0.1,
        margin_ramp: int | None = None,
        pool: int = 16,
        anatomy_pairs: Pairs = "all",
        code_pairs: Pairs = "all",
        latent_pairs: Literal["same", "all"] = "same",
        momentum: float = 0.05,
        weights: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        if discriminator is not None:
            self.phases = (GENERATOR, DISCRIMINATOR)
        super().__init__(network, weights=weights)
        if not 0 < momentum <= 1:
            raise ValueError(f"momentum must lie in (0, 1], got {momentum}.")
        if latent_pairs not in ("same", "all"):
            raise ValueError(f"latent_pairs must be 'same' or 'all', got {latent_pairs!r}.")
        if discriminator is None and self.weights[GENERATOR]["adversarial"]:
            raise ValueError("weights['generator']['adversarial'] needs a discriminator.")
        self.discriminator = discriminator
        self.margin_ramp = None if margin_ramp is None else Ramp(margin_ramp)
        if self.margin_ramp is not None and self.margin_ramp.over == "dice":
            raise ValueError("margin_ramp must be a number of steps: there are no labels for a Dice.")
        self.subject_loss = SubjectMarginLoss(margin, pairs=anatomy_pairs, pool=pool)
        self.modality_loss = ModalityMarginLoss(margin, pairs=code_pairs)
        self.latent_pairs, self.momentum = latent_pairs, float(momentum)
        self._plans: dict[bytes, _Plan] = {}

    def parameters_of(self, phase: str) -> list[nn.Parameter]:
        """All parameters of the network, or those of the discriminator."""
        part = self.network if self.check_phase(phase) == GENERATOR else self.discriminator
        assert part is not None
        return list(part.parameters())

    def weight_factors(self, phase: str) -> dict[str, Tensor]:
        """Factor of both margins, where they grow."""
        if phase != GENERATOR or self.margin_ramp is None:
            return {}
        return dict.fromkeys(("subject_margin", "modality_margin"), self.margin_ramp.factor)

    def forward(self, batch: Mapping[str, Any], phase: str, previous: Mapping[str, Any] | None = None) -> PhaseOutput:
        """Terms over what is there.

        Args:
            batch: ``image (B, M * S, *spatial)``; ``present (B, M)``, bool, on the CPU; optionally ``subject_index
                (B,)``, integers: neighbours of one subject are not pushed apart.
            phase: ``"generator"`` or ``"discriminator"``.
            previous: outputs of the generator phase of the same step; the discriminator needs them.

        Returns:
            The terms, and detached: ``pred``, the self reconstructions ``(B, M * S, *spatial)`` (zero where absent);
            for a discriminator also the anatomies of what is there and their modalities.

        Raises:
            ValueError: if the batch does not fit, or the discriminator's phase comes without the generator's outputs.
        """
        if self.check_phase(phase) == DISCRIMINATOR:
            return self._discriminate(previous)
        network, weights = self.network, self.weights[phase]
        image = batch["image"]
        present = torch.as_tensor(batch.get("present", torch.ones(image.shape[0], network.num_modalities) > 0)).cpu()
        if present.dtype != torch.bool:
            raise ValueError(f"batch['present'] must be bool, got {present.dtype}.")
        images, there = network.split(image, present)
        plan = self._plan(present, images.device)
        count = len(plan.modality)
        sample, index = plan.sample[:count], plan.own
        own = images[sample, index]
        mask = network.foreground(images, there)
        anatomy, code = network.encode(own, plan.modality, None if mask is None else mask[sample])
        sampled_code = self._sampled(code.code, code.log_variance)

        recon = self._reconstruct(anatomy, sampled_code, plan)
        error = mean_absolute(recon, own[plan.code].contiguous(memory_format=memory_format_of(recon)))
        shape = (image.shape[0], network.num_modalities)
        zero = error.sum() * 0
        terms = dict.fromkeys(weights, zero)
        terms["self_reconstruction"] = self._mean(error[:count], sample, index, shape, there)
        if plan.both.shape[1] and weights["cross_reconstruction"]:
            terms["cross_reconstruction"] = self._mean(
                error[count:], plan.sample[count:], plan.pair, tuple(plan.both.shape), plan.both
            )
        if weights["latent"]:
            terms["latent"] = self._latent(recon, code.code, plan, there)
        subject = batch.get("subject_index")
        if weights["subject_margin"]:
            signature = anatomy_signature(anatomy[:, None], self.subject_loss.pool)[:, 0]
            table = signature.new_zeros(*shape, signature.shape[1]).index_put((sample, index), signature)
            loss = self.subject_loss
            terms["subject_margin"] = subject_margin(table, there, loss.margin, pairs=loss.pairs, subject=subject)
        if weights["modality_margin"]:
            codes = sampled_code.new_zeros(*shape, sampled_code.shape[1]).index_put((sample, index), sampled_code)
            terms["modality_margin"] = self.modality_loss(codes, there, subject)
        if weights["kl"]:
            if code.log_variance is None:
                raise ValueError("weights['generator']['kl'] needs a variational network.")
            terms["kl"] = self._mean(gaussian_kl(code.code, code.log_variance), sample, index, shape, there)
        if weights["adversarial"]:
            assert self.discriminator is not None
            sure = modality_confusion(self.discriminator(anatomy), index)
            terms["adversarial"] = self._mean(sure, sample, index, shape, there)
        if self.training:
            self._follow(code.code.detach(), index)
            if self.margin_ramp is not None:
                self.margin_ramp.advance()
        seen = recon[:count].detach()
        pred = seen.new_zeros(*shape, *seen.shape[1:]).index_put((sample, index), seen).flatten(1, 2)
        outputs = {"pred": pred}
        if self.discriminator is not None:
            outputs |= {"anatomy": anatomy.detach(), "sample": sample, "modality": index, "there": there}
        return PhaseOutput(terms, outputs)

    def _latent(self, recon: Tensor, code: Tensor, plan: _Plan, there: Tensor) -> Tensor:
        """Distance of the codes of reconstructions from those that they were made with."""
        count = len(recon) if self.latent_pairs == "all" else len(plan.modality)
        again = self.network.appearance(recon[:count], plan.target[:count]).code
        distance = (at_least_float32(code[plan.code[:count]]) - at_least_float32(again)).abs().sum(1)
        mask = torch.cat([there, plan.both], 1)
        column = torch.cat([plan.own, plan.pair + there.shape[1]])
        # pairs that are not asked for are as if nobody had them
        mask = mask if self.latent_pairs == "all" else there
        return self._mean(distance, plan.sample[:count], column[:count], tuple(mask.shape), mask)

    def _discriminate(self, previous: Mapping[str, Any] | None) -> PhaseOutput:
        """The discriminator's step, on the anatomies of the generator's."""
        if not previous or "anatomy" not in previous:
            raise ValueError(
                f"previous must hold the outputs of phase 'generator' for phase 'discriminator', "
                f"got {sorted(previous or {})}."
            )
        assert self.discriminator is not None
        sample, modality, there = (previous[key] for key in ("sample", "modality", "there"))
        error = modality_classification(self.discriminator(previous["anatomy"]), modality)
        return PhaseOutput({"classification": self._mean(error, sample, modality, tuple(there.shape), there)}, {})

    def _plan(self, present: Tensor, device: torch.device) -> _Plan:
        key = present.numpy().tobytes() + str((tuple(present.shape), device)).encode()
        if key not in self._plans:
            if len(self._plans) > 256:
                self._plans.clear()
            self._plans[key] = self._planned(present, device)
        return self._plans[key]

    def _planned(self, present: Tensor, device: torch.device) -> _Plan:
        rows, modalities = paired_rows(present), present.shape[1]
        count = len(rows.own)
        pairs = torch.tensor(list(permutations(range(modalities), 2)), dtype=torch.long).reshape(-1, 2)
        tensors = (
            rows.branch[:count],
            torch.cat([rows.own, rows.moving]),
            torch.cat([rows.own, rows.fixed_own]),
            rows.sample,
            rows.branch[count:] - modalities,
            present[:, pairs[:, 0]] & present[:, pairs[:, 1]],
        )
        moved = (x.to(device, non_blocking=True) for x in tensors)
        return _Plan(rows.branch[:count].tolist(), rows.frame.tolist(), *moved)

    def _reconstruct(self, anatomy: Tensor, code: Tensor, plan: _Plan) -> Tensor:
        """All reconstructions of a step; what an anatomy contributes is computed once for all codes."""
        decoder = self.network.decoder
        if decoder.out.conditional:
            return self.network.decode(anatomy[plan.anatomy], code[plan.code], plan.target)
        return decoder.reconstruct(decoder.maps(anatomy), code[plan.code], rows=plan.anatomy)

    def _sampled(self, mean: Tensor, log_variance: Tensor | None) -> Tensor:
        if log_variance is None or not self.training:
            return mean
        return mean + torch.randn_like(mean) * (0.5 * log_variance).exp()

    @staticmethod
    def _mean(values: Tensor, row: Tensor, column: Tensor, shape: tuple[int, ...], mask: Tensor) -> Tensor:
        """Values of rows and columns, averaged over the rows of each column and then over columns."""
        return mean_of_columns(values.new_zeros(shape).index_put((row, column), values), mask)

    @torch.no_grad()
    def _follow(self, code: Tensor, modality: Tensor) -> None:
        """Move the mean code of each modality towards that of the batch, over all processes."""
        network = self.network
        table = torch.cat([at_least_float32(code), torch.ones_like(code[:, :1], dtype=torch.float32)], 1)
        sums = group_sums(table, modality, network.num_modalities, differentiable=False)
        counts = sums[:, -1:]
        mean = (sums[:, :-1] / counts.clamp(min=1)).to(network.mean_code)
        step = self.momentum * (counts > 0).to(mean)
        # the first codes are taken as they are
        step = torch.where((network.mean_code == 0).all(1, keepdim=True) & (counts > 0), torch.ones_like(step), step)
        network.mean_code.lerp_(mean, step)
