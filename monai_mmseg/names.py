# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Names that came with data, become names of files and are told."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PureWindowsPath

MAX_NAME_BYTES = 128
"""Names of files end at 255 bytes, and an image's name, a postfix and an ending are put behind this one."""


def name_problem(text: str) -> str | None:
    """Why a text cannot be a part of a file's name; ``None`` if it can.

    Args:
        text: name of a subject, a modality or the like.

    Returns:
        The rest of a sentence whose first words are the name.

    Examples:
        >>> name_problem("s01.a"), name_problem("siteA/p1")
        (None, "holds a slash; call it 'siteA_p1'")
        >>> name_problem("..")
        'is a place, not a name'
    """
    if not text or text.isspace():
        return "is empty"
    if text != text.strip():
        return "begins or ends with a space"
    if any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in text):
        return "holds a control character"
    if text in (".", ".."):
        return "is a place, not a name"
    if "/" in text or "\\" in text or PureWindowsPath(text).drive:
        parts = text.replace("\\", "/").replace(":", "/").split("/")
        better = "_".join(part for part in parts if part not in ("", ".", ".."))[:MAX_NAME_BYTES]
        what = "a slash" if "/" in text or "\\" in text else "a drive"
        return f"holds {what}" + (f"; call it {better!r}" if better else "")
    if (size := len(text.encode())) > MAX_NAME_BYTES:
        return f"is {size} bytes long, the most is {MAX_NAME_BYTES}"
    return None


def windows_problem(text: str) -> str | None:
    """Why Windows cannot have a file or folder of a name that other systems can; ``None`` if it can.

    Args:
        text: the name; :func:`name_problem` has none.

    Returns:
        The rest of a sentence whose first words are the name.

    Examples:
        >>> windows_problem("aux.1"), windows_problem("s01"), windows_problem("a?")
        ('is the name of a device there', None, 'holds ?')
    """
    if re.fullmatch(r"(?i)(con|prn|aux|nul|com[1-9]|lpt[1-9])(\..*)?", text):
        return "is the name of a device there"
    if text.endswith("."):
        return "ends with a dot"
    found = re.findall(r'[<>"|?*]', text)
    return f"holds {found[0]}" if found else None


def safe_name(text: str, what: str) -> str:
    """The text itself, if it can be a part of a file's name: no slash, no ``..``, no control character, not too long.

    Use it wherever a file or a folder is named after something that came with the data, so that what is written stays
    in its folder.

    Args:
        text: the name.
        what: what it is the name of, for the message.

    Returns:
        The same text.

    Raises:
        ValueError: if a file of this name would lie elsewhere, or could not be written.

    Examples:
        >>> safe_name("1.2.840.113", "subject")
        '1.2.840.113'
        >>> safe_name("../x", "subject")
        Traceback (most recent call last):
        ValueError: subject '../x' names files, but it holds a slash; call it 'x'.
    """
    if problem := name_problem(text):
        raise ValueError(f"{what} {short_text(text)!r} names files, but it {problem}.")
    return text


def short_text(text: str, most: int = 60) -> str:
    """The beginning of a text that is too long for a line.

    Args:
        text: of any length.
        most: characters to keep.

    Examples:
        >>> short_text("anatomy", 6), short_text("style")
        ('ana...', 'style')
    """
    return text if len(text) <= most else f"{text[: most - 3]}..."


def first_names(values: Iterable[object], most: int = 5) -> str:
    """The first few of a list, and how many more there are.

    Args:
        values: names; of one that comes again, the first.
        most: how many are shown.

    Examples:
        >>> first_names(["a", "b", "c"], most=2)
        'a, b and 1 more'
    """
    shown = [str(value) for value in dict.fromkeys(values)]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more


def counted(number: int, what: str) -> str:
    """A number of things, one of them in the singular.

    Args:
        number: how many.
        what: one of them; its plural ends in ``s``.

    Examples:
        >>> counted(1, "image"), counted(2, "image")
        ('1 image', '2 images')
    """
    return f"{number} {what}{'' if number == 1 else 's'}"


def names_of_one_file(names: list[str]) -> list[tuple[str, str]]:
    """Pairs of different names that are one file where case does not count, as on Windows and macOS.

    Args:
        names: all names.

    Returns:
        Pairs, in the order of the names.

    Examples:
        >>> names_of_one_file(["P1", "s2", "p1"])
        [('P1', 'p1')]
    """
    first: dict[str, str] = {}
    pairs = []
    for name in dict.fromkeys(names):
        key = unicodedata.normalize("NFC", name).casefold()
        if key in first:
            pairs.append((first[key], name))
        first.setdefault(key, name)
    return pairs
