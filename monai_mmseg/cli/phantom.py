# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What ``mmseg data phantom abdomen``, ``brain``, ``cardiac`` and ``cmr`` run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monai_mmseg.cli.console import print_lines

__all__ = ["abdomen", "brain", "cardiac", "cmr"]


def _counts(flag: str, words: Sequence[str]) -> dict[str, int]:
    """Numbers by modality from words such as ``ct=30``."""
    counts: dict[str, int] = {}
    for word in words:
        name, equals, number = str(word).partition("=")
        if not equals or not number.isdigit() or name in counts:
            raise ValueError(f"{flag} needs a number for each modality, such as ct=30 mr=9, got {list(words)}.")
        counts[name] = int(number)
    return counts


def _say(written: Path) -> int:
    """Say how many images of each modality a phantom's folder holds."""
    from monai_mmseg.data.datalist import read_datalist
    from monai_mmseg.phantom import OUTLIERS

    for path in (written, written.with_name(OUTLIERS)):
        if path.is_file():
            listed = read_datalist(path)
            for section, items in listed.sections.items():
                numbers = {m: sum(item["modality"] == m for item in items) for m in listed.modalities}
                print_lines([f"{section}: {', '.join(f'{n} {m}' for m, n in numbers.items())}: {path}"])
    return 0


def abdomen(
    *,
    out: str,
    subjects: Sequence[str] = ("ct=30", "mr=9"),
    test_subjects: Sequence[str] = (),
    folds: int = 7,
    size: int = 0,
    seed: int = 0,
    inverse: bool = False,
    outliers: Sequence[str] = (),
) -> int:
    """Make abdomens in CT and MR of different patients: liver, kidneys, spleen.

    Args:
        out: folder to write.
        subjects: how many of each modality.
        test_subjects: how many of the last ones are for testing, such as ct=6 mr=2; default is a fifth.
        folds: number of folds.
        size: voxels along the first axis; 0 means full size.
        seed: the same seed makes the same files.
        inverse: make MR the opposite of CT.
        outliers: further patients with artefacts, such as ct=3; they are in outliers.json.

    Returns:
        0.
    """
    from monai_mmseg.phantom import make_abdomen_phantom

    return _say(
        make_abdomen_phantom(
            out,
            subjects=_counts("--subjects", subjects),
            test_subjects=_counts("--test-subjects", test_subjects) or None,
            folds=folds,
            size=size or None,
            seed=seed,
            inverse=inverse,
            outliers=_counts("--outliers", outliers),
        )
    )


def brain(
    *,
    out: str,
    modalities: Sequence[str] = (),
    pet: bool = False,
    healthy: bool = False,
    missing: float = 0.0,
    own_grids: bool = False,
    subjects: int = 12,
    test_subjects: int = -1,
    folds: int = 4,
    size: int = 0,
    seed: int = 0,
) -> int:
    """Make brains with a tumour in four MR sequences: necrosis, oedema, enhancing tumour.

    Args:
        out: folder to write.
        modalities: MR sequences of each subject; default is t1 t1gd t2 flair, or t1 t2 of healthy subjects.
        pet: make an FDG-PET of each subject, too.
        healthy: no tumours and no labels.
        missing: share of sequences that subjects for training lack.
        own_grids: other voxels and another place of the head in each modality; default is one grid for all.
        subjects: how many.
        test_subjects: how many of the last subjects are for testing; -1 means a third.
        folds: number of folds.
        size: voxels from left to right; 0 means 80, which is 2 mm.
        seed: the same seed makes the same files.

    Returns:
        0.
    """
    from monai_mmseg.phantom import make_brain_phantom

    return _say(
        make_brain_phantom(
            out,
            modalities=[str(name) for name in modalities] or None,
            pet=pet,
            healthy=healthy,
            missing=float(missing),
            own_grids=own_grids,
            subjects=int(subjects),
            test_subjects=None if test_subjects < 0 else int(test_subjects),
            folds=folds,
            size=size or None,
            seed=seed,
        )
    )


def cardiac(
    *,
    out: str,
    subjects: Sequence[str] = ("ct=30", "mr=9"),
    test_subjects: Sequence[str] = (),
    folds: int = 7,
    size: int = 0,
    seed: int = 0,
    inverse: bool = False,
    outliers: Sequence[str] = (),
) -> int:
    """Make hearts in CT and MR of different patients: LV, left atrium, ascending aorta.

    Args:
        out: folder to write.
        subjects: how many of each modality.
        test_subjects: how many of the last ones are for testing, such as ct=6 mr=2; default is a fifth.
        folds: number of folds.
        size: voxels along the first axis; 0 means full size.
        seed: the same seed makes the same files.
        inverse: make MR the opposite of CT.
        outliers: further patients with artefacts, such as ct=3; they are in outliers.json.

    Returns:
        0.
    """
    from monai_mmseg.phantom import make_cardiac_phantom

    return _say(
        make_cardiac_phantom(
            out,
            subjects=_counts("--subjects", subjects),
            test_subjects=_counts("--test-subjects", test_subjects) or None,
            folds=folds,
            size=size or None,
            seed=seed,
            inverse=inverse,
            outliers=_counts("--outliers", outliers),
        )
    )


def cmr(
    *,
    out: str,
    subjects: Sequence[str] = ("bssfp=20", "lge=20"),
    test_subjects: Sequence[str] = (),
    folds: int = 7,
    size: int = 0,
    seed: int = 0,
) -> int:
    """Make short-axis hearts in bSSFP and LGE of different patients.

    Args:
        out: folder to write.
        subjects: how many of each modality.
        test_subjects: how many of the last ones are for testing, such as bssfp=4 lge=4; default is a fifth.
        folds: number of folds.
        size: voxels along the first in-plane axis; 0 means full size.
        seed: the same seed makes the same files.

    Returns:
        0.
    """
    from monai_mmseg.phantom import make_cmr_phantom

    return _say(
        make_cmr_phantom(
            out,
            subjects=_counts("--subjects", subjects),
            test_subjects=_counts("--test-subjects", test_subjects) or None,
            folds=folds,
            size=size or None,
            seed=seed,
        )
    )
