# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a trained DisentangleNet has learned, as tables and pictures for its run folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from monai.utils import OptionalImportError
from torch import Tensor, nn

from monai_mmseg.evaluation.reconstruction import reconstruction_scores
from monai_mmseg.evaluation.score import OTHERS, Score
from monai_mmseg.evaluation.subsets import hide_modalities
from monai_mmseg.evaluation.table import ScoreTable
from monai_mmseg.inferers.synthesis_inferer import cross_reconstructions
from monai_mmseg.losses.margin import anatomy_signature
from monai_mmseg.meta_tensors import plain_tensor
from monai_mmseg.metrics.silhouettes import embed, silhouettes
from monai_mmseg.networks.nets.disentangle.disentangle import DisentangleNet
from monai_mmseg.report.sections import WANTED, subset_blocks
from monai_mmseg.runs.run_folder import RECONSTRUCTION, SUBSETS, RunRecorder
from monai_mmseg.visualize import (
    EmbeddingPanel,
    anatomy_figure,
    cross_reconstruction_figure,
    embedding_figure,
    subset_figure,
)

SUBJECTS_SHOWN = 8  # as many as there are colours


class _Studied(NamedTuple):
    """One subject: what is kept of it after its images are reconstructed. N: images of some slices that are there."""

    scores: list[Score]
    code: Tensor  # (N, Z)
    signature: Tensor  # (N, F)
    modality: list[int]  # (N,)
    shown: _Slice
    present: int  # modalities


class _Slice(NamedTuple):
    """Two slices of a subject, as pictures: the largest one and the next one."""

    at: tuple[int, int]
    images: dict[str, Tensor]  # of the largest: modality to (H, W)
    reconstructions: dict[tuple[str, str], Tensor]  # of the largest: (source, target) to (H, W)
    anatomy_images: dict[str, Tensor]  # of the next: modality to (H, W)
    anatomies: dict[str, Tensor]  # of the next: modality to (C, H, W)


@torch.no_grad()
def describe_disentangle(
    recorder: RunRecorder,
    network: nn.Module,
    samples: Iterable[Mapping[str, Any]],
    *,
    method: str = "disentangle",
    device: torch.device | str | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    pool: int = 16,
    per_subject: int = 4,
    chunk: int = 4,
    perplexity: float = 30.0,
    seed: int = 0,
) -> ScoreTable:
    """Reconstruct the images of subjects that training did not see; write tables, silhouettes and pictures.

    PSNR and SSIM count pixels of the brain where the network knows the value of the background. Silhouettes and t-SNE
    (they need scikit-learn; without it a warning takes their place) are those of a few neighbouring slices in the
    middle of each subject, for slices of different height differ more than subjects do.

    Args:
        recorder: of the run folder.
        network: a :class:`~monai_mmseg.networks.nets.DisentangleNet` for slices; it is put into eval mode for this.
        samples: preprocessed subjects, such as a data set of the bundle: ``image (M * S, H, W, D)``, NaN where absent,
            and ``subject``.
        method: name in the tables.
        device: where the network is; ``None``: there.
        ranges: modality to its lowest and highest value; see :func:`~monai_mmseg.evaluation.reconstruction_scores`.
        pool: edge of the blocks by which anatomies are compared, as in training.
        per_subject: slices of each subject for the silhouettes.
        chunk: slices that are reconstructed at a time.
        perplexity: of t-SNE.
        seed: of t-SNE.

    Returns:
        The table that was written.

    Raises:
        ValueError: another network, or no subject.
    """
    if not isinstance(network, DisentangleNet) or network.spatial_dims != 2:
        raise ValueError(f"network must be a DisentangleNet for slices, got {type(network).__name__}.")
    place = next(network.parameters()).device if device is None else torch.device(device)
    training = network.training
    network.eval()
    studied = {}
    for sample in samples:
        name, image = str(sample["subject"]), torch.as_tensor(sample["image"])
        stack = plain_tensor(image).movedim(-1, 0).float()
        studied[name] = _study(network, stack, place, name, method, ranges, (pool, per_subject, chunk))
    network.train(training)
    if not studied:
        raise ValueError("samples must hold at least one subject, got none.")
    scores = [score for one in studied.values() for score in one.scores]
    table = ScoreTable(scores, subjects={method: studied})
    table.save(recorder.run_dir, RECONSTRUCTION.removesuffix(".json"))
    most = max(one.present for one in studied.values())
    shown = [name for name, one in studied.items() if one.present == most]
    _pictures(recorder, shown[len(shown) // 2], studied[shown[len(shown) // 2]])
    try:
        _latent_spaces(recorder, studied, network.modalities, perplexity, seed)
    except OptionalImportError as error:
        recorder.warn(f"Silhouettes were not measured: {str(error).splitlines()[0]}")
    return table


def describe_subsets(recorder: RunRecorder, table: ScoreTable) -> None:
    """Write scores with every subset of the modalities, and their picture, into a run folder.

    Args:
        recorder: of the run folder.
        table: of :func:`~monai_mmseg.evaluation.evaluate_subsets`.
    """
    table.save(recorder.run_dir, SUBSETS.removesuffix(".json"))
    modalities = next(iter(table.methods.values())).modalities
    recorder.add_figure(
        subset_figure(modalities, subset_blocks(table), title="Missing modalities"),
        "subsets",
        "Mean scores with every subset of the modalities (light dots: there). Light is better; a measure has a scale "
        "of its own.",
    )


def _study(
    network: DisentangleNet,
    stack: Tensor,
    device: torch.device,
    subject: str,
    method: str,
    ranges: Mapping[str, tuple[float, float]] | None,
    settings: tuple[int, int, int],
) -> _Studied:
    """Everything of one subject, slices first."""
    pool, per_subject, chunk = settings
    names, middle = network.modalities, network.in_channels // 2
    parts = [_reconstruct(network, part.to(device)) for part in stack.split(chunk)]
    crossed, others = (torch.cat([part[n] for part in parts]) for n in (0, 1))  # (D, M, M, S, ...), (D, M, S, ...)
    images = stack.unflatten(1, (len(names), -1))  # (D, M, S, H, W)
    present = ~images.flatten(2).isnan().any(2)
    mask = None
    if network.background is not None:
        mask = ((images[:, :, middle] != network.background) & present[..., None, None]).any(1)
    reconstructions = {(a, b): crossed[:, i, j] for i, a in enumerate(names) for j, b in enumerate(names)}
    reconstructions |= {(OTHERS, name): others[:, m] for m, name in enumerate(names)}
    # what could not be made is NaN, and so are its images: no score reads it
    scores = reconstruction_scores(
        {name: images[:, m] for m, name in enumerate(names)},
        reconstructions,
        subject=subject,
        method=method,
        ranges=ranges,
        mask=mask,
    )
    area = torch.ones(len(stack)) if mask is None else mask.flatten(1).sum(1)
    few = _middle_slices(area, per_subject)
    factors = network.factors(stack[few].to(device))
    known = factors.present
    signature = anatomy_signature(factors.anatomy, min(pool, *factors.anatomy.shape[-2:]))
    picture = _shown(network, stack, reconstructions, mask, device)
    modality = torch.arange(len(names)).expand(known.shape)[known.cpu()].tolist()
    return _Studied(
        scores, factors.code[known].cpu(), signature[known].cpu(), modality, picture, int(present.any(0).sum())
    )


def _shown(
    network: DisentangleNet,
    stack: Tensor,
    reconstructions: Mapping[tuple[str, str], Tensor],
    mask: Tensor | None,
    device: torch.device,
) -> _Slice:
    """The largest slice with its reconstructions and the next one with its anatomies."""
    names, middle = network.modalities, network.in_channels // 2
    images = stack.unflatten(1, (len(names), -1))
    present = ~images.flatten(2).isnan().any(2)
    area = torch.ones(len(stack)) if mask is None else mask.flatten(1).sum(1)
    counts = present.sum(1)
    complete = area * (counts == counts.max())
    rank = complete.argsort(descending=True, stable=True).tolist()
    at, other = rank[0], next((row for row in rank[1:2] if complete[row] > 0), rank[0])
    maps = network.factors(stack[other : other + 1].to(device)).anatomy[0].cpu()

    def cut(image: Tensor, at: int) -> Tensor:
        return image if mask is None else image.masked_fill(~mask[at], torch.nan)

    return _Slice(
        (at, other),
        {name: cut(images[at, m, middle], at) for m, name in enumerate(names) if present[at, m]},
        {pair: cut(made[at, middle], at) for pair, made in reconstructions.items() if not made[at].isnan().any()},
        {name: cut(images[other, m, middle], other) for m, name in enumerate(names) if present[other, m]},
        {name: maps[m] for m, name in enumerate(names) if present[other, m]},
    )


def _reconstruct(network: DisentangleNet, part: Tensor) -> tuple[Tensor, Tensor]:
    """All pairs, and each modality from all others: NaN where nothing could be made."""
    names, others = network.modalities, []
    present = ~part.unflatten(1, (len(names), -1)).flatten(2).isnan().any(2)
    for m, target in enumerate(names):
        rest = [name for name in names if name != target]
        kept = hide_modalities(part.movedim(1, 0), names, rest).movedim(0, 1)
        nothing = ~(present.sum(1) > present[:, m].int())
        others.append(network(kept, target=target).masked_fill(nothing.reshape(-1, 1, 1, 1), torch.nan).cpu())
    return cross_reconstructions(network, part).cpu(), torch.stack(others, 1)


def _middle_slices(area: Tensor, count: int) -> list[int]:
    """Neighbouring slices around the middle of what there is."""
    filled = (area > 0).nonzero()[:, 0].tolist() or [0]
    first = max(0, (filled[0] + filled[-1] + 1) // 2 - count // 2)
    return list(range(first, min(first + count, len(area))))


def _pictures(recorder: RunRecorder, subject: str, one: _Studied) -> None:
    notes = {
        (score.case["source"], score.case["target"]): f"{score.values['psnr']:.1f} / {score.values['ssim']:.2f}"
        for score in one.scores
    }
    notes = {pair: text for pair, text in notes.items() if pair in one.shown.reconstructions}
    if one.shown.reconstructions:
        recorder.add_figure(
            cross_reconstruction_figure(
                one.shown.images,
                one.shown.reconstructions,
                notes=notes,
                title=f"Reconstructed images, {subject}, slice {one.shown.at[0] + 1} (PSNR / SSIM)",
            ),
            "cross_reconstruction",
            "A slice in every modality, and below it the same slice reconstructed with the anatomy of one modality "
            "(row) as another (column). The last row is made as at inference: from all other modalities, with the mean "
            "code of the one that is made. Numbers: PSNR in dB and SSIM over the slices of this subject. What is "
            "outside of the brain, where that is known, is not shown and does not count.",
        )
    if one.shown.anatomies:
        recorder.add_figure(
            anatomy_figure(
                one.shown.anatomy_images,
                one.shown.anatomies,
                title=f"Anatomies, {subject}, slice {one.shown.at[1] + 1}",
            ),
            "anatomy",
            "Anatomy channels of every modality for one slice. A channel should show the same in each row.",
        )


def _latent_spaces(
    recorder: RunRecorder, studied: Mapping[str, _Studied], modalities: Sequence[str], perplexity: float, seed: int
) -> None:
    code = torch.cat([one.code for one in studied.values()])
    signature = torch.cat([one.signature for one in studied.values()])
    modality = [m for one in studied.values() for m in one.modality]
    subjects = [name for name, one in studied.items() for _ in one.modality]
    found = silhouettes(code, signature, modality, subjects)
    recorder.add_disentanglement({"silhouettes": found._asdict()})
    if len(code) < 3:
        return

    def note(key: str) -> str:
        value = getattr(found, key)
        what = key.partition("_by_")[2]
        return f"silhouette by {what}: {'–' if value is None else f'{value:.2f}'} (wanted: {WANTED[key][1]})"

    named = [modalities[m] for m in modality]
    few = set(list(studied)[:SUBJECTS_SHOWN])
    kept = [row for row, subject in enumerate(subjects) if subject in few]
    panels = [
        EmbeddingPanel(
            "Codes z: colour = modality",
            embed(code, perplexity=perplexity, seed=seed),
            named,
            notes=[note("code_by_modality")],
        )
    ]
    if len(kept) > 2:
        panels.append(
            EmbeddingPanel(
                "Anatomies s: colour = subject",
                embed(signature[kept], perplexity=perplexity, seed=seed),
                [subjects[row] for row in kept],
                [named[row] for row in kept],
                notes=[note("anatomy_by_subject"), note("anatomy_by_modality")],
            )
        )
    recorder.add_figure(
        embedding_figure(panels, title="Latent spaces, t-SNE"),
        "latent_spaces",
        "Each point is an image. Codes should form one cluster a modality, anatomies one a subject with all modalities "
        "in it. Distances between clusters mean nothing.",
    )
