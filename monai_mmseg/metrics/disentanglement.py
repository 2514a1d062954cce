# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""How well anatomy and modality are kept apart: four measures on tensors, whatever network made them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.utils import optional_import
from torch import Tensor

from monai_mmseg.metrics.distance_correlation import distance_correlation

_LogisticRegression, _ = optional_import("sklearn.linear_model", name="LogisticRegression")


class ModalityClassification(NamedTuple):
    """What :func:`modality_classification` returns: shares of test rows whose modality was told right."""

    accuracy: float  # from all dimensions of z
    per_dimension: list[float]  # from each single dimension
    chance: float  # always naming the modality that is most frequent in the training rows
    train_subjects: list[str]
    test_subjects: list[str]


class TrainingCodes(NamedTuple):
    """Codes of the subjects that the modality classifier of :func:`disentanglement_report` is trained on."""

    z: Tensor  # (N, D)
    modality: Tensor  # (N,)
    subjects: list[str]  # of each row


class LatentTraversal(NamedTuple):
    """What :func:`latent_traversal` returns; D dimensions of z, S values, ``*spatial`` of one image."""

    values: Tensor  # (S,)
    images: Tensor  # (D, S, *spatial)
    correlation: Tensor  # (D, *spatial), in [-1, 1], 0 where the intensity does not change
    difference: Tensor  # (D, *spatial), image at the last value minus image at the first


def modality_classification(
    z: Tensor,
    modality: Tensor,
    subjects: Sequence[str],
    *,
    test_subjects: Sequence[str] | None = None,
    test_fraction: float = 0.3,
    seed: int = 0,
) -> ModalityClassification:
    """Accuracy of a logistic regression that tells the modality from the modality code z.

    Use it to see whether z holds what differs between modalities, and in how many dimensions: a good split has one
    dimension that decides. Subjects, not rows, are split, because slices of one subject are alike.
    Source: DAFNet, sec. on disentanglement; doi:10.1109/TMI.2020.3036584. Differs from the paper: z is standardised
    with the training rows' mean and deviation before the regression.

    Args:
        z: codes (means of the posterior), shape ``(N, D)``.
        modality: index of the modality of each row, shape ``(N,)``.
        subjects: subject of each row, length N.
        test_subjects: subjects that are tested on; ``None`` samples ``test_fraction`` of them.
        test_fraction: share of the subjects, at least one.
        seed: of that sampling.

    Returns:
        Accuracies on the test subjects.

    Raises:
        ValueError: lengths differ, z is not finite, or no subject or only one modality is left to train on.

    Examples:
        >>> z = torch.tensor([[-1.0, 0.0], [1.0, 0.0]] * 4)
        >>> found = modality_classification(z, torch.tensor([0, 1] * 4), [s for s in "abcd" for _ in range(2)])
        >>> found.accuracy, found.per_dimension
        (1.0, [1.0, 0.5])
    """
    codes = _codes(z, "z")
    index = torch.as_tensor(modality).detach().cpu().numpy().astype(np.int64)
    names = np.array([str(name) for name in subjects])
    if index.shape != (len(codes),) or len(names) != len(codes):
        raise ValueError(
            f"modality and subjects must have one entry per row of z ({len(codes)}), got {len(index)} and {len(names)}."
        )
    tested = _test_subjects(sorted(set(names.tolist())), test_subjects, test_fraction, seed)
    test = np.isin(names, tested)
    trained = sorted(set(index[~test].tolist()))
    if len(trained) < 2:
        raise ValueError(f"modality must have at least two values among the training subjects, got {trained}.")
    mean, deviation = codes[~test].mean(0), codes[~test].std(0)
    codes = (codes - mean) / np.where(deviation > 0, deviation, 1.0)

    def accuracy(columns: np.ndarray[Any, np.dtype[np.float64]]) -> float:
        model = _LogisticRegression(max_iter=1000).fit(columns[~test], index[~test])
        return float((model.predict(columns[test]) == index[test]).mean())

    frequent = int(np.bincount(index[~test]).argmax())
    return ModalityClassification(
        accuracy(codes),
        [accuracy(codes[:, [dimension]]) for dimension in range(codes.shape[1])],
        float((index[test] == frequent).mean()),
        sorted(set(names[~test].tolist())),
        sorted(tested),
    )


def posterior_variance(logvar: Tensor) -> Tensor:
    """Mean posterior variance E[exp(logvar)] of each dimension of z, shape ``(D,)``.

    Use it to see which dimensions carry information: near 0 is informative, 1 is the prior, that is, unused.
    Source: DAFNet, sec. on disentanglement; doi:10.1109/TMI.2020.3036584.

    Args:
        logvar: log of the variance, shape ``(N, D)``.

    Raises:
        ValueError: ``logvar`` has no rows or another number of axes.

    Examples:
        >>> posterior_variance(torch.tensor([[0.0, -100.0], [0.0, 0.0]]))
        tensor([1.0000, 0.5000])
    """
    if logvar.ndim != 2 or len(logvar) == 0:
        raise ValueError(f"logvar must have shape (N, D) with N > 0, got {tuple(logvar.shape)}.")
    return logvar.detach().exp().mean(0)


@torch.no_grad()
def latent_traversal(
    anatomy: Tensor,
    mu: Tensor,
    decode: Callable[[Tensor, Tensor], Tensor],
    *,
    limits: tuple[float, float] = (-3.0, 3.0),
    steps: int = 7,
) -> LatentTraversal:
    """Images of one anatomy while one dimension of z after the other runs through a range.

    Use it to see what a dimension does: the correlation map shows where intensity follows it, the difference how much.
    Source: DAFNet, latent space arithmetic; doi:10.1109/TMI.2020.3036584.

    Args:
        anatomy: one anatomy, shape ``(1, C, *spatial)``.
        mu: its modality code, shape ``(1, D)``; the dimensions that do not run keep these values.
        decode: ``(anatomy, z) -> image`` for several rows, image ``(N, 1, *spatial)``.
        limits: first and last value.
        steps: number of values, at least 2.

    Returns:
        Values, images, per-pixel Pearson correlation and difference of the extremes.

    Raises:
        ValueError: more than one row, fewer than two steps, or a decoder with other than one image channel.

    Examples:
        >>> add = lambda anatomy, z: anatomy[:, :1] * z[:, :1, None, None]
        >>> found = latent_traversal(torch.ones(1, 2, 4, 4), torch.zeros(1, 3), add, steps=3)
        >>> found.values.tolist(), found.correlation[:, 0, 0].tolist(), found.difference[:, 0, 0].tolist()
        ([-3.0, 0.0, 3.0], [1.0, 0.0, 0.0], [6.0, 0.0, 0.0])
    """
    if len(anatomy) != 1 or mu.ndim != 2 or len(mu) != 1:
        raise ValueError(f"anatomy and mu must have one row, got {tuple(anatomy.shape)} and {tuple(mu.shape)}.")
    if steps < 2:
        raise ValueError(f"steps must be at least 2, got {steps}.")
    values = torch.linspace(limits[0], limits[1], steps, device=mu.device, dtype=mu.dtype)
    rows = []
    for dimension in range(mu.shape[1]):
        z = mu.repeat(steps, 1)
        z[:, dimension] = values
        image = decode(anatomy.expand(steps, *anatomy.shape[1:]), z)
        if image.shape[:2] != (steps, 1):
            raise ValueError(f"decode must give images of shape ({steps}, 1, *spatial), got {tuple(image.shape)}.")
        rows.append(image[:, 0].float().cpu())
    images, axis = torch.stack(rows), values.float().cpu()
    correlation = torch.stack([_pixel_correlation(row, axis) for row in images])
    return LatentTraversal(axis, images, correlation, images[:, -1] - images[:, 0])


def disentanglement_report(
    anatomy: Tensor,
    z: Tensor,
    logvar: Tensor,
    modality: Tensor,
    subjects: Sequence[str],
    *,
    modalities: Sequence[str],
    test_subjects: Sequence[str] | None = None,
    training: TrainingCodes | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """All measures that are numbers, ready for ``disentanglement.json`` of a run folder.

    Use it on factors of subjects that training did not see, one row a slice. Needs scikit-learn.

    Args:
        anatomy: anatomies, shape ``(N, C, *spatial)``.
        z: means of the posterior, shape ``(N, D)``.
        logvar: log variances, shape ``(N, D)``.
        modality: index into ``modalities``, shape ``(N,)``.
        subjects: subject of each row.
        modalities: names.
        test_subjects: see :func:`modality_classification`.
        training: codes of other subjects, on which the modality classifier is trained, as in the paper: it is then
            tested on all ``subjects``. Nothing else is measured on them.
        seed: see :func:`modality_classification`.

    Returns:
        Plain numbers under ``distance_correlation`` (0 to 1), ``modality_classification`` (shares of the test rows) and
        ``posterior_variance`` (``D`` values).

    Raises:
        ValueError: lengths differ, ``z`` is not finite, no subject or only one modality is left to train on, or a
            subject is among ``subjects`` and those of ``training``.

    Examples:
        >>> _ = torch.manual_seed(0)
        >>> modality = torch.arange(60) % 2
        >>> z = torch.randn(60, 3)
        >>> z[:, 0] += 20 * modality  # the first dimension tells the modalities apart
        >>> names = [f"s{row // 2}" for row in range(60)]
        >>> found = disentanglement_report(
        ...     torch.rand(60, 2, 4, 4), z, torch.zeros(60, 3), modality, names, modalities=["cine", "lge"])
        >>> found["subjects"], found["modality_classification"]["accuracy"], found["posterior_variance"]
        (30, 1.0, [1.0, 1.0, 1.0])
    """
    rows = TrainingCodes(z, torch.as_tensor(modality), [str(name) for name in subjects])
    if training is not None:
        tested = set(rows.subjects)
        if both := sorted(tested & set(training.subjects)):
            raise ValueError(f"training must hold other subjects than those tested on, got {both[:3]} in both.")
        z_all, modality_all = (torch.cat([torch.as_tensor(a), b]) for a, b in zip(training[:2], rows[:2], strict=True))
        rows, test_subjects = TrainingCodes(z_all, modality_all, training.subjects + rows.subjects), sorted(tested)
    found = modality_classification(*rows, test_subjects=test_subjects, seed=seed)
    correlation = distance_correlation(anatomy.detach().flatten(1).double(), z.detach().flatten(1).double())
    return {
        "rows": len(z),
        "subjects": len({str(name) for name in subjects}),
        "modalities": list(modalities),
        "distance_correlation": float(correlation),
        "modality_classification": found._asdict(),
        "posterior_variance": posterior_variance(logvar).tolist(),
    }


def _codes(z: Tensor, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    codes = torch.as_tensor(z).detach().cpu().double().numpy()
    if codes.ndim != 2 or not np.all(np.isfinite(codes)):
        raise ValueError(f"{name} must be finite with shape (N, D), got shape {tuple(codes.shape)}.")
    return codes


def _test_subjects(known: list[str], given: Sequence[str] | None, fraction: float, seed: int) -> list[str]:
    if given is not None:
        tested = [str(name) for name in given]
        if unknown := sorted(set(tested) - set(known)):
            raise ValueError(f"test_subjects must be among the subjects {known}, got {unknown}.")
    else:
        if not 0 < fraction < 1:
            raise ValueError(f"test_fraction must lie between 0 and 1, got {fraction}.")
        count = max(1, round(fraction * len(known)))
        order = np.random.default_rng(seed).permutation(len(known))[:count]
        tested = [known[position] for position in order]
    if not 0 < len(set(tested)) < len(known):
        raise ValueError(
            f"test_subjects must leave subjects to train on and to test on, got {len(tested)} of {len(known)}."
        )
    return tested


def _pixel_correlation(images: Tensor, values: Tensor) -> Tensor:
    """Pearson correlation along the first axis; 0 where the intensity is constant (up to rounding)."""
    intensity = images.double() - images.double().mean(0)
    swept = (values.double() - values.double().mean()).reshape(-1, *[1] * (images.ndim - 1))
    norm = (intensity.square().sum(0) * swept.square().sum()).sqrt()
    moving = intensity.abs().amax(0) > 1e-6 * images.double().abs().amax(0).clamp(min=1e-6)
    return torch.where(moving, (intensity * swept).sum(0) / norm.clamp(min=1e-300), 0.0).clamp(-1, 1).float()
