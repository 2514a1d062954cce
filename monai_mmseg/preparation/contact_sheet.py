# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""One picture of a whole datalist: a row for each subject, a column for each modality where there are several."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from monai_mmseg.preparation.check import SHEET_SUBJECTS, DatalistReport, even_choice

_UNPAIRED_COLUMNS = 6


def write_contact_sheet(report: DatalistReport, path: str | Path, *, max_subjects: int = SHEET_SUBJECTS) -> Path:
    """Draw each subject at one place, in all its modalities, with the contours of their labels.

    Use it to see at a glance what no check can: images that are not what their name says, labels that are shifted,
    modalities that do not lie on each other. The place is where most of the organ is, in scanner coordinates; ticks on
    the sides of each picture point at it.

    Args:
        report: from ``check_datalist(..., thumbnails=True)``, which keeps slices of up to 30 subjects.
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
    chosen = even_choice(list(dict.fromkeys(subject for subject, _ in shown)), max_subjects)
    modalities = [name for name in report.modalities if any(one == name for _, one in shown)]
    unpaired = all(sum((subject, name) in shown for name in modalities) == 1 for subject in chosen)
    rows = [(subject, name) for subject in chosen for name in modalities]
    if unpaired:  # side by side, one modality after the other: a row a subject would be empty but for one picture
        rows = [(subject, name) for name in modalities for subject in chosen if (subject, name) in shown]
    borrowed = {(volume.subject, volume.modality) for volume in report.volumes if volume.label_source}
    thumbnails = []
    for subject, modality in rows:
        thumb = shown.get((subject, modality))
        if thumb is None or not thumb.image.size:
            text = f"{subject}: no {modality}" if thumb is None else f"{subject} {modality}: {thumb.text}"
            thumbnails.append(Thumbnail(text, np.zeros((8, 8), dtype=np.float32)))
        else:
            text = f"{subject} {modality} {thumb.text}" + (" borrowed" if (subject, modality) in borrowed else "")
            thumbnails.append(Thumbnail(text, thumb.image, thumb.label, thumb.spacing, thumb.mark))
    count = len({volume.subject for volume in report.volumes})
    title = report.name if len(chosen) == count else f"{report.name}: {len(chosen)} of {count} subjects"
    columns = _UNPAIRED_COLUMNS if unpaired else len(modalities)
    figure = contact_sheet(thumbnails, report.labels, columns=columns, title=title)
    return save_figure(figure, path)
