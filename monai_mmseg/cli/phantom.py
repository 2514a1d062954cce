# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What ``mmseg data phantom ...`` runs: five commands of one form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import Parameter, Signature
from typing import Any, NamedTuple


class Flag(NamedTuple):
    """A flag: its type, its value if it is not given, and what it says."""

    kind: Any
    default: Any
    text: str


PAIRED = {
    "out": Flag(str, Parameter.empty, "folder to write."),
    "subjects": Flag(int, 12, "how many."),
    "test_subjects": Flag(int, None, "how many of the last ones are for testing; default is a third."),
    "folds": Flag(int, 4, "number of folds."),
    "size": Flag(int, None, "voxels along the first axis; default is full size."),
    "seed": Flag(int, 0, "the same seed makes the same files."),
}
BRAIN = {
    **PAIRED,
    "modalities": Flag(Sequence[str], None, "MR sequences; default is t1 t1gd t2 flair, or t1 t2 of healthy subjects."),
    "pet": Flag(bool, False, "make an FDG-PET of each subject, too."),
    "healthy": Flag(bool, False, "no tumours and no labels."),
    "missing": Flag(float, 0.0, "share of sequences that subjects for training lack."),
    "own_grids": Flag(
        bool, False, "other voxels and another place of the head in each modality, not one grid for all."
    ),
    "size": Flag(int, None, "voxels from left to right; default is 80, which is 2 mm."),
}
HEART = {
    **PAIRED,
    "modalities": Flag(Sequence[str], ("cine", "lge"), "images of each subject: cine, lge, t2 or bold."),
    "motion": Flag(float, 1.0, "misalignment of the modalities: 0 none, 1 as in the private data of the paper."),
}
CMR = {
    **PAIRED,
    "subjects": Flag(Mapping[str, int], {"bssfp": 20, "lge": 20}, "how many of each modality."),
    "test_subjects": Flag(Mapping[str, int], None, "how many of the last ones are for testing; default is a fifth."),
    "folds": Flag(int, 7, "number of folds."),
}
CT_MR = {
    **CMR,
    "subjects": Flag(Mapping[str, int], {"ct": 30, "mr": 9}, "how many of each modality."),
    "inverse": Flag(bool, False, "make MR the opposite of CT."),
    "outliers": Flag(Mapping[str, int], None, "further patients with artefacts, such as ct=3, in outliers.json."),
}


class PhantomCommand:
    """Make a phantom and say what was written.

    Args:
        kind: name of the phantom.
        summary: one sentence for the help.
        flags: arguments of its function in :mod:`monai_mmseg.phantom`, with ``out`` first.
    """

    def __init__(self, kind: str, summary: str, flags: Mapping[str, Flag]) -> None:
        self.kind = kind
        self.__doc__ = "\n".join([summary, "", "Args:", *(f"    {name}: {flag.text}" for name, flag in flags.items())])
        named = Parameter.KEYWORD_ONLY
        self.__signature__ = Signature(
            [Parameter(n, named, default=f.default, annotation=f.kind) for n, f in flags.items()]
        )

    def __call__(self, *, out: str, **values: Any) -> None:
        """Write the phantom into ``out`` and say how many images it holds; ``values`` are the other flags."""
        from monai_mmseg import phantom
        from monai_mmseg.data import read_datalist

        written = getattr(phantom, f"make_{self.kind}_phantom")(out, **values)
        for path in filter(lambda file: file.is_file(), (written, written.with_name(phantom.OUTLIERS))):
            listed = read_datalist(path)
            for section, items in listed.sections.items():
                numbers = (f"{sum(item['modality'] == name for item in items)} {name}" for name in listed.modalities)
                print(f"{section}: {', '.join(numbers)}: {path}")


COMMANDS = {
    kind: PhantomCommand(kind, summary, flags)
    for kind, summary, flags in (
        ("abdomen", "Make abdomens in CT and MR of different patients: liver, kidneys, spleen.", CT_MR),
        ("brain", "Make brains with a tumour in four MR sequences: necrosis, oedema, enhancing tumour.", BRAIN),
        ("cardiac", "Make hearts in CT and MR of different patients: LV, left atrium, ascending aorta.", CT_MR),
        ("cmr", "Make short-axis hearts in bSSFP and LGE of different patients.", CMR),
        ("heart", "Make short-axis hearts in several modalities of the same subjects, misaligned.", HEART),
    )
}
