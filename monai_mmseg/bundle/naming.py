# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Names of the label volumes that a bundle writes, and what names of images say."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.data.folder_layout import default_name_formatter
from monai.utils import ImageMetaKey

from monai_mmseg.evaluation.files import image_stem, prediction_stem, prediction_stems
from monai_mmseg.names import counted, first_names
from monai_mmseg.transforms.image_files import VOLUME_ENDINGS, image_ending

logger = logging.getLogger(__name__)


def prediction_name(metadict: Mapping[str, Any] | None, saver: Any) -> dict[str, Any]:
    """Name of an output file that differs between subjects even where their images have the same file names.

    Use it as ``output_name_formatter`` of MONAI's ``SaveImage``. With one folder a subject (``s01/lge.nii.gz``,
    ``s02/lge.nii.gz``) MONAI's own naming would write every subject to one file; here it is ``s01_lge_seg.nii.gz``. An
    image whose name starts with its subject keeps its name, and dots in names stay. The evaluator finds all of them.

    Args:
        metadict: metadata of the volume; the loaders put ``subject`` there, and ``prediction``, a name that was chosen
            among those of all images.
        saver: the ``SaveImage``, which counts where there is no file name.

    Returns:
        ``{"subject": ..., "idx": ...}``, as MONAI's ``FolderLayout`` wants it, which takes an ending off ``subject``.

    Examples:
        >>> prediction_name({"filename_or_obj": "data/s01.a/lge.nii.gz", "subject": "s01.a"}, None)["subject"]
        's01.a_lge.nii.gz'
        >>> prediction_name({"filename_or_obj": "data/s01_lge.nii.gz", "subject": "s01"}, None)["subject"]
        'data/s01_lge.nii.gz'
    """
    name = dict(default_name_formatter(dict(metadict) if metadict else {}, saver))
    if not metadict or not metadict.get(ImageMetaKey.FILENAME_OR_OBJ):
        return name
    path, subject = Path(name["subject"]), metadict.get("subject")
    stem = own = image_stem(path)
    if chosen := metadict.get("prediction"):
        stem = str(chosen)
    elif isinstance(subject, str) and subject != str(path):
        stem = prediction_stem(path, subject)
    # with an ending: MONAI would take what follows the last dot of the name for one
    whole = f"{stem}.nii.gz"
    return {**name, "subject": str(path.with_name(whole)) if stem == own else whole}


def check_prediction_names(items: Iterable[Mapping[str, Any]], target: str | None = None) -> None:
    """Check that no two items would be written to one file.

    When to use: before anything is predicted. Image ``2_lge.nii.gz`` of subject ``p1`` and ``lge.nii.gz`` of ``p1_2``
    both become ``p1_2_lge``, and the second would silently replace the first.

    Args:
        items: what inference runs on: ``image`` (a path, or a mapping from modality to path), ``subject`` and maybe the
            ``modality``, which tells images of one name apart.
        target: of images that are mappings, the modality whose file gives the name; the first where it is missing.

    Raises:
        ValueError: two predictions would get one name; the message has both images.

    Examples:
        >>> items = [{"image": "a/2_lge.nii.gz", "subject": "p1"}, {"image": "b/lge.nii.gz", "subject": "p1_2"}]
        >>> check_prediction_names(items[:1])
        >>> check_prediction_names(items)
        Traceback (most recent call last):
        ValueError: two predictions would be named 'p1_2_lge': that of a/2_lge.nii.gz, subject 'p1', and that of ...
    """
    first: dict[str, str] = {}
    named = [{**item, "image": _naming_image(item["image"], target)} for item in items]
    for stem, item in zip(prediction_stems(named), named, strict=True):
        who = f"{item['image']}, subject {str(item['subject'])!r}"
        if stem in first:
            raise ValueError(
                f"two predictions would be named {stem!r}: that of {first[stem]}, and that of {who}. Rename a subject "
                "or a file."
            )
        first[stem] = who


def _naming_image(image: Any, target: str | None) -> Any:
    """The image whose file gives a prediction its name."""
    if not isinstance(image, Mapping):
        return image
    return image[target] if target in image else next(iter(image.values()))


def tell_left_out(folder: Path, files: Iterable[Path], instead: str) -> None:
    """Warn of images in a folder that are not predicted, as their format is not looked for there.

    Args:
        folder: where the images are.
        files: those that are taken.
        instead: what takes the others, an imperative.
    """
    taken = {path.name for path in files}
    there = (path.name for path in folder.iterdir() if image_ending(path) in VOLUME_ENDINGS and path.is_file())
    if left := sorted(name for name in there if name not in taken and name[0] != "." and not name.endswith(".img")):
        count = f"{counted(len(left), 'image')} {'is' if len(left) == 1 else 'are'}"
        logger.warning("%s: %s not predicted: %s. %s.", folder, count, first_names(left, 3), instead)


def tell_other_modalities(files: Sequence[Path], taken: Sequence[str], known: Sequence[str], *, remedy: str) -> None:
    """Warn of images that are taken for one modality where the ends of their names say another.

    Args:
        files: the images.
        taken: the modality that each is taken for; an empty one is of a file that is not looked at.
        known: the modalities that a name can say.
        remedy: what to do, a sentence.
    """
    others: dict[str, list[str]] = {}
    for file, modality in zip(files, taken, strict=True):
        stem = image_stem(file).casefold()
        said = max((name for name in known if stem.endswith(f"_{name.casefold()}")), key=len, default="")
        if modality and said and said.casefold() != modality.casefold():
            others.setdefault(modality, []).append(file.name)
    for modality, names in others.items():
        logger.warning(
            "%d of %d images are taken as %s, and their names say another modality: %s. %s",
            len(names),
            len(files),
            modality,
            first_names(names, 3),
            remedy,
        )
