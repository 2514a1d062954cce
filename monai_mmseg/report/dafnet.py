# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a trained DAFNet has learned, as pictures and numbers for its run folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.metrics import compute_dice
from monai.utils import OptionalImportError
from torch import Tensor, nn

from monai_mmseg.evaluation.table import ScoreTable
from monai_mmseg.metrics.disentanglement import TrainingCodes, disentanglement_report, latent_traversal
from monai_mmseg.networks.nets.dafnet.dafnet import DAFNet, DAFNetFactors
from monai_mmseg.networks.nets.sdnet import SDNet
from monai_mmseg.networks.nets.select_modality import SelectModality
from monai_mmseg.report.cases import add_cases
from monai_mmseg.report.reconstructions import add_own_reconstructions, add_reconstructions
from monai_mmseg.runs.run_folder import RunRecorder
from monai_mmseg.unannotated import UNANNOTATED, is_foreground
from monai_mmseg.visualize import (
    AlignmentPair,
    alignment_figure,
    anatomy_figure,
    traversal_figure,
)


class _Studied(NamedTuple):
    """One subject on the network's lattice, slices first."""

    subject: str
    image: Tensor  # (D, M, H, W), candidate 0, NaN where absent
    label: Tensor  # (D, M, H, W), class maps
    labelled: Tensor  # (M,), bool
    factors: DAFNetFactors
    logvar: Tensor  # (D, M, Z)


def describe_dafnet(
    recorder: RunRecorder,
    network: nn.Module,
    data: Sequence[Mapping[str, Any]],
    transform: Callable[[Any], Any],
    labels: Mapping[int | str, str],
    *,
    target: str,
    table: ScoreTable | None = None,
    predictions: str | Path | None = None,
    training: Sequence[Mapping[str, Any]] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """Write figures and disentanglement measures of a trained network into a run folder.

    Use it after evaluation, on subjects that training did not see. Figures: overlay of the best, median and worst case;
    anatomy channels of all modalities; alignment before and after the transformer; images and their reconstructions;
    latent traversal of each modality.
    Numbers: distance correlation, modality classification from z, posterior variance, and the Dice of every *true*
    source mask on the target before and after the predicted deformation, which says whether the transformer registers.

    Args:
        recorder: of the run folder.
        network: trained; it is put into eval mode. One without anatomy factors (a baseline) gets the overlay only, an
            SDNet also reconstructions.
        data: subjects, ``{"subject", "image": {modality: path}, "label": {modality: path}}``.
        transform: volume transforms up to the intensities; they give ``image (M * k, H, W, D)``, ``label``
            ``(M, H, W, D)`` and ``labelled (M,)``.
        labels: value to name, background included.
        target: modality that is segmented.
        table: scores of the predictions, to choose the cases that are shown; without it there is no overlay.
        predictions: folder with predicted label volumes.
        training: subjects whose z the modality classifier is trained on; their labels are not read. Without any it is
            trained on a part of ``data``.
        seed: of the split of the modality classification.

    Returns:
        The measures that were written.

    Raises:
        ValueError: if there is no subject.
    """
    if not data:
        raise ValueError("data must hold at least one subject, got none.")
    names = {int(value): name for value, name in labels.items()}
    if table is not None and predictions is not None and len(table):
        flat = [
            {
                "subject": item["subject"],
                "modality": target,
                "image": item["image"][target],
                "label": item["label"][target],
            }
            for item in data
            if target in item["image"] and target in item["label"]
        ]
        add_cases(recorder, flat, table, predictions, names, target)
    network.eval()
    device = next(network.parameters()).device
    if not isinstance(network, DAFNet):
        if isinstance(getattr(network, "network", None), SDNet):
            _own_reconstructions(recorder, network, data[len(data) // 2], transform, device)
        return {}
    studied = [_study(network, transform(dict(item)), str(item["subject"]), device) for item in data]
    order = sorted(range(len(studied)), key=lambda at: abs(at - len(studied) // 2))
    shown = _Slices([studied[at] for at in order])
    _anatomies(recorder, network, shown)
    measures: dict[str, Any] = {}
    if network.transformer is not None and len(network.modalities) > 1:
        measures["registration"] = _alignment(recorder, network, studied, names, shown)
    _traversals(recorder, network, shown)
    taken = shown.take()
    assert taken is not None  # a complete slice, or any
    one, at = taken
    title = f"Reconstructions, {one.subject}, slice {at + 1}"
    add_reconstructions(recorder, network, one.image[at], one.factors.anatomies[at], title)
    try:
        tested = {one.subject for one in studied}
        others = [item for item in training if str(item["subject"]) not in tested]
        codes = [_study(network, transform(dict(item)), str(item["subject"]), device) for item in others]
        measures.update(_disentanglement(network, studied, codes, seed))
    except (OptionalImportError, ValueError) as error:
        # one subject alone cannot be split, and scikit-learn is an extra: neither may cost the figures
        recorder.warn(f"Disentanglement was not measured: {error}")
    else:
        recorder.add_disentanglement(measures)
    return measures


@torch.no_grad()
def _study(network: DAFNet, volume: Mapping[str, Any], subject: str, device: torch.device) -> _Studied:
    stack = torch.as_tensor(volume["image"].as_tensor()).permute(3, 0, 1, 2).to(device)
    factors = network.factors(stack)
    image = stack[:, :: network.num_candidates]
    seen = factors.present
    rows = torch.where(seen[:, :, None, None], image, torch.zeros_like(image)).flatten(0, 1).unsqueeze(1)
    logvar = network.style(factors.anatomies.flatten(0, 1), rows).logvar.unflatten(0, seen.shape)
    label = torch.as_tensor(volume["label"].as_tensor()).permute(3, 0, 1, 2)
    return _Studied(subject, image, label.to(device), torch.as_tensor(volume["labelled"]), factors, logvar)


@torch.no_grad()
def _own_reconstructions(
    recorder: RunRecorder,
    network: nn.Module,
    item: Mapping[str, Any],
    transform: Callable[[Any], Any],
    device: torch.device,
) -> None:
    assert isinstance(network, SelectModality)
    assert isinstance(network.network, SDNet)
    stack = torch.as_tensor(transform(dict(item))["image"].as_tensor())
    first = stack[:: len(stack) // network.num_modalities, ..., stack.shape[-1] // 2].to(device)
    names = [f"modality {m + 1}" for m in range(network.num_modalities)]
    if len(item["image"]) == len(names):
        names = list(item["image"])
    images = {name: image for name, image in zip(names, first, strict=True) if not image.isnan().any()}
    title = f"Reconstructions, {item['subject']}, slice {stack.shape[-1] // 2 + 1}"
    if images:
        add_own_reconstructions(recorder, network.network, images, title)


class _Slices:
    """Slices for the pictures, so that no two pictures show the same one of the same subject."""

    def __init__(self, studied: Sequence[_Studied]) -> None:
        self.studied = list(studied)  # in the order in which they are shown
        self.used: set[tuple[str, int]] = set()

    def take(self, allowed: Callable[[_Studied], Tensor] | None = None) -> tuple[_Studied, int] | None:
        """The next subject's slice with the largest labelled area; the subject then waits until others were shown.

        Args:
            allowed: which slices may be shown; ``None``: those with all modalities, if there are any.

        Returns:
            Subject and slice; ``None`` where no slice may be shown.
        """
        for one in self.studied:
            seen = allowed(one) if allowed is not None else _complete(one)
            if seen.any():
                self.studied = [other for other in self.studied if other is not one] + [one]
                return one, self.largest(one, one.label.flatten(1), seen)
        return None

    def largest(self, one: _Studied, label: Tensor, seen: Tensor) -> int:
        """The slice with most foreground of those that no picture shows yet; of all if there is none.

        Args:
            one: subject.
            label: its slices first.
            seen: which slices may be shown.

        Returns:
            Index of the slice.
        """
        area = is_foreground(label).flatten(1).sum(1).masked_fill(~seen.to(label.device), -1)
        order = [int(at) for at in area.argsort(descending=True, stable=True) if area[at] >= 0]
        at = next((at for at in order if (one.subject, at) not in self.used), order[0])
        self.used.add((one.subject, at))
        return at


def _complete(one: _Studied) -> Tensor:
    """Slices with all modalities, or all slices where there is none."""
    seen = one.factors.present.all(1)
    return seen if seen.any() else torch.ones_like(seen)


def _anatomies(recorder: RunRecorder, network: DAFNet, slices: _Slices) -> None:
    taken, target = slices.take(), network.modalities.index(network.target)
    assert taken is not None  # a complete slice, or any
    one, at = taken
    images = {name: one.image[at, m].nan_to_num().cpu() for m, name in enumerate(network.modalities)}
    maps = {name: one.factors.anatomies[at, m].cpu() for m, name in enumerate(network.modalities)}
    for m, name in enumerate(network.modalities):
        if m != target:
            maps[f"{name}, deformed"] = one.factors.deformed[at, m].cpu()
    maps["fused"] = one.factors.fused[at].cpu()
    recorder.add_figure(
        anatomy_figure(images, maps, title=f"Anatomy factors, {one.subject}, slice {at + 1}"),
        "anatomy",
        "Anatomy channels of every modality for one slice. A channel should show the same structure in each row; "
        "fusing takes the maximum of the target's and the deformed maps.",
    )


def _alignment(
    recorder: RunRecorder,
    network: DAFNet,
    studied: Sequence[_Studied],
    names: Mapping[int, str],
    slices: _Slices,
) -> dict[str, Any]:
    target = network.modalities.index(network.target)
    pairs: list[AlignmentPair] = []
    found: dict[str, Any] = {}
    for source, name in enumerate(network.modalities):
        if source == target:
            continue
        before, after = [], []
        for one in studied:
            if not (one.labelled[source] and one.labelled[target]):
                continue
            usable = one.factors.present[:, [source, target]].all(1)
            if not usable.any():
                continue
            pair = _warped(network, one, source, usable)
            truth = _onehot(one.label[usable, target], len(names))
            before.append(_volume_dice(_onehot(one.label[usable, source], len(names)), truth))
            after.append(_volume_dice(_onehot(pair["mask"], len(names)), truth))
            if len(pairs) < 4:
                at = slices.largest(one, one.label[:, target], usable)
                pairs.append(_pair(one, pair, usable, int(usable[:at].sum()), source, target))
        if before:
            found[name] = {"before": float(np.mean(before)), "after": float(np.mean(after)), "subjects": len(before)}
    if pairs:
        source_name = next(name for name in network.modalities if name != network.target)
        recorder.add_figure(
            alignment_figure(pairs, names, fixed_name=network.target, moving_name=source_name, title="Alignment"),
            "alignment",
            "True source masks on the target before and after the deformation that the network predicts from the two "
            "anatomies. Dice with the true target mask, mean over test subjects: "
            + "; ".join(f"{name} {d['before']:.2f} before, {d['after']:.2f} after" for name, d in found.items())
            + ".",
        )
    return found


@torch.no_grad()
def _warped(network: DAFNet, one: _Studied, source: int, usable: Tensor) -> dict[str, Tensor]:
    assert network.transformer is not None
    offsets = one.factors.offsets[usable, source]
    image = one.image[usable, source].unsqueeze(1)
    moved = network.transformer.spline(image + 1, offsets) - 1  # zeros enter at the border: make black zero first
    mask = _onehot(one.label[usable, source], network.out_channels).to(moved)
    foreground = network.transformer.spline(mask[:, 1:], offsets)
    background = 1 - foreground.sum(1, keepdim=True)
    return {"image": moved[:, 0], "mask": torch.cat([background, foreground], 1).argmax(1)}


def _pair(
    one: _Studied, warped: Mapping[str, Tensor], usable: Tensor, at: int, source: int, target: int
) -> AlignmentPair:
    def array(values: Tensor) -> np.ndarray[Any, np.dtype[Any]]:
        return np.asarray(values.cpu().numpy())

    return AlignmentPair(
        one.subject,
        fixed=array(one.image[usable, target][at]),
        moving=array(one.image[usable, source][at]),
        deformed=array(warped["image"][at]),
        moving_mask=array(one.label[usable, source][at]),
        deformed_mask=array(warped["mask"][at]),
        fixed_mask=array(one.label[usable, target][at]),
    )


def _onehot(label: Tensor, classes: int) -> Tensor:
    known = torch.where(label == UNANNOTATED, torch.zeros_like(label), label).long()
    return torch.nn.functional.one_hot(known, classes).movedim(-1, 1)


def _volume_dice(prediction: Tensor, truth: Tensor) -> float:
    """Mean over the foreground classes of the volume's Dice, of one-hot slices ``(D, K, H, W)``."""
    volumes = [x.permute(1, 2, 3, 0).unsqueeze(0) for x in (prediction, truth)]
    return float(compute_dice(*volumes, include_background=False, ignore_empty=False).mean())


def _traversals(recorder: RunRecorder, network: DAFNet, slices: _Slices) -> None:
    for m, name in enumerate(network.modalities):
        taken = slices.take(lambda one, m=m: one.factors.present[:, m])  # type: ignore[misc]
        if taken is None:
            continue
        one, at = taken
        found = latent_traversal(
            one.factors.anatomies[at : at + 1, m], one.factors.style[at : at + 1, m], network.decode
        )
        recorder.add_figure(
            traversal_figure(found, title=f"Latent traversal, {name}, {one.subject}, slice {at + 1}"),
            f"traversal_{name}",
            f"Images decoded from one {name} anatomy while one dimension of z runs from -3 to 3; then the correlation "
            "of each pixel with that dimension, and the difference of the extremes.",
        )


def _disentanglement(
    network: DAFNet, studied: Sequence[_Studied], training: Sequence[_Studied], seed: int
) -> dict[str, Any]:
    own = _codes(studied)
    parts = [(one, m, one.factors.present[:, m]) for one in studied for m in range(len(network.modalities))]
    return disentanglement_report(
        torch.cat([one.factors.anatomies[seen, m] for one, m, seen in parts]).cpu(),
        own.z,
        torch.cat([one.logvar[seen, m] for one, m, seen in parts]).cpu(),
        own.modality,
        own.subjects,
        modalities=list(network.modalities),
        training=_codes(training) if training else None,
        seed=seed,
    )


def _codes(studied: Sequence[_Studied]) -> TrainingCodes:
    """Codes of the slices that are there, a modality of a subject after the other."""
    z, modality, subjects = [], [], []
    for one in studied:
        for m in range(one.factors.present.shape[1]):
            seen = one.factors.present[:, m]
            z.append(one.factors.style[seen, m])
            modality += [m] * int(seen.sum())
            subjects += [one.subject] * int(seen.sum())
    return TrainingCodes(torch.cat(z).cpu(), torch.tensor(modality), subjects)
