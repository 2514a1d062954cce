# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What SDNet minimises: labelled and unlabelled images in one step, a regressor of z, and a mask discriminator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from monai_mmseg.losses.distances import gaussian_kl, least_squares_real, mean_absolute
from monai_mmseg.losses.inputs import at_least_float32, onehot_labels
from monai_mmseg.losses.masked import group_means, masked_mean
from monai_mmseg.networks.nets.dafnet.modality_encoder import StyleOutput
from monai_mmseg.networks.nets.sdnet import SDNet
from monai_mmseg.networks.nets.select_modality import SelectModality
from monai_mmseg.objectives.base import Objective, PhaseOutput
from monai_mmseg.objectives.judging import draw_rows, judged

Batch = Mapping[str, Any]
SMOOTH = 0.1  # of SDNet's Dice


class _Rows(NamedTuple):
    """Images of a batch that are there, one a row."""

    image: Tensor  # (N, 1, *spatial)
    onehot: Tensor  # (N, K, *spatial), zeros where there is no label
    labelled: Tensor  # (N,), bool
    unlabelled: Tensor  # (U,), indexes of the rows without label


class SDNetObjective(Objective):
    """Segmentation, reconstruction and a mask adversary of single images: Chartsias et al., MedIA 2019.

    Use it to train a :class:`~monai_mmseg.networks.nets.SDNet` behind a
    :class:`~monai_mmseg.networks.nets.SelectModality`, with the images of one modality (``sources=[(1, 1)]``) or of
    several, mixed (``[(0, 0), (1, 1)]``), of which any may lack its label.

    ======================  ==================================================================  ======
    generator term          what                                                                weight
    ======================  ==================================================================  ======
    ``supervised``          1 - Dice of the foreground, over labelled images                        10
    ``adversarial_mask``    ``mean (D(h(s)) - 1)^2``, over unlabelled images                        10
    ``reconstruction``      ``mean |x - g(s, z)|``, of labelled plus that of unlabelled images       1
    ``kl``                  ``KL(q(z|s, x) || N(0, I))``, likewise                                0.01
    ======================  ==================================================================  ======

    The phase ``latent`` has one term of its name and weight 1, ``mean |z~ - z|`` with ``z~ ~ N(0, I)`` and ``z`` drawn
    from the encoding of ``g(s, z~)``: it trains decoder and modality encoder once more, the anatomy ``s`` stands still.
    The phase ``mask_discriminator`` has ``least_squares`` (``mean (D(real) - 1)^2 + mean D(fake)^2``) and ``spectral``,
    the soft penalty; its fakes are drawn from the last masks that were predicted for unlabelled images. Dice is
    ``2 (sum p t + 0.1) / (sum p + sum t + 0.1)`` with all foreground classes in one sum.

    Differs from the paper: labelled and unlabelled images share a batch, a step and the batch statistics, where the
    original trains on a batch of each in turn and draws the unlabelled ones from all images; real masks are those of
    the batch. Without unlabelled images the discriminator learns nothing, for nobody asks it.

    Args:
        network: the network that is deployed.
        mask_discriminator: scores foreground masks ``(N, K - 1, *spatial)``.
        num_classes: ``K``, background included.
        sources: pairs (modality of the image, modality of the label).
        candidates: slices per modality in ``image``; the first one is used.
        pool_size: predicted masks that are kept for the discriminator.
        weights: ``{phase: {term: weight}}`` that replace defaults.

    Raises:
        TypeError: if the network is no SDNet behind a ``SelectModality``.
        ValueError: if ``sources`` is empty, ``pool_size`` is not positive, or a weight is misnamed.

    Reference:
        A. Chartsias et al., "Disentangled representation learning in cardiac image analysis", Medical Image Analysis
        2019, https://doi.org/10.1016/j.media.2019.101535.

    Examples:
        >>> from monai_mmseg.networks.nets import AdversarialDiscriminator
        >>> net = SelectModality(SDNet(2, 1, 3, spatial_size=(48, 48), features=(2, 4)), 1, 2)
        >>> objective = SDNetObjective(net, AdversarialDiscriminator(2, (48, 48), 2), 3, sources=[(0, 0), (1, 1)])
        >>> batch = {"image": torch.rand(2, 2, 48, 48), "label": torch.zeros(2, 2, 48, 48, dtype=torch.long),
        ...          "present": torch.ones(2, 2, dtype=torch.bool), "labelled": torch.tensor([[True, False]] * 2)}
        >>> sorted(objective(batch, "generator").terms)
        ['adversarial_mask', 'kl', 'reconstruction', 'supervised']
    """

    network: SelectModality
    phases: tuple[str, ...] = ("generator", "latent", "mask_discriminator")
    retraining: ClassVar[tuple[str, ...]] = ("latent",)
    default_weights: ClassVar[dict[str, dict[str, float]]] = {
        "generator": {"supervised": 10.0, "adversarial_mask": 10.0, "reconstruction": 1.0, "kl": 0.01},
        "latent": {"latent": 1.0},
        "mask_discriminator": {"least_squares": 1.0, "spectral": 1.0},
    }
    outside_graphs: ClassVar[tuple[str, ...]] = ("_rows", "_remember")

    def __init__(
        self,
        network: SelectModality,
        mask_discriminator: nn.Module,
        num_classes: int,
        *,
        sources: Sequence[Sequence[int]] = ((0, 0),),
        candidates: int = 1,
        pool_size: int = 50,
        weights: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        super().__init__(network, weights=weights)
        if not isinstance(getattr(network, "network", None), SDNet):
            raise TypeError(f"network must be a SelectModality of an SDNet, got {type(network).__name__}.")
        if not sources or any(len(pair) != 2 for pair in sources):
            raise ValueError(f"sources must hold pairs (image modality, label modality), got {sources!r}.")
        if pool_size < 1:
            raise ValueError(f"pool_size must be at least 1, got {pool_size}.")
        self.mask_discriminator = mask_discriminator
        self.num_classes, self.candidates, self.pool_size = int(num_classes), int(candidates), int(pool_size)
        self.image_modality = [int(i) for i, _ in sources]
        self.label_modality = [int(j) for _, j in sources]
        self._pool: Tensor | None = None

    @property
    def sdnet(self) -> SDNet:
        """The network behind the selection."""
        sdnet: SDNet = self.network.network  # type: ignore[assignment]
        return sdnet

    def get_extra_state(self) -> dict[str, Tensor | None]:
        """The last predicted masks, which a resumed run goes on with."""
        return {"pool": self._pool}

    def set_extra_state(self, state: dict[str, Tensor | None]) -> None:
        """Take the masks back."""
        self._pool = state["pool"]

    def parameters_of(self, phase: str) -> list[nn.Parameter]:
        """Parameters that ``phase`` trains; those of ``latent`` are part of the generator's."""
        parts: dict[str, list[nn.Module]] = {
            "generator": [self.network],
            "latent": [self.sdnet.modality_encoder, self.sdnet.decoder],
            "mask_discriminator": [self.mask_discriminator],
        }
        return [parameter for part in parts[self.check_phase(phase)] for parameter in part.parameters()]

    def forward(self, batch: Batch, phase: str, previous: Mapping[str, Any] | None = None) -> PhaseOutput:
        """Terms of one phase.

        Args:
            batch: a paired batch, see :class:`~monai_mmseg.objectives.DAFNetObjective`.
            phase: one of :attr:`phases`.
            previous: outputs of the generator phase of the same step; the other two need them.

        Returns:
            Unweighted terms, and for the generator the detached anatomies, foreground masks of the unlabelled rows and
            logits.

        Raises:
            ValueError: for an unknown phase, or a later one without the generator's outputs.
        """
        if self.check_phase(phase) == "generator":
            return self._generator(batch)
        if not previous or "anatomy" not in previous:
            got = sorted(previous or {})
            raise ValueError(f"previous must hold the outputs of phase 'generator' for phase {phase!r}, got {got}.")
        return self._latent(previous["anatomy"]) if phase == "latent" else self._discriminator(batch, previous)

    def _generator(self, batch: Batch) -> PhaseOutput:
        rows, net = self._rows(batch), self.sdnet
        if not len(rows.image):  # batch normalisation wants rows
            nothing = sum((p.sum() for p in self.parameters_of("generator")), rows.image.new_zeros(())) * 0
            none = rows.image.new_zeros(0)
            terms = {name: nothing + mean for name, mean in _means(none, none, none, none, rows.labelled).items()}
            empty = rows.image.new_zeros(0, self.num_classes, *rows.image.shape[2:])
            return PhaseOutput(terms, {"anatomy": rows.image, "mask_fakes": empty[:, 1:], "logits": empty})
        anatomy = net.anatomy(rows.image)
        logits = at_least_float32(net.segment(anatomy))
        probs = logits.softmax(1)
        style = net.style(anatomy, rows.image)
        rendered = at_least_float32(net.decode(anatomy, _drawn(style)))
        fakes = probs[rows.unlabelled, 1:]
        judged = least_squares_real(self.mask_discriminator(fakes)).flatten()
        dice, error = smooth_dice_loss(probs, rows.onehot), mean_absolute(rendered, rows.image)
        terms = _means(dice, judged, error, gaussian_kl(style.mu, style.logvar), rows.labelled)
        kept = {"anatomy": anatomy, "mask_fakes": fakes, "logits": logits}
        return PhaseOutput(terms, {name: value.detach() for name, value in kept.items()})

    def _latent(self, anatomy: Tensor) -> PhaseOutput:
        net = self.sdnet
        if not len(anatomy):
            nothing = sum((p.sum() for p in self.parameters_of("latent")), anatomy.new_zeros(())) * 0
            return PhaseOutput({"latent": nothing + masked_mean(anatomy.new_zeros(0))}, {})
        wanted = torch.randn(len(anatomy), net.style_channels, device=anatomy.device, dtype=anatomy.dtype)
        found = _drawn(net.style(anatomy, net.decode(anatomy, wanted)))
        return PhaseOutput({"latent": masked_mean(mean_absolute(found, wanted))}, {})

    def _discriminator(self, batch: Batch, previous: Mapping[str, Any]) -> PhaseOutput:
        rows = self._rows(batch)
        if not previous.get("update", 0):
            self._remember(previous["mask_fakes"])
        pool = previous["mask_fakes"] if self._pool is None else self._pool.to(rows.image.device)
        # as many of each; real masks alone would teach it to call everything real
        real = rows.onehot[:, 1:] if len(pool) else rows.onehot[:0, 1:]
        fake = draw_rows(pool, len(real))
        return judged(self.mask_discriminator, real, fake, rows.labelled[: len(real)])

    def _remember(self, masks: Tensor) -> None:
        pool = masks if self._pool is None else torch.cat([self._pool.to(masks), masks])
        self._pool = pool[-self.pool_size :].clone() if len(pool) else None

    def _rows(self, batch: Batch) -> _Rows:
        present = batch["present"].cpu()[:, self.image_modality].T
        source, sample = present.nonzero(as_tuple=True)
        labelled = batch["labelled"].cpu().T[self.label_modality][source, sample]
        device = batch["image"].device
        image_at = torch.tensor(self.image_modality)[source] * self.candidates
        label_at = torch.tensor(self.label_modality)[source]
        unlabelled = (~labelled).nonzero()[:, 0]
        sample, image_at, label_at, labelled, unlabelled = (
            index.to(device, non_blocking=True) for index in (sample, image_at, label_at, labelled, unlabelled)
        )
        onehot = onehot_labels(batch["label"][sample, label_at].unsqueeze(1), self.num_classes)
        return _Rows(batch["image"][sample, image_at].unsqueeze(1), onehot, labelled, unlabelled)


def smooth_dice_loss(probs: Tensor, onehot: Tensor) -> Tensor:
    """1 - Dice of each row, with all foreground classes in one sum, and smoothed as SDNet does.

    The Dice exceeds 1 a little, and is 2 where both are empty: ``2 (sum p t + 0.1) / (sum p + sum t + 0.1)``.

    Args:
        probs: class probabilities, background first, ``(N, K, *spatial)``.
        onehot: one-hot labels of the same shape.

    Returns:
        Loss of shape ``(N,)``.

    Examples:
        >>> onehot = torch.eye(2)[torch.tensor([[0, 1, 1]])].movedim(-1, 1)  # three pixels
        >>> smooth_dice_loss(onehot, onehot)  # 1 - 2 * 2.1 / 4.1
        tensor([-0.0244])
    """
    pred, true = probs[:, 1:].flatten(1), onehot[:, 1:].flatten(1)
    return 1 - 2 * ((pred * true).sum(1) + SMOOTH) / (pred.sum(1) + true.sum(1) + SMOOTH)


def _means(dice: Tensor, judged: Tensor, error: Tensor, kl: Tensor, labelled: Tensor) -> dict[str, Tensor]:
    """Terms of the generator, of values a row; other processes wait for a count of rows, also where there is none."""
    group = 1 - labelled.long()
    return {
        "supervised": masked_mean(dice, labelled),
        "adversarial_mask": masked_mean(judged),
        "reconstruction": group_means(error, group, 2).sum(),
        "kl": group_means(kl, group, 2).sum(),
    }


def _drawn(style: StyleOutput) -> Tensor:
    """A sample of z of every row."""
    return style.mu + torch.exp(0.5 * style.logvar) * torch.randn_like(style.mu)
