# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""One picture of a whole datalist: a row for each subject, a column for each modality."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from monai_mmseg.preparation.check import DatalistReport


def write_contact_sheet(report: DatalistReport, path: str | Path, *, max_subjects: int = 30) -> Path:
    """Draw the slice of every image that holds most of the organ, with the contours of its label.

    Use it to see at a glance what no check can: images that are not what their name says, labels that are shifted.

    Args:
        report: from ``check_datalist(..., thumbnails=True)``.
        path: PNG to write.
        max_subjects: rows at most; of more subjects an even choice is shown, and the title says so.

    Returns:
        The file written.

    Raises:
        ValueError: if the report has no thumbnails.
    """
    from monai_mmseg.visualize import Thumbnail, contact_sheet, save_figure

    shown = {(volume.subject, volume.modality): volume.thumb for volume in report.volumes if volume.thumb is not None}
    if not shown:
        raise ValueError("the report has no thumbnails; call check_datalist with thumbnails=True.")
    subjects = list(dict.fromkeys(subject for subject, _ in shown))
    chosen = subjects
    if len(subjects) > max_subjects:
        chosen = [subjects[int(place)] for place in np.linspace(0, len(subjects) - 1, max_subjects).round()]
    modalities = [name for name in report.modalities if any(one == name for _, one in shown)]
    thumbnails = []
    for subject in chosen:
        for modality in modalities:
            thumb = shown.get((subject, modality))
            if thumb is None:
                thumbnails.append(Thumbnail(f"{subject}: no {modality}", np.zeros((8, 8), dtype=np.float32)))
            else:
                thumbnails.append(Thumbnail(f"{subject} {modality}", thumb.image, thumb.label, thumb.spacing))
    title = report.name if chosen == subjects else f"{report.name}: {len(chosen)} of {len(subjects)} subjects"
    figure = contact_sheet(thumbnails, report.labels, columns=len(modalities), title=title)
    return save_figure(figure, path)
