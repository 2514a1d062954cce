# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Several predictions of one volume: their mean, how unsure it is, and how far they agree."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import torch
from monai.inferers import Inferer
from torch import Tensor

from monai_mmseg.inferers.samples import KINDS, RANDOM, Case, other_weights
from monai_mmseg.metrics.quality import expected_dice, label_dice, normalised_entropy


class SampledInferer(Inferer):
    """Runs another inferer on several variants of a volume, and tells how far the results agree.

    When to use: for a map of where a segmentation is unsure, and for its quality without a label. Costs the time of
    one inference a sample (table in :meth:`__call__`), two volumes of probabilities, and a byte a voxel and sample.

    Args:
        inferer: of volumes, for example :class:`~monai_mmseg.inferers.ModalitySliceInferer`.
        samples: kinds of :data:`~monai_mmseg.inferers.samples.KINDS`: ``"shift"``, ``"mirror"``, ``"contrast"`` (any
            network), ``"dropout"`` (with drop-out), ``"subsets"`` (several modalities at a time), ``"anatomies"``,
            ``"style"`` (DAFNet).
        checkpoints: files of other weights of the network, such as those of other folds: one sample each.
        draws: samples of each kind that is random.
        labels_of: whose logits come back: ``"network"``, as without samples, or ``"mean"`` of all samples.
        seed: of the random ones; every volume is given the same.

    Raises:
        ValueError: a kind is unknown, no sample is asked for, or the network does not fit.
        FileNotFoundError: a checkpoint is not there.

    Reference:
        Roy et al., "Bayesian QuickNAT", NeuroImage 2019 (arXiv:1811.09800): Dice of pairs of samples as a measure of
        quality; Wang et al., "Aleatoric uncertainty estimation with test-time augmentation", Neurocomputing 2019
        (arXiv:1807.07356).

    Examples:
        >>> from monai.inferers import SliceInferer
        >>> infer = SampledInferer(SliceInferer(roi_size=(8, 8), spatial_dim=2), ["mirror"])
        >>> found = infer(torch.rand(1, 1, 8, 8, 3), lambda image: torch.cat([image, 1 - image], 1))
        >>> {name: tuple(value.shape) for name, value in found.items()}
        {'pred': (1, 2, 8, 8, 3), 'uncertainty': (1, 1, 8, 8, 3), 'expected_dice': (1, 2), 'pairwise_dice': (1, 2)}
        >>> found["pairwise_dice"].tolist()  # a network of single voxels does not mind mirrors
        [[1.0, 1.0]]
    """

    def __init__(
        self,
        inferer: Callable[..., Any],
        samples: Sequence[str] = ("shift",),
        *,
        checkpoints: Sequence[str] = (),
        draws: int = 4,
        labels_of: Literal["network", "mean"] = "network",
        seed: int = 0,
    ) -> None:
        super().__init__()
        kinds = [samples] if isinstance(samples, str) else list(samples)
        if unknown := [kind for kind in kinds if kind not in KINDS]:
            close = get_close_matches(str(unknown[0]), KINDS, 1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"samples must be of {list(KINDS)}, got {unknown[0]!r}.{hint}")
        if not kinds and not checkpoints:
            raise ValueError("samples or checkpoints must name at least one, got neither.")
        if labels_of not in ("network", "mean"):
            raise ValueError(f"labels_of must be 'network' or 'mean', got {labels_of!r}.")
        if draws < 1:
            raise ValueError(f"draws must be at least 1, got {draws}.")
        if missing := [str(path) for path in checkpoints if not Path(path).is_file()]:
            raise FileNotFoundError(f"checkpoints: there is no file {missing[0]}.")
        self.inferer, self.samples, self.checkpoints = inferer, kinds, [str(path) for path in checkpoints]
        self.draws, self.labels_of, self.seed = draws, labels_of, seed
        self._states: dict[str, Any] = {}

    @property
    def description(self) -> str:
        """Which samples are taken, in one line: what a foretold quality depends on."""
        names = [f"{kind} x {self.draws}" if kind in RANDOM else kind for kind in self.samples]
        others = (f"{Path(path).name} {_digits(path)}" for path in self.checkpoints)  # those of all folds share a name
        return " + ".join([*names, *others]) + f", labels of {self.labels_of}"

    def __call__(self, inputs: Tensor, network: Any, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Prediction, entropy and agreement.

        ==========================  =====================================================
        kind                        samples beside the plain one
        ==========================  =====================================================
        shift, contrast             4
        mirror                      3
        dropout, style              ``draws``
        subsets                     one for each present modality, where there are several
        anatomies                   2, where there is more than one modality
        checkpoints                 one each
        ==========================  =====================================================

        Args:
            inputs: ``(B, C, X, Y, Z)``, NaN where a modality is absent; slices lie along Z.
            network: gives logits.
            *args: for the inferer, as are all further keywords.
            **kwargs: see there.

        Returns:
            ``pred``: logits ``(B, K, X, Y, Z)``, with ``labels_of="mean"`` the logarithm of the mean probabilities;
            ``uncertainty``: entropy of the mean probabilities in [0, 1], ``(B, 1, X, Y, Z)``; ``expected_dice`` of the
            segmentation under them and mean ``pairwise_dice`` of all samples (NaN: there is one alone), ``(B, K)``.

        Raises:
            ValueError: when the network does not fit a kind.
        """

        def run(volumes: Tensor, other: Any) -> Tensor:
            logits: Tensor = self.inferer(volumes, other, *args, **kwargs)
            return logits

        logits = run(inputs, network)
        seen = _Seen(logits)
        case = Case(run, inputs, network, self.draws, self.seed)
        for sample in chain(*(KINDS[kind](case) for kind in self.samples), self._others(case)):
            seen.add(sample)
        mean = seen.mean()
        if self.labels_of == "mean":
            logits = mean.clamp_min(1e-30).log()
        labels = logits.argmax(1)
        foretold = torch.stack([expected_dice(*one) for one in zip(mean, labels, strict=True)])
        return {
            "pred": logits,
            "uncertainty": normalised_entropy(mean),
            "expected_dice": foretold,
            "pairwise_dice": seen.agreement(),
        }

    def _others(self, case: Case) -> Iterator[Tensor]:
        for path in self.checkpoints:
            if path not in self._states:
                self._states[path] = torch.load(path, map_location=case.inputs.device, weights_only=True)
            with other_weights(case.network, self._states[path]):
                drawn = case.run(case.inputs, case.network)
            yield drawn


def _digits(path: str) -> str:
    """What tells a file from others of its name."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12]


class _Seen:
    """Running sums over samples."""

    def __init__(self, logits: Tensor) -> None:
        self.total = torch.softmax(logits.float(), 1)
        self.classes = logits.shape[1]
        self.maps = [_classes(logits)]
        self.pairs = logits.new_zeros(logits.shape[:2], dtype=torch.float64)

    def add(self, logits: Tensor) -> None:
        self.total += torch.softmax(logits.float(), 1)
        new = _classes(logits)
        dice = partial(label_dice, classes=self.classes)
        for old in self.maps:
            self.pairs += torch.stack([dice(*pair) for pair in zip(old, new, strict=True)])
        self.maps.append(new)

    def mean(self) -> Tensor:
        return self.total / len(self.maps)

    def agreement(self) -> Tensor:
        count = len(self.maps) * (len(self.maps) - 1) // 2
        return self.pairs / count if count else torch.full_like(self.pairs, torch.nan)


def _classes(logits: Tensor) -> Tensor:
    """A byte a voxel, where there are few classes."""
    return logits.argmax(1).to(torch.uint8 if logits.shape[1] <= 256 else torch.int32)
