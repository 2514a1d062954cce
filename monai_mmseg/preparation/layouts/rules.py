# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Which of a person's images is which modality: rules over what headers or names say, and one image of each."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from monai_mmseg.names import MAX_NAME_BYTES
from monai_mmseg.preparation.layouts.label_map import LabelMap, read_label_map
from monai_mmseg.preparation.layouts.layout import Case
from monai_mmseg.transforms.image_files import image_ending

_EXAMPLE = "t2=SeriesDescription~SPIR&EchoTime>50"
_CONDITION = r"(\w+)\s*(!?~|<=|>=|<|>|=)\s*(.+)"
_COMPARE: dict[str, Callable[[str, str], bool]] = {
    "~": lambda value, wanted: re.search(wanted, value, re.IGNORECASE) is not None,
    "!~": lambda value, wanted: re.search(wanted, value, re.IGNORECASE) is None,
    "=": lambda value, wanted: value.casefold() == wanted.casefold(),
    "<": lambda value, wanted: _is_number(value) and float(value) < float(wanted),
    "<=": lambda value, wanted: _is_number(value) and float(value) <= float(wanted),
    ">": lambda value, wanted: _is_number(value) and float(value) > float(wanted),
    ">=": lambda value, wanted: _is_number(value) and float(value) >= float(wanted),
}


class Rule(NamedTuple):
    """What an image must be to be of a modality."""

    modality: str
    conditions: tuple[tuple[str, str, str], ...]  # key, how to compare, with what

    def takes(self, fact: Callable[[str], str]) -> bool:
        """Whether all conditions hold of an image, of which `fact` tells the value of a key; empty: it is not there."""
        return all(_COMPARE[how](fact(key), wanted) for key, how, wanted in self.conditions)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_rules(rules: Sequence[str]) -> list[Rule]:
    """Rules as they are typed.

    Args:
        rules: each ``modality=condition``, or several conditions joined by ``&``: ``key~regular expression`` (anywhere,
            in any case), ``key!~...`` for its contrary, ``key=text``, or a comparison with a number by ``<``, ``<=``,
            ``>``, ``>=``.

    Returns:
        The rules, in their order.

    Raises:
        ValueError: if one is not of this form.

    Examples:
        >>> rule = read_rules(["t2=SeriesDescription~spir&EchoTime>50"])[0]
        >>> late, early = ({"SeriesDescription": "T2 SPIR", "EchoTime": time} for time in ("70", "5"))
        >>> rule.takes(late.__getitem__), rule.takes(early.__getitem__)
        (True, False)
    """
    made = []
    for text in rules:
        name, equals, rest = str(text).partition("=")
        # an expression may hold "&" itself: only one before a further condition separates
        parts = [part.strip() for part in re.split(r"&(?=\s*\w+\s*(?:!?~|[<>=]))", rest)]
        found = [re.fullmatch(_CONDITION, part) for part in parts]
        if not equals or not re.fullmatch(r"\w[\w.+-]*", name.strip()) or None in found:
            raise ValueError(f"rule must be like {_EXAMPLE!r}, got {text!r}.")
        conditions = tuple((one[1], one[2], one[3].strip()) for one in found if one is not None)
        for _, how, wanted in conditions:
            if "~" in how:
                try:
                    re.compile(wanted)
                except re.error as error:
                    raise ValueError(f"rule {text!r}: {wanted!r} is no regular expression ({error}).") from error
            elif how != "=" and not _is_number(wanted):
                raise ValueError(f"rule {text!r}: {how} compares with a number, got {wanted!r}.")
        made.append(Rule(name.strip(), conditions))
    return made


def first_rule(rules: Sequence[Rule], fact: Callable[[str], str]) -> tuple[int, str] | None:
    """Number and modality of the first rule that takes an image; ``None`` if none does.

    Args:
        rules: of :func:`read_rules`.
        fact: value of a key for the image; an empty text if it has none.

    Returns:
        Number and modality, or ``None``.
    """
    return next(((place, rule.modality) for place, rule in enumerate(rules) if rule.takes(fact)), None)


def plain_name(text: str) -> str:
    """A name for files that needs no quotes, made of a text.

    Args:
        text: any text.

    Returns:
        Letters, digits and ``_.+-``.

    Examples:
        >>> plain_name("A/7 (left)"), plain_name("..")
        ('A_7_left', 'unnamed')
    """
    return re.sub(r"[^\w.+-]+", "_", text).strip("_.")[: MAX_NAME_BYTES // 4] or "unnamed"


class Candidate(NamedTuple):
    """An image that may become the one of its modality."""

    subject: str
    visit: str | None
    modality: str
    rank: int  # number of the rule that took it; of several images the lowest is meant
    described: str
    source: Any


def one_of_each(candidates: Iterable[Candidate], advice: str) -> tuple[list[Candidate], dict[str, str]]:
    """One image of each modality of a person and visit.

    Args:
        candidates: all images that rules or names gave a modality.
        advice: what to do where there are several.

    Returns:
        The images, and for each person with several of one modality a sentence that names them.

    Examples:
        >>> a, b = (Candidate("s1", None, "t1", rank, text, None) for rank, text in ((0, "thin"), (1, "thick")))
        >>> one_of_each([a, b], "")[0] == [a], one_of_each([a, b._replace(rank=0)], "add a rule")[1]
        (True, {'s1': '2 images are t1: thin; thick: add a rule'})
    """
    groups: dict[tuple[str, str | None, str], list[Candidate]] = {}
    for one in candidates:
        groups.setdefault((one.subject, one.visit, one.modality), []).append(one)
    chosen: list[Candidate] = []
    broken: dict[str, str] = {}
    for (subject, visit, modality), several in groups.items():
        best = [one for one in several if one.rank == min(other.rank for other in several)]
        if len(best) > 1:
            where = f" of {visit}" if visit else ""
            texts = "; ".join(one.described for one in best)
            reason = f"{len(best)} images{where} are {modality}: {texts}: {advice}"
            broken[subject] = f"{broken[subject]} {reason}" if subject in broken else reason
        chosen += best[:1]
    return [one for one in chosen if one.subject not in broken], broken


def find_label(
    folder: Path, pattern: str | None, fields: Mapping[str, str | None], label_of: Sequence[str] | None = None
) -> list[Path]:
    """Label volumes of one image.

    Args:
        folder: where the pattern begins.
        pattern: path with fields in braces, ``*`` for a part of a name, ``**`` for any folders; ``None`` fits nothing.
        fields: what the fields are for this image; with ``None`` the pattern fits nothing.
        label_of: modalities that have labels; default is all.

    Returns:
        The files that fit.

    Raises:
        ValueError: if the pattern has a field that is not known.
    """
    if pattern is None or (label_of is not None and fields["modality"] not in label_of):
        return []
    names = re.findall(r"\{(\w+)\}", pattern)
    if unknown := [name for name in names if name not in fields]:
        raise ValueError(f"label {pattern!r} has the field {{{unknown[0]}}}, known are {sorted(fields)}.")
    values = {name: fields[name] for name in names}
    if None in values.values():
        return []
    text = re.sub(r"\{(\w+)\}", lambda match: glob.escape(str(values[match[1]])), pattern.removeprefix("./"))
    return _images(folder, text) or _images(folder, _any_case(text))


def _images(folder: Path, text: str) -> list[Path]:
    """Images at a pattern, but for the hidden files that macOS leaves beside them."""
    return sorted(path for path in folder.glob(text) if image_ending(path) and not path.name.startswith("."))


def _any_case(text: str) -> str:
    """A pattern for which letter case does not count."""
    parts = re.split(r"(\[.*?\])", text)
    return "".join(
        part if place % 2 else re.sub(r"[^\W\d_]", lambda one: f"[{one[0].lower()}{one[0].upper()}]", part)
        for place, part in enumerate(parts)
    )


def label_classes(label: str | None, labels: str | None) -> LabelMap:
    """Classes of labels that a pattern finds.

    Args:
        label: the pattern; ``None``: there are no labels.
        labels: names and values, as :func:`~monai_mmseg.preparation.layouts.label_map.read_label_map` takes them.

    Returns:
        Classes and values; of no label the background alone.

    Raises:
        ValueError: if only one of the two is given.
    """
    if label is not None and labels is None:
        raise ValueError("labels must name the classes of the label files, such as 'liver=1, spleen=5'.")
    if label is None and labels is not None:
        raise ValueError("label must say where the label files are, since labels are named.")
    return LabelMap({0: "background"}, {0: 0}) if labels is None else read_label_map(labels)


def check_labels(
    folder: Path, pattern: str, cases: Sequence[Case], label_of: Sequence[str] | None, modalities: Sequence[str]
) -> list[str]:
    """Refuse a pattern that fits nothing.

    Args:
        folder: where the pattern begins.
        pattern: of the labels.
        cases: with the labels that were found.
        label_of: modalities that have labels; ``None``: all.
        modalities: all there are.

    Returns:
        A sentence for images without label, one for labels of no image, and one for labels of several images.

    Raises:
        ValueError: if no image has a label, or `label_of` names other modalities.
    """
    if unknown := set(label_of or ()) - set(modalities):
        raise ValueError(f"label_of must be some of {list(modalities)}, got {sorted(unknown)}.")
    owners: dict[Path, list[str]] = {}
    without: list[str] = []
    for case in cases:
        name = " ".join(filter(None, (case.subject, case.visit, case.modality)))
        if case.label is not None:
            owners.setdefault(case.label, []).append(name)
        elif label_of is None or case.modality in label_of:
            without.append(name)
    if cases and not owners:
        raise ValueError(f"no label is where {pattern!r} says; looked for one of {', '.join(without[:3])}.")
    notes: list[str] = []
    if without:
        more = ", ..." if len(without) > 10 else ""
        notes.append(f"{len(without)} of {len(cases)} images have no label: {', '.join(without[:10])}{more}.")
    text = re.sub(r"\?\*\*+", "?*", re.sub(r"\{\w+\}", "?*", pattern.removeprefix("./")))
    if spare := [path.name for path in _images(folder, _any_case(text)) if path not in owners]:
        more = ", ..." if len(spare) > 5 else ""
        notes.append(f"{len(spare)} files at {pattern!r} are of no image that is taken: {', '.join(spare[:5])}{more}.")
    if shared := next(((path, names) for path, names in owners.items() if len(names) > 1), None):
        notes.append(
            f"One label is of several images, such as {shared[0].name} of {' and '.join(shared[1])}; if they do not "
            "share a grid, say --label-of, or put {modality} or {visit} into the pattern."
        )
    return notes
