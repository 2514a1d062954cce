# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What ``mmseg data import ...`` runs: one command for each reader of :mod:`monai_mmseg.preparation.layouts`."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cached_property
from inspect import Parameter, Signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import monai_mmseg
from monai_mmseg.cli.console import print_table
from monai_mmseg.data.visits import person_of
from monai_mmseg.unannotated import UNANNOTATED

if TYPE_CHECKING:
    from monai_mmseg.preparation.layouts import Layout

READERS = "monai_mmseg.preparation.layouts"
DOORS = {  # reader read_<name> in the module <name> of READERS, and what it reads
    "acdc": "ACDC: cardiac cine MR, both phases of a patient.",
    "auto3dseg": "a datalist of MONAI or Auto3DSeg.",
    "bids": "anatomical images in BIDS.",
    "brats": "BraTS 2017 to 2024: brain tumours in four MR sequences.",
    "btcv": "BTCV: abdominal CT.",
    "chaos": "CHAOS: abdominal MR, both sequences of a patient as a pair, and CT.",
    "dicom": "DICOM: folders of series, studies or patients.",
    "folder": "any folder, by patterns of its paths.",
    "mmwhs": "MM-WHS 2017: hearts in CT and MR.",
    "mscmrseg": "MS-CMRSeg 2019: hearts in bSSFP, T2 and LGE.",
    "msd": "a task of the Medical Segmentation Decathlon.",
    "nnunet": "a raw data set of nnU-Net.",
}
COMMON = {  # flags of all readers
    "overwrite": (bool, False, "replace files that are there already."),
    "workers": (int, 1, "processes; each holds one subject at a time."),
    "skip_broken": (bool, False, "leave out subjects, or visits of them, that cannot be used, and list them."),
    "no_sheet": (bool, False, "do not draw the contact sheet."),
}
OUT = "folder to write: datalist.json, labels, images that had to be made, and preparation.json, which tells how."
FOLDS = 5  # of `mmseg data split`, unless it is told otherwise
ARCHIVE = "Or all of it as one .zip, .tar or .tar.gz, which is unpacked into OUT/unpacked."
_KINDS: dict[str, Any] = {"str": str, "int": int, "float": float, "bool": bool, "Sequence[str]": Sequence[str]}


class ImportCommand:
    """Read a data set as it was unpacked and write its datalist.

    Flags and help are those of the reader, taken from its source: to import it would import all that it needs.

    Args:
        kind: name of the reader.
        summary: what it reads, for the list of commands.
    """

    def __init__(self, kind: str, summary: str) -> None:
        self.kind = kind
        self.__doc__ = f"Import {summary}"

    @cached_property
    def _source(self) -> tuple[ast.Module, ast.FunctionDef]:
        path = Path(monai_mmseg.__file__).parent.joinpath(*READERS.split(".")[1:], f"{self.kind}.py")
        module = ast.parse(path.read_text(encoding="utf-8"))
        functions = (one for one in module.body if isinstance(one, ast.FunctionDef))
        return module, next(one for one in functions if one.name == f"read_{self.kind}")

    @cached_property
    def help(self) -> str:
        """The reader's docstring, with the flags of all readers."""
        text = ast.get_docstring(self._source[1]) or ""
        told = dict(re.findall(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", text.partition("Args:")[2].partition("\n\n")[0], re.M))
        first = self._source[1].args.args[0].arg
        lines = {
            "source": f"{told.pop(first, '')} {ARCHIVE}",
            "out": OUT,
            **told,
            **{name: one[2] for name, one in COMMON.items()},
        }
        args = "\n".join(f"    {name}: {words}" for name, words in lines.items())
        return f"{self.__doc__}\n\n{text.partition('Args:')[0].rstrip()}\n\nArgs:\n{args}"

    @cached_property
    def __signature__(self) -> Signature:
        named = Parameter.KEYWORD_ONLY
        return Signature(
            [
                Parameter("source", Parameter.POSITIONAL_OR_KEYWORD, annotation=str),
                Parameter("out", named, annotation=str),
                *self._options(),
                *(Parameter(name, named, default=one[1], annotation=one[0]) for name, one in COMMON.items()),
            ]
        )

    def _options(self) -> Iterator[Parameter]:
        module, reader = self._source
        constants = {
            target.id: one.value
            for one in module.body
            if isinstance(one, ast.Assign)
            for target in one.targets
            if isinstance(target, ast.Name)
        }
        given = reader.args
        defaults = [*[None] * (len(given.args) - len(given.defaults)), *given.defaults]
        pairs = [*zip(given.args, defaults, strict=True), *zip(given.kwonlyargs, given.kw_defaults, strict=True)]
        for one, default in pairs[1:]:  # the first is the source
            kind = _KINDS[ast.unparse(one.annotation or ast.Constant(None)).removesuffix(" | None")]
            node = constants[default.id] if isinstance(default, ast.Name) else default
            value = Parameter.empty if node is None else ast.literal_eval(node)
            yield Parameter(one.arg, Parameter.KEYWORD_ONLY, default=value, annotation=kind)

    def __call__(
        self,
        source: str,
        *,
        out: str,
        overwrite: bool = False,
        workers: int = 1,
        skip_broken: bool = False,
        no_sheet: bool = False,
        **options: Any,
    ) -> None:
        """Write the data set in `source` to `out` and say what it holds; `options` are the reader's."""
        from monai_mmseg.preparation.layouts import import_layout
        from monai_mmseg.preparation.layouts.archives import unpacked
        from monai_mmseg.preparation.layouts.rules import plain_name

        reader = getattr(importlib.import_module(f"{READERS}.{self.kind}"), f"read_{self.kind}")
        found = reader(unpacked(source, out), **options)
        asked = {name: value for name, value in options.items() if value is not None}
        path = import_layout(
            found,
            out,
            overwrite=overwrite,
            workers=workers,
            skip_broken=skip_broken,
            sheet=not no_sheet,
            made_by={"kind": self.kind, "source": source, "options": asked},
        )
        print_imported(found, path)
        steps = _next_steps(path, f"my_{plain_name(found.name)}")
        print("next:", *(f"  {shlex.join(['mmseg', *words])}" for words in steps), sep="\n")


def _next_steps(path: Path, bundle: str) -> Iterator[list[str]]:
    """Commands up to a plan, which wants folds; of one person there are none to make."""
    from monai_mmseg.data.datalist import read_datalist

    items = read_datalist(path).sections.get("training", [])
    persons, folds = ({one(item) for item in items} for one in (person_of, lambda item: item.get("fold")))
    yield ["data", "check", str(path)]
    if len(persons) < 2:
        return
    if None in folds or len(folds) < 2:
        few = ["--folds", str(len(persons))] if len(persons) < FOLDS else []
        yield ["data", "split", str(path), *few, *(["--overwrite"] if folds - {None} else [])]
    yield ["plan", str(path), "--out", bundle]


def print_imported(layout: Layout, path: Path) -> None:
    """Say what was imported: images, label values, who was left out, decisions, terms of the data.

    Args:
        layout: what the reader found.
        path: the datalist.
    """
    from monai_mmseg.data.datalist import read_datalist
    from monai_mmseg.preparation.layouts.importing import record_of
    from monai_mmseg.preparation.layouts.label_map import value_spans

    record = record_of(path)
    items = [(section, one) for section, found in read_datalist(path).sections.items() for one in found]
    rows = []
    for modality in layout.modalities:
        mine = [(section, one) for section, one in items if one["modality"] == modality]
        labelled = sum("label" in one for _, one in mine)
        rows.append([modality, len(mine), labelled, sum(section == "test" for section, _ in mine)])
    print_table(f"{layout.name}: {path}", ["modality", "images", "labelled", "for testing"], rows)
    classes: dict[int, list[int]] = {}
    for value, one in layout.values.items():
        classes.setdefault(one, []).append(value)
    told = {**layout.labels, UNANNOTATED: "not annotated, counts nowhere"}
    drawn = {one: name for one, name in told.items() if one in classes}
    if len(drawn) > 1:  # not the background alone
        print("label values:", "; ".join(f"{value_spans(classes[one])} -> {one} {name}" for one, name in drawn.items()))
    if missing := [name for one, name in layout.labels.items() if one not in classes]:
        print(f"in no label, neither taught nor scored here: {', '.join(missing)}")
    for title, lines in (
        ("left out", [f"{subject}: {reason}" for subject, reason in record["broken"].items()]),
        ("decided", record["notes"]),
    ):
        if lines:
            print(f"{title}:", *(f"  - {line}" for line in lines), sep="\n")
    terms = {"terms of use and reference": layout.reference, "licence": layout.licence, "to be cited": layout.citation}
    for name, text in terms.items():
        if text:
            print(f"{name}: {text}")
    print(f"written: {path}; labels, and volumes that had to be made, lie beside it in labels and images")


def layout(kind: str, folder: str, *, out: str, sequence: str = "t2spir", overwrite: bool = False) -> None:
    """Import a public data set under the older name of the command.

    Args:
        kind: data set: btcv, chaos, mmwhs or mscmrseg.
        folder: where it was unpacked; it is not changed.
        out: JSON file to write; folders labels (and images, for DICOM) appear beside it.
        sequence: which images of chaos: t2spir, t1dual_in, t1dual_out or ct.
        overwrite: replace the list, and labels and images beside it, that are there already.
    """
    from monai_mmseg.outputs import check_output_file
    from monai_mmseg.preparation.layouts import import_layout

    if kind not in (old := ["btcv", "chaos", "mmwhs", "mscmrseg"]):
        raise ValueError(f"there is no layout {kind!r}; there are {old}.")
    if check_output_file(out, overwrite=overwrite).suffix.lower() != ".json":
        raise ValueError(f"out must be a .json file, got {out}.")
    reader = getattr(importlib.import_module(f"{READERS}.{kind}"), f"read_{kind}")
    found = reader(folder, **({"sequence": sequence} if kind == "chaos" else {}))
    print_imported(found, import_layout(found, out, overwrite=overwrite, made_by={"kind": kind, "source": folder}))


COMMANDS = {kind: ImportCommand(kind, summary) for kind, summary in DOORS.items()}


def help_of(command: Any) -> str:
    """Help of any command: its docstring, unless it has more to say.

    Args:
        command: a function, or one of the commands here.

    Returns:
        Text with a section ``Args:``.
    """
    return command.help if isinstance(command, ImportCommand) else inspect.getdoc(command) or ""
