# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Any set of modalities at inference: a predictor run with every non-empty subset of what it was trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from torch import Tensor

from monai_mmseg.evaluation.evaluate import score_volume
from monai_mmseg.evaluation.layout import subset_text
from monai_mmseg.evaluation.reconstruction import reconstruction_scores
from monai_mmseg.evaluation.score import OTHERS, MethodInfo, Score
from monai_mmseg.evaluation.table import ScoreTable
from monai_mmseg.meta_tensors import plain_tensor

#: From a prediction without batch axis and its sample to scores; method and subject are filled in later.
Scorer = Callable[[Tensor, Mapping[str, Any]], Iterable[Score]]


def modality_subsets(modalities: Sequence[str]) -> list[tuple[str, ...]]:
    """All non-empty subsets, large ones first: 2^M - 1 of them.

    Args:
        modalities: M different names.

    Returns:
        Tuples in the order of the names; the first holds all.

    Raises:
        ValueError: no name, or a name twice.

    Examples:
        >>> modality_subsets(["t1", "t2"])
        [('t1', 't2'), ('t1',), ('t2',)]
    """
    names = list(modalities)
    if isinstance(modalities, str) or not names or len(set(names)) < len(names):
        raise ValueError(f"modalities must be different names, got {modalities!r}.")
    return [subset for size in range(len(names), 0, -1) for subset in combinations(names, size)]


def hide_modalities(image: Tensor, modalities: Sequence[str], kept: Sequence[str]) -> Tensor:
    """A copy of an image in which the other modalities are absent: NaN, as networks of this project take it.

    Args:
        image: shape ``(M * S, *spatial)``, the channels of the first modality first.
        modalities: M names.
        kept: those that stay.

    Returns:
        Same shape.

    Raises:
        ValueError: an unknown name, or channels that M does not divide.

    Examples:
        >>> hide_modalities(torch.ones(2, 1), ["t1", "t2"], ["t2"]).tolist()
        [[nan], [1.0]]
    """
    if unknown := [name for name in kept if name not in modalities]:
        raise ValueError(f"kept must be of the modalities {list(modalities)}, got {unknown}.")
    if image.shape[0] % len(modalities):
        raise ValueError(f"image must have a multiple of {len(modalities)} channels, got {tuple(image.shape)}.")
    hidden = torch.tensor([name not in kept for name in modalities], device=image.device)
    mask = hidden.repeat_interleave(image.shape[0] // len(modalities)).reshape(-1, *[1] * (image.ndim - 1))
    return image.masked_fill(mask, float("nan"))


@torch.no_grad()
def evaluate_subsets(
    predict: Callable[[Tensor], Tensor],
    samples: Iterable[Mapping[str, Any]],
    modalities: Sequence[str],
    score: Scorer,
    *,
    method: str = "prediction",
    subsets: Iterable[Sequence[str]] | None = None,
    image_key: str = "image",
    subject_key: str = "subject",
    labelled_key: str = "labelled",
    present_key: str = "present",
) -> ScoreTable:
    """Scores of one predictor with each subset of the modalities.

    Use it to see what a missing sequence costs: with a network behind an inferer, ``lambda x: inferer(x, network)``. A
    subject that lacks a modality of a subset has no score for it, for it would be one of a smaller subset; tables say
    how many these are.

    Args:
        predict: image ``(1, M * S, *spatial)`` with NaN where absent, to a prediction of one image.
        samples: preprocessed subjects: ``image (M * S, *spatial)``, NaN where the subject lacks a modality, the
            subject's name, and what ``score`` reads. Those whose ``labelled`` is false are left out.
        modalities: M names in the order of the channels.
        score: prediction without its first axis and sample, to scores; see :func:`label_scores` and
            :func:`image_scores`.
        method: name in the table.
        subsets: which ones; ``None``: all.
        image_key: of the image.
        subject_key: of the name.
        labelled_key: of the flag.
        present_key: of a mask ``(M,)``, if there is one: false is absent, too, whatever stands in the image.

    Returns:
        A score a subject, subset and case of ``score``.

    Raises:
        ValueError: a subset with an unknown modality, or no subject.

    Examples:
        >>> samples = [{"image": torch.tensor([[1.0], [3.0]]), "subject": "s01"}]
        >>> mean = lambda image: image.nanmean(1)
        >>> score = lambda found, sample: [Score("", "", {}, {"dice": found.item() / 4})]
        >>> table = evaluate_subsets(mean, samples, ["t1", "t2"], score)
        >>> [(one.case["subset"], one.values["dice"]) for one in table]
        [('t1 + t2', 0.5), ('t1', 0.25), ('t2', 0.75)]
    """
    names = list(modalities)
    chosen = {subset_text(list(subset), names): list(subset) for subset in subsets or modality_subsets(names)}
    scores: list[Score] = []
    subjects: list[str] = []
    for sample in samples:
        if not bool(torch.as_tensor(sample.get(labelled_key, True)).all()):
            continue
        image, subject = torch.as_tensor(sample[image_key]), str(sample[subject_key])
        image = plain_tensor(image)
        subjects.append(subject)
        there = ~image.unflatten(0, (len(names), -1)).isnan().flatten(1).any(1)
        if present_key in sample:  # zeros may stand where a mask says that nothing is
            there &= torch.as_tensor(sample[present_key]).to(there).reshape(len(names))
        lacking = {name for name, one in zip(names, there.tolist(), strict=True) if not one}
        for text, subset in chosen.items():
            if lacking.isdisjoint(subset):
                made = predict(hide_modalities(image, names, subset).unsqueeze(0))
                for one in score(made[0], sample):
                    case = {"subset": text, **one.case}
                    scores.append(Score(method, subject, case, one.values, one.flag, str(sample.get("person", ""))))
    if not scores:
        raise ValueError("samples must hold at least one labelled subject with all modalities of a subset, got none.")
    about = MethodInfo(getattr(score, "penalty", None), modalities=tuple(names))
    return ScoreTable(scores, {method: about}, {method: subjects})


def label_scores(
    labels: Mapping[int, str] | Mapping[str, str],
    *,
    modality: str = "",
    spacing: Sequence[float] | None = None,
    label_key: str = "label",
    penalty: float | None = None,
) -> Scorer:
    """Scores of label volumes by the project's evaluator, for :func:`evaluate_subsets` and handlers.

    Args:
        labels: value to name, background included; text keys are fine.
        modality: goes into the scores; empty: it is left out.
        spacing: voxel size in mm; ``None`` takes the label's own.
        label_key: class map in the sample, shape ``(1, *spatial)``.
        penalty: distance in mm for a missed or spurious organ; ``None`` means the diagonal of the image.

    Returns:
        Takes logits ``(K, X, Y, Z)`` (or a class map ``(1, X, Y, Z)``); gives a score a class, and has the attribute
        ``penalty``, which tables state. It raises a ValueError for a class that is not in ``labels``, and for a
        prediction that does not lie where the label lies (where both know it).
    """
    names = {int(value): str(name) for value, name in labels.items()}

    def score(prediction: Tensor, sample: Mapping[str, Any]) -> list[Score]:
        classes = prediction.argmax(0) if prediction.shape[0] > 1 else prediction[0].round()
        label = sample[label_key]
        places = [np.asarray(one.affine) for one in (prediction, label) if isinstance(one, MetaTensor)]
        if len(places) == 2 and places[0].shape == places[1].shape and not np.allclose(places[0], places[1], atol=1e-3):
            raise ValueError(f"prediction and {label_key!r} must lie in one place, got affines {places}.")
        if unknown := sorted({int(value) for value in classes.unique()} - names.keys()):
            raise ValueError(f"classes of a prediction must be among {sorted(names)}, got {unknown}.")
        voxel = spacing if spacing is not None else getattr(label, "pixdim", None)
        if voxel is None:
            raise ValueError("spacing must be given where labels are plain tensors, got None.")
        return score_volume(
            classes.cpu().numpy().astype(np.int64),
            torch.as_tensor(label)[0].cpu().numpy().round().astype(np.int64),
            labels=names,
            spacing=[float(edge) for edge in voxel],
            modality=modality,
            penalty=penalty,
            unknown=None if "unknown" not in sample else torch.as_tensor(sample["unknown"]).flatten().tolist(),
        )

    score.penalty = penalty  # type: ignore[attr-defined]  # for the notes of tables
    return score


def image_scores(
    *,
    value_range: tuple[float, float] | None = None,
    target_key: str = "target",
    background: float | None = None,
    case: Mapping[str, str] | None = None,
    original: bool = False,
) -> Scorer:
    """PSNR and SSIM of an image, for :func:`evaluate_subsets` and handlers.

    Args:
        value_range: lowest and highest value; ``None``: those of each subject's target, where it counts.
        target_key: true image in the sample, shape ``(1, H, W)`` or ``(1, H, W, D)``; NaN: not there.
        background: value of the target where there is nothing; such pixels do not count. ``None``: all count.
        case: of the scores, such as ``{"source": "mr", "target": "pet"}``.
        original: also measure as the original code of the disentanglement does.

    Returns:
        Takes an image of the same shape; gives a score over the slices along the last axis, none without a target.
    """

    def score(prediction: Tensor, sample: Mapping[str, Any]) -> list[Score]:
        target = torch.as_tensor(sample[target_key]).to(prediction.device)
        if prediction.shape != target.shape or target.shape[0] != 1 or target.ndim not in (3, 4):
            raise ValueError(
                f"prediction and {target_key!r} must have one shape (1, H, W[, D]), got {tuple(prediction.shape)} and "
                f"{tuple(target.shape)}."
            )
        slices = [x.as_subclass(Tensor).float() for x in (prediction.detach(), target)]
        made, truth = (x if x.ndim == 3 else x[0].movedim(-1, 0) for x in slices)
        found = reconstruction_scores(
            {"target": truth, "source": torch.zeros_like(truth)},
            {(OTHERS, "target"): made},
            ranges=None if value_range is None else {"target": (float(value_range[0]), float(value_range[1]))},
            mask=None if background is None else truth != background,
            original=original,
        )
        return [one._replace(case=dict(case or {})) for one in found]

    return score
