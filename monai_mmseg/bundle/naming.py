# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Names of the label volumes that a bundle writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monai.data.folder_layout import default_name_formatter

from monai_mmseg.evaluation.files import image_stem

__all__ = ["prediction_name"]


def prediction_name(metadict: Mapping[str, Any] | None, saver: Any) -> dict[str, Any]:
    """Name of an output file that differs between subjects even where their images have the same file names.

    Use it as ``output_name_formatter`` of MONAI's ``SaveImage``. With one folder a subject (``s01/lge.nii.gz``,
    ``s02/lge.nii.gz``) MONAI's own naming would write every subject to one file; here it is ``s01_lge_seg.nii.gz``. An
    image whose name starts with its subject keeps its name. The evaluator finds both.

    Args:
        metadict: metadata of the volume; ``subject`` is put there by
            :class:`~monai_mmseg.transforms.LoadImageModalitiesd`.
        saver: the ``SaveImage``, which counts where there is no file name.

    Returns:
        ``{"subject": ..., "idx": ...}``, as MONAI's ``FolderLayout`` wants it.

    Example:
        >>> prediction_name({"filename_or_obj": "data/s01/lge.nii.gz", "subject": "s01"}, None)["subject"]
        's01_lge'
        >>> prediction_name({"filename_or_obj": "data/s01_lge.nii.gz", "subject": "s01"}, None)["subject"]
        'data/s01_lge.nii.gz'
    """
    name = default_name_formatter(dict(metadict) if metadict else {}, saver)
    subject = (metadict or {}).get("subject")
    stem = image_stem(name["subject"])
    if not isinstance(subject, str) or subject == name["subject"] or stem.startswith(subject):
        return dict(name)
    return {**name, "subject": f"{subject}_{stem}"}
