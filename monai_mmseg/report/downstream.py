# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a network behind any subset of modalities makes of each subset, for its run folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from monai_mmseg.evaluation.layout import subset_text
from monai_mmseg.evaluation.score import Score
from monai_mmseg.evaluation.subsets import Scorer, evaluate_subsets, hide_modalities
from monai_mmseg.evaluation.table import ScoreTable
from monai_mmseg.runs.run_folder import RunRecorder
from monai_mmseg.visualize import cross_reconstruction_figure

SUBJECTS_SHOWN = 5


def score_subsets(
    network: nn.Module,
    inferer: Callable[..., Any],
    samples: Iterable[Mapping[str, Any]],
    modalities: Sequence[str],
    score: Scorer,
    *,
    device: torch.device | str = "cpu",
    method: str = "prediction",
    subsets: Iterable[Sequence[str]] | None = None,
) -> ScoreTable:
    """Scores of a network with each subset of the modalities, in one call that fits a config.

    Args:
        network: takes images with NaN where absent.
        inferer: runs it on volumes.
        samples: preprocessed subjects.
        modalities: M names in the order of the channels.
        score: see :func:`~monai_mmseg.evaluation.label_scores` and :func:`~monai_mmseg.evaluation.image_scores`.
        device: where the network is.
        method: name in the table.
        subsets: which ones; ``None``: all.

    Returns:
        Scores of each subject and subset, see :func:`~monai_mmseg.evaluation.evaluate_subsets`.
    """
    network.eval()

    def predict(image: Tensor) -> Tensor:
        made: Tensor = inferer(image.to(device), network)
        return made

    return evaluate_subsets(predict, samples, modalities, score, method=method, subsets=subsets)


@torch.no_grad()
def describe_synthesis(
    recorder: RunRecorder,
    network: nn.Module,
    inferer: Callable[..., Any],
    samples: Iterable[Mapping[str, Any]],
    modalities: Sequence[str],
    table: ScoreTable | None = None,
    *,
    target_key: str = "label",
    background: float | None = None,
    device: torch.device | str = "cpu",
    target: str = "target",
) -> None:
    """Add a picture to a run folder: images that a network makes, beside the true ones, with each modality missing.

    Args:
        recorder: of the run folder.
        network: takes images with NaN where absent; it is put into eval mode.
        inferer: runs it on volumes.
        samples: preprocessed subjects: ``image (M * S, H, W, D)``, ``subject``, and the true image ``(1, H, W, D)``;
            those with the most modalities are shown, at their largest slice.
        modalities: M names in the order of the channels.
        table: scores of the same network, written on the pictures.
        target_key: of the true image.
        background: its value outside of the brain, which is not shown; ``None``: all is.
        device: where the network is.
        target: what is made, for the title.

    Raises:
        ValueError: there is no subject.

    Examples:
        >>> from tempfile import TemporaryDirectory
        >>> from monai_mmseg.runs import RunRecorder
        >>> sample = {"image": torch.rand(2, 16, 16, 4), "label": torch.rand(1, 16, 16, 4), "subject": "s01"}
        >>> with TemporaryDirectory() as folder:
        ...     recorder = RunRecorder(folder, name="mean", method="mean", modality="t1")
        ...     mean = lambda image, network: image.nanmean(1, keepdim=True)
        ...     describe_synthesis(recorder, nn.Identity(), mean, [sample], ["t1", "t2"], target="PET")
        ...     (recorder.run_dir / "figures" / "synthesis.png").is_file()
        True
    """
    network.eval()
    shown: list[tuple[int, Mapping[str, Any]]] = []
    for sample in samples:
        present = ~torch.as_tensor(sample["image"]).unflatten(0, (len(modalities), -1)).flatten(1).isnan().any(1)
        shown.append((int(present.sum()), sample))
    if not shown:
        raise ValueError("samples must hold at least one subject, got none.")
    most = max(count for count, _ in shown)
    subsets = {"all": list(modalities)}
    if len(modalities) > 1:
        subsets |= {f"all but {gone}": [name for name in modalities if name != gone] for gone in modalities}
    images, reconstructions, notes = {}, {}, {}
    for sample in [one for count, one in shown if count == most][:SUBJECTS_SHOWN]:
        name = str(sample["subject"])
        image, truth = (torch.as_tensor(sample[key]).as_subclass(Tensor) for key in ("image", target_key))
        inside = torch.ones_like(truth[0], dtype=torch.bool) if background is None else truth[0] != background
        at = int(inside.sum((0, 1)).argmax())

        def cut(volume: Tensor, inside: Tensor = inside, at: int = at) -> Tensor:
            return volume[0, ..., at].masked_fill(~inside[..., at], torch.nan).cpu()

        images[name] = cut(truth)
        for about, kept in subsets.items():
            hidden = hide_modalities(image, modalities, kept)
            if bool(hidden.unflatten(0, (len(modalities), -1)).flatten(1).isnan().any(1).all()):
                continue  # nothing is left
            reconstructions[about, name] = cut(inferer(hidden[None].to(device), network)[0].float().cpu())
            text = subset_text(kept, modalities)
            for score in () if table is None else table.select(_is_image, subject=name, subset=text):
                notes[about, name] = f"{score.values['psnr']:.1f} / {score.values['ssim']:.2f}"
    recorder.add_figure(
        cross_reconstruction_figure(
            images, reconstructions, notes=notes, title=f"{target}, made with a modality missing"
        ),
        "synthesis",
        "A slice of each subject: the true image, and below it what the network makes of all modalities or of all but "
        "one. Numbers: PSNR in dB and SSIM of the whole subject.",
    )


def _is_image(score: Score) -> bool:
    return {"psnr", "ssim"} <= score.values.keys()
