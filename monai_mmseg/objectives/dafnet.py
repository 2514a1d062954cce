# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What DAFNet minimises: one generator phase and two discriminator phases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from monai_mmseg.losses.dice import segmentation_loss
from monai_mmseg.losses.distances import gaussian_kl, least_squares_real, mean_absolute, offset_penalty
from monai_mmseg.losses.inputs import at_least_float32, onehot_labels
from monai_mmseg.losses.masked import group_means
from monai_mmseg.networks.layers.overlap import anatomy_overlap
from monai_mmseg.networks.nets.dafnet.dafnet import DAFNet
from monai_mmseg.networks.nets.dafnet.modality_encoder import StyleOutput
from monai_mmseg.objectives.base import Objective, PhaseOutput
from monai_mmseg.objectives.dafnet_target import OPTIONAL, Stage, TargetParts, target_terms
from monai_mmseg.objectives.judging import draw_rows, judged, resting
from monai_mmseg.objectives.rows import PairedRows, candidate_means, paired_rows

Batch = Mapping[str, Any]
RAMPED = ("adversarial_mask", "reconstruction", "adversarial_image", "kl", "latent", "agreement")


class DAFNetObjective(Objective):
    """Disentangle, align and fuse, for ``M`` modalities: Chartsias et al., IEEE TMI 2020, arXiv:1911.04417.

    Use it to train a :class:`~monai_mmseg.networks.nets.DAFNet` on slices of several modalities of the same subjects,
    any of which may be absent or not annotated. Each term is a **sum over branches** (an own path per modality, one per
    ordered pair of modalities) of the **mean over the rows that exist**; a branch without rows adds zero.

    ======================  =========================================================================  ======
    generator term          what                                                                       weight
    ======================  =========================================================================  ======
    ``supervised``          (1 - Dice) + 0.01 * weighted cross-entropy, own and deformed                   10
    ``adversarial_mask``    ``mean (D_M(h(s)) - 1)^2``, own and deformed, labelled or not                   1
    ``reconstruction``      ``mean |x - g(s, z)|``, own and deformed anatomy                                1
    ``adversarial_image``   ``mean (D_i(g(s, z)) - 1)^2``                                                   1
    ``kl``                  ``KL(q(z|s, x) || N(0, I))``                                                  0.1
    ``latent``              ``mean |z~ - mu(s, g(s, z~))|``, ``z~ ~ N(0, I)``                               1
    ``offset``              mean squared control-point offset (small-scale training only)                   0
    ``randomised``          as ``supervised``: sources in random contrasts through the target's encoder     0
    ``own_supervision``     the same of own unlabelled targets, against what moved anatomies give           0
    ``agreement``           own, fused and randomised predictions of unlabelled targets, to their mean      0
    ======================  =========================================================================  ======

    The last three are not of the paper and exist only with a weight. In the first ``pretraining`` steps only
    ``supervised`` (of own anatomies) and ``randomised`` are there, the others are zero, and the discriminators
    rest; then all, and the running statistics of the normalisation follow the real images alone.

    The phases ``mask_discriminator`` and ``image_discriminators`` hold ``least_squares`` (``mean (D(real) - 1)^2 +
    mean D(fake)^2``) and ``spectral`` (the paper code's soft penalty; zero unless the discriminators ask for it). They
    reuse the generator's outputs, detached. When ``mask_discriminator`` is updated ``M`` times a step (the paper: two),
    update ``u`` sees the fakes in the frame of modality ``u``; with one update it sees all frames.

    With ``network.num_candidates = k > 1`` the cross terms are weighted sums over the ``k`` candidate slices, with the
    balancer's weights; the adversarial terms see the first candidate only. The terms ``pair_weight_1`` to
    ``pair_weight_k``, of weight 0, record the mean of these (the paper's Fig. 6); the first is the closest slice.

    Differs from the paper: one optimiser for labelled and unlabelled samples, which may share a batch; cross-entropy
    has its arguments in the named order unless ``swapped_cross_entropy``; the image discriminators' fakes are the
    generator's own renderings (own and deformed anatomy), without the extra one of an anatomy deformed away; real masks
    are the annotated masks of the batch.

    Args:
        network: the network that is deployed.
        mask_discriminator: scores foreground masks ``(N, K - 1, H, W)``.
        image_discriminators: one per modality, score images ``(N, 1, H, W)``.
        weights: ``{phase: {term: weight}}`` that replace defaults; unknown names are errors.
        swapped_cross_entropy: exchange prediction and truth in the cross-entropy, as the released code does.
        reencode_anatomy: let the latent term encode the anatomy of the rendered image, as the paper writes, instead of
            reusing the anatomy it was rendered from.
        align_start: number of generator steps, after the pretraining, in which anatomies are passed on undeformed.
        pretraining: number of generator steps with the supervised terms of each image's own anatomy alone.
        ramp: number of generator steps, after the pretraining, over which the weights of the adversarial terms,
            ``reconstruction``, ``kl``, ``latent`` and ``agreement`` grow from zero.

    Raises:
        ValueError: if the number of image discriminators is not the number of modalities, a weight is misnamed, a
            number of steps is negative, or an optional term has a weight and the network one modality.

    Examples:
        >>> from monai_mmseg.networks.nets import AdversarialDiscriminator, DAFNet
        >>> size = (48, 48)
        >>> net = DAFNet(2, 1, 3, modalities=["cine", "lge"], target="lge", spatial_size=size, features=(2, 2, 2, 2, 2))
        >>> dis = [AdversarialDiscriminator(c, size, features=2) for c in (2, 1, 1)]
        >>> objective = DAFNetObjective(net, dis[0], dis[1:])
        >>> batch = {"image": torch.rand(2, 2, *size), "label": torch.zeros(2, 2, *size, dtype=torch.long),
        ...          "present": torch.ones(2, 2, dtype=torch.bool), "labelled": torch.tensor([[True, False]] * 2)}
        >>> sorted(objective(batch, "generator").terms)
        ['adversarial_image', 'adversarial_mask', 'kl', 'latent', 'offset', 'reconstruction', 'supervised']
    """

    network: DAFNet
    phases: tuple[str, ...] = ("generator", "mask_discriminator", "image_discriminators")
    default_weights: ClassVar[dict[str, dict[str, float]]] = {
        "generator": {
            "supervised": 10.0,
            "adversarial_mask": 1.0,
            "reconstruction": 1.0,
            "adversarial_image": 1.0,
            "kl": 0.1,
            "latent": 1.0,
            "offset": 0.0,
        },
        "mask_discriminator": {"least_squares": 1.0, "spectral": 1.0},
        "image_discriminators": {"least_squares": 1.0, "spectral": 1.0},
    }

    outside_graphs: ClassVar[tuple[str, ...]] = ("_plan", "_optional")

    def __init__(
        self,
        network: DAFNet,
        mask_discriminator: nn.Module,
        image_discriminators: Sequence[nn.Module],
        *,
        weights: Mapping[str, Mapping[str, float]] | None = None,
        swapped_cross_entropy: bool = False,
        reencode_anatomy: bool = False,
        align_start: int = 0,
        pretraining: int = 0,
        ramp: int = 0,
    ) -> None:
        self.candidates = int(network.num_candidates)
        names = [f"pair_weight_{n + 1}" for n in range(self.candidates)]
        self.pair_weights = names if self.candidates > 1 else []
        recorded = {**self.default_weights["generator"], **dict.fromkeys([*self.pair_weights, *OPTIONAL], 0.0)}
        vars(self)["default_weights"] = {**self.default_weights, "generator": recorded}
        super().__init__(network, weights=weights)
        # without a weight they are not even zero: a run repeats to the bit
        terms = self.weights["generator"]
        self.weights["generator"] = {name: w for name, w in terms.items() if w != 0 or name not in OPTIONAL}
        self.asked = [name for name in OPTIONAL if name in self.weights["generator"]]
        modalities = len(network.modalities)
        if (given := len(image_discriminators)) != modalities:
            wanted = f"one network per modality {list(network.modalities)}"
            raise ValueError(f"image_discriminators must hold {wanted}, got {given}.")
        for name, steps in (("align_start", align_start), ("pretraining", pretraining), ("ramp", ramp)):
            if steps < 0:
                raise ValueError(f"{name} must not be negative, got {steps}.")
        if modalities == 1 and self.asked:
            raise ValueError(f"weights of {self.asked} need two or more modalities, the network has one.")
        self.mask_discriminator = mask_discriminator
        self.image_discriminators = nn.ModuleList(image_discriminators)
        self.num_modalities, self.num_classes = modalities, int(network.out_channels)
        self.swapped_cross_entropy, self.reencode_anatomy = bool(swapped_cross_entropy), bool(reencode_anatomy)
        self.align_start, self.pretraining, self.ramp = int(align_start), int(pretraining), int(ramp)
        self.iteration = 0
        self._rows: dict[bytes, PairedRows] = {}

    def get_extra_state(self) -> dict[str, int]:
        """The step counter, which a resumed run needs for the stages of the training."""
        return {"iteration": self.iteration}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Take the step counter back."""
        self.iteration = int(state["iteration"])

    def parameters_of(self, phase: str) -> list[nn.Parameter]:
        """Parameters that ``phase`` trains; the three phases share none."""
        part: nn.Module = {
            "generator": self.network,
            "mask_discriminator": self.mask_discriminator,
            "image_discriminators": self.image_discriminators,
        }[self.check_phase(phase)]
        return list(part.parameters())

    def forward(self, batch: Batch, phase: str, previous: Mapping[str, Any] | None = None) -> PhaseOutput:
        """Terms of one phase.

        Args:
            batch: ``image`` ``(B, M*k, H, W)`` in [-1, 1], ``label`` ``(B, M, H, W)`` class maps, ``present`` and
                ``labelled`` bool ``(B, M)`` (kept on the CPU by the trainer, so that a step never waits for the GPU).
            phase: one of :attr:`phases`.
            previous: outputs of the generator phase of the same step; the discriminators need them.

        Returns:
            Unweighted terms, and for the generator the detached fakes and the own logits of the target (``pred``).

        Raises:
            ValueError: for an unknown phase, or a discriminator phase without the generator's outputs.
        """
        rows, stage = self._plan(batch, phase)
        if self.check_phase(phase) == "generator":
            return self._generator(batch, rows, stage)
        if not previous or "mask_fakes" not in previous:
            given = sorted(previous or {})
            raise ValueError(f"previous must hold the outputs of phase 'generator' for phase {phase!r}, got {given}.")
        if stage.pretrains:
            return resting(self.mask_discriminator if phase == "mask_discriminator" else self.image_discriminators)
        judge = self._mask_discriminator if phase == "mask_discriminator" else self._image_discriminators
        return judge(batch, rows, previous)

    def total(self, terms: Mapping[str, Tensor], phase: str) -> Tensor:
        """Weighted sum of the terms of a phase; while the ramp lasts, with smaller weights of some."""
        done = self.iteration - self.pretraining  # the step that made the terms is counted
        if phase != "generator" or not self.training or not 0 < done < self.ramp:  # before, they are zero
            return super().total(terms, phase)
        share = done / self.ramp
        return super().total({n: term * share if n in RAMPED else term for n, term in terms.items()}, phase)

    # ---- generator
    def _generator(self, batch: Batch, rows: PairedRows, stage: Stage) -> PhaseOutput:
        net, weight = self.network, self.weights["generator"]
        image = self._candidate_images(batch)
        anatomy = net.stacked_anatomies([image[b, m].flatten(0, 1) for m, b in enumerate(rows.encode)])
        own = anatomy if self.candidates == 1 else anatomy[rows.own]
        moved, offsets, candidate_weight = self._deform(anatomy, rows, stage.align)
        num_own = len(rows.own)
        own_image = image[rows.sample[:num_own], rows.frame[:num_own], 0]

        logits = at_least_float32(net.segment(torch.cat([own, moved])))
        probs = logits.softmax(1)
        terms = {"supervised": self._supervised(probs, batch, rows, candidate_weight, own_only=stage.pretrains)}
        rendered = probs.new_zeros(0, 1, *probs.shape[2:])
        if stage.pretrains:
            terms = {name: terms.get(name, probs.new_zeros(())) for name in weight}
        else:
            terms["adversarial_mask"] = self._adversarial_mask(probs, rows, weight["adversarial_mask"])
            style = net.style(own, own_image)
            terms["kl"] = self._mean(gaussian_kl(style.mu, style.logvar), rows, own_only=True)
            rendered, again, sampled = self._render(own, moved, style, rows, weight)
            terms["reconstruction"] = self._reconstruction(rendered, own_image, rows, candidate_weight)
            terms["adversarial_image"] = self._adversarial_image(rendered, rows, weight["adversarial_image"])
            terms["latent"] = self._latent(own, again, sampled, rows)
            num_pairs = max(rows.num_branches - self.num_modalities, 1)
            terms["offset"] = self._mean(offset_penalty(offsets), rows, pairs_only=True) / num_pairs
            if self.pair_weights:
                means = candidate_means(candidate_weight[num_own:].detach(), self.candidates)
                terms |= zip(self.pair_weights, means.unbind(), strict=True)
        if self.asked:
            terms |= self._optional(batch, image[:, :, 0], torch.cat([own, moved]), probs, rows, stage)
        outputs = {"mask_fakes": probs[:, 1:], "image_fakes": rendered, "logits": logits[:num_own]}
        return PhaseOutput(terms, {name: one.detach() for name, one in outputs.items()})

    def _optional(
        self, batch: Batch, image: Tensor, anatomy: Tensor, probs: Tensor, rows: PairedRows, stage: Stage
    ) -> dict[str, Tensor]:
        """The further terms; their pass through the networks leaves running statistics alone, which a graph cannot."""
        labelled = batch["labelled"].to(image.device, non_blocking=True)
        parts = TargetParts(self.network, image, anatomy, probs, batch["label"], labelled, rows)
        return target_terms(parts, self.asked, stage)

    def _deform(self, anatomy: Tensor, rows: PairedRows, align: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Deformed anatomies, offsets, and the weight of every row (1, or the balancer's for candidates)."""
        moving, fixed = anatomy[rows.moving], anatomy[rows.fixed]
        if align:
            moved, offsets = self.network.deform(moving, fixed)
        else:
            moved, offsets = moving, moving.new_zeros(len(moving), 1, 2)
        weight = anatomy.new_ones(len(rows.sample))
        if self.candidates > 1:
            overlap = anatomy_overlap(moved, fixed).view(-1, self.candidates)
            assert self.network.balancer is not None
            weight = torch.cat([weight[: len(rows.own)], self.network.balancer(overlap).flatten()])
        return moved, offsets, weight

    def _supervised(
        self, probs: Tensor, batch: Batch, rows: PairedRows, candidate_weight: Tensor, *, own_only: bool
    ) -> Tensor:
        given = rows.sample, rows.frame, rows.branch, probs, candidate_weight
        sample, frame, group, probs, weight = [one[: len(rows.own)] for one in given] if own_only else given
        onehot, labelled = self._onehot(batch["label"][sample, frame]), self._labelled(batch, sample, frame)
        count, swapped = rows.num_branches, self.swapped_cross_entropy
        error = segmentation_loss(probs, onehot, labelled, group=group, num_groups=count, swapped=swapped)
        return self._mean(error * weight, rows, mask=labelled, own_only=own_only)

    def _adversarial_mask(self, probs: Tensor, rows: PairedRows, weight: float) -> Tensor:
        if weight == 0:
            return probs.new_zeros(())
        shown = probs[:, 1:] if self.candidates == 1 else probs[rows.first, 1:]
        score = least_squares_real(self.mask_discriminator(shown)).flatten()
        return group_means(score, rows.branch[rows.first], rows.num_branches).sum()

    def _render(
        self, own: Tensor, moved: Tensor, style: StyleOutput, rows: PairedRows, weight: Mapping[str, float]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Images of every row in the style of the frame's modality, those of the own rows in a sampled style, and it.

        Without the terms that need them there are no images.
        """
        drawn, anatomies, styles = own.new_zeros(0, self.network.style_channels), [own], []
        num_rendered = 0
        if weight["reconstruction"] != 0 or weight["adversarial_image"] != 0:
            shown = style.mu + torch.exp(0.5 * style.logvar) * torch.randn_like(style.mu)
            anatomies, styles = [own, moved], [shown, shown[rows.fixed_own]]
            num_rendered = len(own) + len(moved)
        if weight["latent"] != 0:
            drawn = torch.randn(len(own), self.network.style_channels, device=own.device, dtype=own.dtype)
            styles.append(drawn)
        if not styles:
            return own.new_zeros(0, 1, *own.shape[2:]), own.new_zeros(0, 1, *own.shape[2:]), drawn
        images = at_least_float32(self.network.decode(torch.cat(anatomies), torch.cat(styles)))
        return images[:num_rendered], images[num_rendered:], drawn

    def _reconstruction(self, rendered: Tensor, own_image: Tensor, rows: PairedRows, weight: Tensor) -> Tensor:
        if not len(rendered):
            return rendered.sum()
        target = torch.cat([own_image, own_image[rows.fixed_own]])
        return self._mean(mean_absolute(rendered, target) * weight, rows)

    def _adversarial_image(self, rendered: Tensor, rows: PairedRows, weight: float) -> Tensor:
        if weight == 0 or not len(rendered):
            return rendered.new_zeros(())
        judged = zip(rows.frames, self.image_discriminators, strict=True)
        score = torch.cat([least_squares_real(judge(rendered[index])).flatten() for index, judge in judged])
        return group_means(score, rows.branch[torch.cat(rows.frames)], rows.num_branches).sum()

    def _latent(self, own: Tensor, image: Tensor, sampled: Tensor, rows: PairedRows) -> Tensor:
        if not len(image):
            return own.new_zeros(())
        anatomy = own
        if self.reencode_anatomy:
            parts = image.split([len(index) for index in rows.encode])
            anatomy = self.network.stacked_anatomies(parts)
        return self._mean(mean_absolute(self.network.style(anatomy, image).mu, sampled), rows, own_only=True)

    # ---- discriminators
    def _mask_discriminator(self, batch: Batch, rows: PairedRows, previous: Mapping[str, Any]) -> PhaseOutput:
        update, updates = int(previous.get("update", 0)), int(previous.get("updates", 1))
        fakes = rows.frames[update] if updates == self.num_modalities else rows.first
        num_own = len(rows.own)
        real = self._onehot(batch["label"][rows.sample[:num_own], rows.frame[:num_own]])
        labelled = self._labelled(batch, rows.sample[:num_own], rows.frame[:num_own])
        whole = real.sum(1).flatten(1).amin(1) > 0  # a mask with holes is no real one
        labelled = whole if labelled is None else labelled & whole
        fake = previous["mask_fakes"][draw_rows(fakes, len(batch["image"]))]
        return judged(self.mask_discriminator, real[:, 1:], fake, labelled)

    def _image_discriminators(self, batch: Batch, rows: PairedRows, previous: Mapping[str, Any]) -> PhaseOutput:
        image = self._candidate_images(batch)
        parts = []
        for m, discriminator in enumerate(self.image_discriminators):
            index = rows.frames[m] if len(previous["image_fakes"]) else rows.frames[m][:0]
            fake = previous["image_fakes"][draw_rows(index, len(rows.encode[m]))]
            parts.append(judged(discriminator, image[rows.encode[m], m, 0], fake).terms)
        return PhaseOutput({name: torch.stack([p[name] for p in parts]).sum() for name in parts[0]}, {})

    # ---- helpers
    @staticmethod
    def _labelled(batch: Batch, sample: Tensor, frame: Tensor) -> Tensor | None:
        """Which rows carry a label; ``None`` where all do, which saves masking them."""
        labelled: Tensor = batch["labelled"]
        # reading it would make a GPU wait, and cut a compiled graph
        if labelled.device.type == "cpu" and not torch.compiler.is_compiling() and bool(labelled.all()):
            return None
        return labelled.to(sample.device, non_blocking=True)[sample, frame]

    def _plan(self, batch: Batch, phase: str) -> tuple[PairedRows, Stage]:
        """The rows of the batch and the stage of the training; a graph that counted steps would be made anew."""
        counted = int(self.training and phase == "generator")
        step = self.iteration - int(self.training) + counted - self.pretraining
        stage = Stage(self.training and step < 0, not self.training or step >= self.align_start)
        self.iteration += counted
        present: Tensor = batch["present"].cpu()
        device = batch["image"].device
        key = present.numpy().tobytes() + str((tuple(present.shape), device)).encode()
        if key not in self._rows:
            if len(self._rows) > 256:
                self._rows.clear()
            self._rows[key] = paired_rows(present, self.candidates, device)
        return self._rows[key], stage

    def _candidate_images(self, batch: Batch) -> Tensor:
        image: Tensor = batch["image"]
        expected = self.num_modalities * self.candidates
        if image.shape[1] != expected:
            raise ValueError(
                f"image must have {self.num_modalities} modalities x {self.candidates} candidates = {expected} "
                f"channels, got shape {tuple(image.shape)}."
            )
        return image.unflatten(1, (self.num_modalities, self.candidates)).unsqueeze(3)

    def _onehot(self, label: Tensor) -> Tensor:
        return onehot_labels(label.unsqueeze(1), self.num_classes)

    def _mean(
        self,
        values: Tensor,
        rows: PairedRows,
        *,
        mask: Tensor | None = None,
        own_only: bool = False,
        pairs_only: bool = False,
    ) -> Tensor:
        """Sum over branches of the mean over the samples of each."""
        num_own = len(rows.own)
        branch = rows.branch[:num_own] if own_only else rows.branch[num_own:] if pairs_only else rows.branch
        if self.candidates > 1 and not own_only:
            # a mean over k candidate rows of one sample, whose weights sum to one, times k is their weighted sum
            scale = values.new_full((rows.num_branches,), float(self.candidates))
            scale[: self.num_modalities] = 1.0
            values = values * scale[branch] if not pairs_only else values
        return group_means(values, branch, rows.num_branches, mask).sum()
