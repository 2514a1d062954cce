# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What ``mmseg data phantom ...`` runs: five commands of one form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import Parameter, Signature
from typing import Any, NamedTuple

__all__ = ["COMMANDS", "PhantomCommand"]


class Flag(NamedTuple):
    """A flag: what it says, its type, and its value if it is not given."""

    text: str
    kind: Any = int
    default: Any = None


SHARED = {
    "out": Flag("folder to write.", str, Parameter.empty),
    "subjects": Flag("how many.", default=12),
    "test_subjects": Flag("how many of the last ones are for testing; default is a third."),
    "folds": Flag("number of folds.", default=4),
    "size": Flag("voxels along the first axis; default is full size."),
    "seed": Flag("the same seed makes the same files.", default=0),
}

UNPAIRED = {
    **SHARED,
    "subjects": Flag("how many of each modality.", Mapping[str, int]),
    "test_subjects": Flag("how many of the last ones are for testing; default is a fifth.", Mapping[str, int]),
    "folds": Flag("number of folds.", default=7),
}

CT_MR = {
    **UNPAIRED,
    "subjects": Flag("how many of each modality.", Mapping[str, int], {"ct": 30, "mr": 9}),
    "inverse": Flag("make MR the opposite of CT.", bool, False),
    "outliers": Flag(
        "further patients with artefacts, such as ct=3; they are in outliers.json; default is none.", Mapping[str, int]
    ),
}


class PhantomCommand:
    """Make a phantom and say what was written.

    Args:
        kind: name of the phantom.
        summary: one sentence for the help.
        flags: arguments of its function in :mod:`monai_mmseg.phantom`, and ``out``.
    """

    def __init__(self, kind: str, summary: str, flags: Mapping[str, Flag]) -> None:
        self.kind = kind
        self.__doc__ = "\n".join([summary, "", "Args:", *(f"    {name}: {flag.text}" for name, flag in flags.items())])
        self.__signature__ = Signature(
            [
                Parameter(name, Parameter.KEYWORD_ONLY, default=flag.default, annotation=flag.kind)
                for name, flag in flags.items()
            ]
        )

    def __call__(self, *, out: str, **values: Any) -> None:
        """Write the phantom.

        Args:
            out: folder to write.
            values: the other flags.
        """
        import monai_mmseg.phantom
        from monai_mmseg.data import read_datalist

        written = getattr(monai_mmseg.phantom, f"make_{self.kind}_phantom")(out, **values)
        for path in (written, written.with_name(monai_mmseg.phantom.OUTLIERS)):
            if path.is_file():
                listed = read_datalist(path)
                for section, items in listed.sections.items():
                    numbers = {m: sum(item["modality"] == m for item in items) for m in listed.modalities}
                    print(f"{section}: {', '.join(f'{n} {m}' for m, n in numbers.items())}: {path}")


COMMANDS = {
    "abdomen": PhantomCommand(
        "abdomen", "Make abdomens in CT and MR of different patients: liver, kidneys, spleen.", CT_MR
    ),
    "brain": PhantomCommand(
        "brain",
        "Make brains with a tumour in four MR sequences: necrosis, oedema, enhancing tumour.",
        {
            **SHARED,
            "modalities": Flag(
                "MR sequences of each subject; default is t1 t1gd t2 flair, or t1 t2 of healthy subjects.",
                Sequence[str],
            ),
            "pet": Flag("make an FDG-PET of each subject, too.", bool, False),
            "healthy": Flag("no tumours and no labels.", bool, False),
            "missing": Flag("share of sequences that subjects for training lack.", float, 0.0),
            "own_grids": Flag(
                "other voxels and another place of the head in each modality; default is one grid for all.", bool, False
            ),
            "size": Flag("voxels from left to right; default is 80, which is 2 mm."),
        },
    ),
    "cardiac": PhantomCommand(
        "cardiac", "Make hearts in CT and MR of different patients: LV, left atrium, ascending aorta.", CT_MR
    ),
    "cmr": PhantomCommand(
        "cmr",
        "Make short-axis hearts in bSSFP and LGE of different patients.",
        {
            **UNPAIRED,
            "subjects": Flag("how many of each modality.", Mapping[str, int], {"bssfp": 20, "lge": 20}),
        },
    ),
    "heart": PhantomCommand(
        "heart",
        "Make short-axis hearts in several modalities of the same subjects, misaligned.",
        {
            **SHARED,
            "modalities": Flag("cine, lge, t2 or bold: the images of each subject.", Sequence[str], ("cine", "lge")),
            "motion": Flag(
                "how much the modalities are misaligned: 0 not at all, 1 as hard as the private data of the paper.",
                float,
                1.0,
            ),
        },
    ),
}
