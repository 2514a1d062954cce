# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What is to be predicted, as items of a datalist: out of a file, a folder of files, a DICOM folder or a datalist."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib

from monai_mmseg.bundle.dicom import dicom_to_nifti, tell_other_kind
from monai_mmseg.bundle.naming import tell_left_out, tell_other_modalities
from monai_mmseg.data.datalist import SECTIONS, read_datalist
from monai_mmseg.evaluation.files import image_stem
from monai_mmseg.transforms.dicom_headers import dicom_files
from monai_mmseg.transforms.image_files import NIFTI_ENDINGS, VOLUME_ENDINGS, is_dicom_file

logger = logging.getLogger(__name__)

PATTERN = "{subject}_{modality}"
"""How files of several modalities are named, without their ending."""

_FILES = tuple(ending for ending in VOLUME_ENDINGS if ending not in (".hdr", ".img"))


class Inputs(NamedTuple):
    """Images to predict."""

    items: list[dict[str, Any]]  # "image", "subject" and, but for stacks, "modality"
    stacks: bool  # 4D files, each with all modalities


class Asked(NamedTuple):
    """What was said about the images."""

    modality: str | None = None
    pattern: str | None = None
    section: str | None = None


def find_inputs(
    images: str | Path, modalities: Sequence[str], asked: Asked, scratch: Path, *, known: Sequence[str] = ()
) -> Inputs:
    """Items of what is to be predicted.

    Args:
        images: an image file, a folder of images, a folder with one DICOM series or one file of DICOM, a datalist, or
            its folder.
        modalities: names that the model takes.
        asked: what was said about the images.
        scratch: folder for an image that has to be converted.
        known: further names that the model knows; images whose names say one of them are told.

    Returns:
        The items, with absolute paths.

    Raises:
        FileNotFoundError: there is no such file or folder, or no image in it.
        ValueError: the modality of an image is not known, or it is not one of the model's.
        KeyError: the datalist has no such section.

    Examples:
        >>> import tempfile
        >>> import numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("s1_ct.nii.gz", "s1_mr.nii.gz"):
        ...         nib.save(nib.Nifti1Image(np.zeros((4, 4, 2), np.uint8), np.eye(4)), f"{folder}/{name}")
        ...     found = find_inputs(folder, ["ct", "mr"], Asked(), Path(folder))
        >>> [(item["subject"], item["modality"]) for item in found.items]
        [('s1', 'ct'), ('s1', 'mr')]
    """
    place = Path(images)
    if asked.modality is not None and asked.modality not in modalities:
        raise ValueError(f"--modality must be one of {', '.join(modalities)}, got {asked.modality!r}.")
    if not place.exists():
        raise FileNotFoundError(f"{images}: there is no such file or folder.")
    datalist = place / "datalist.json" if place.is_dir() else place
    if datalist.suffix == ".json" and datalist.is_file():
        return Inputs(_listed(datalist, modalities, asked), stacks=False)
    if asked.section is not None:
        raise ValueError(f"--section is for a datalist, and {images} is none.")
    files = [place] if place.is_file() else _image_files(place)
    dicom = not files or (place.is_file() and is_dicom_file(place))
    if dicom:
        files = [dicom_to_nifti(place, scratch)]
    if wrong := [file for file in files if not file.name.lower().endswith(_FILES)]:
        raise ValueError(f"{wrong[0]} is no image that is read here: {', '.join(_FILES)}, or DICOM.")
    found = _named(files, modalities, asked, first=place.name if dicom else files[0].name)
    if dicom and not found.stacks:
        tell_other_kind(place, found.items[0]["modality"])
    if asked.pattern is None:
        taken = [str(item.get("modality", "")) for item in found.items]
        remedy = f"Without --modality, names {PATTERN} say it."
        if asked.modality is None:
            remedy = "It is the only one that this network takes."
        tell_other_modalities(files, taken, [*modalities, *known], remedy=remedy)
    return found


def _image_files(folder: Path) -> list[Path]:
    files = sorted(path for path in folder.iterdir() if path.name.lower().endswith(_FILES) and path.is_file())
    files = [path for path in files if not path.name.startswith(".")]
    stems = [image_stem(path) for path in files]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise ValueError(f"{folder} must hold one image of a name, got {', '.join(twice)} in two formats.")
    if files and (slices := set(dicom_files(folder, recursive=False, broken={})) - set(files)):
        raise ValueError(
            f"{folder} holds DICOM files, such as {min(slices).name}, beside {files[0].name}; give one of them, or a "
            "datalist."
        )
    if files:
        tell_left_out(folder, files, "A datalist takes them")
    return files


def _named(files: Sequence[Path], modalities: Sequence[str], asked: Asked, *, first: str) -> Inputs:
    """Items of files, their subject and modality from their names or from what was said; `first` is for messages."""
    if asked.modality is not None and asked.pattern is not None:
        raise ValueError("--modality says what all images are of and --pattern where their names say it: give one.")
    pattern = _regular(asked.pattern or PATTERN, modalities)
    found = {file: pattern.fullmatch(image_stem(file)) for file in files}
    unnamed = [file for file in files if found[file] is None]
    items: list[dict[str, Any]] = []
    if asked.modality is None and not unnamed:
        known = {name.casefold(): name for name in modalities} | {name: name for name in modalities}
        for file, match in found.items():
            assert match is not None
            name = known.get(match["modality"]) or known[match["modality"].casefold()]
            items.append({"image": str(file.resolve()), "subject": match["subject"], "modality": name})
        return Inputs(items, stacks=False)
    if asked.pattern is not None or (asked.modality is None and len(unnamed) < len(files)):
        raise ValueError(
            f"{unnamed[0].name} ({len(unnamed)} of {len(files)} images) is not named {asked.pattern or PATTERN} with a "
            f"modality of {', '.join(modalities)}. Give --modality for all, --pattern, or a datalist."
        )
    modality = asked.modality or (modalities[0] if len(modalities) == 1 else None)
    items = [{"image": str(file.resolve()), "subject": image_stem(file)} for file in files]
    if modality is not None:
        return Inputs([{**item, "modality": modality} for item in items], stacks=False)
    if all(_is_stack(file) for file in files):
        return Inputs(items, stacks=True)
    raise ValueError(
        f"the model knows {', '.join(modalities)}; say which {first} is of with --modality, or name the images "
        f"{PATTERN}, or give a datalist."
    )


def _regular(pattern: str, modalities: Sequence[str]) -> re.Pattern[str]:
    words = re.split(r"(\{\w*\})", pattern)
    if sorted(word for word in words if word.startswith("{")) != ["{modality}", "{subject}"]:
        raise ValueError(
            f"--pattern must have {{subject}} and {{modality}} once each, such as {PATTERN}; got {pattern!r}."
        )
    names = "|".join(re.escape(name) for name in sorted(modalities, key=len, reverse=True))
    groups = {"{subject}": "(?P<subject>.+?)", "{modality}": f"(?P<modality>{names})"}
    # what follows the names may be an ending that was typed
    words[-1] = words[-1].removesuffix(".gz").removesuffix(".nii")
    return re.compile("".join(groups.get(word, re.escape(word)) for word in words), re.IGNORECASE)  # as in an import


def _is_stack(file: Path) -> bool:
    """Whether a NIfTI file has a fourth axis; other formats are taken as 3D."""
    if not file.name.lower().endswith(NIFTI_ENDINGS):
        return False
    try:
        image: Any = nib.load(file)
        shape = tuple(image.shape)
    except Exception as error:  # nibabel raises its own, OSError, EOFError and zlib errors for broken files
        raise ValueError(f"{file} cannot be read as an image: {error}") from error
    return len(shape) > 3 and shape[3] > 1


def _listed(datalist: Path, modalities: Sequence[str], asked: Asked) -> list[dict[str, Any]]:
    """Items of a section that are of these modalities, without labels."""
    if asked.pattern is not None:
        raise ValueError("--pattern is for files; a datalist says which modality an image is of.")
    listed = read_datalist(datalist)
    section = asked.section or ("test" if listed.sections.get("test") else None)
    if section is None:
        there = [name for name in SECTIONS if listed.sections.get(name)]
        if len(there) != 1:
            raise ValueError(f"{datalist} has no section 'test'; choose with --section: {', '.join(there) or 'none'}.")
        section = there[0]
        if section == "training":
            logger.warning("%s has no section 'test': its training images are predicted.", datalist)
    items = listed.items(section)
    wanted = [asked.modality] if asked.modality is not None else list(modalities)
    kept = [item for item in items if item["modality"] in wanted]
    if not kept:
        there = list(dict.fromkeys(item["modality"] for item in items))
        raise ValueError(
            f"{datalist}: section {section!r} has no image of {', '.join(wanted)}, only of "
            f"{', '.join(there) or 'none'}."
        )
    if missing := [item["image"] for item in kept if not Path(item["image"]).exists()]:
        raise FileNotFoundError(f"{datalist}: {len(missing)} images are not there, the first is {missing[0]}.")
    return [{key: item[key] for key in ("image", "subject", "modality", "pairs") if key in item} for item in kept]
