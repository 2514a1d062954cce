# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Turns the reStructuredText of docstrings into Markdown: roles, code, formulas, literal blocks, tables."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:py:)?(?:class|func|meth|attr|mod|obj|data|exc):`(~?)([\w.\s]+)`")
FORMULA = re.compile(r":math:(?=`)")
LITERAL = re.compile(r"(?<!`)``([^`]+)``(?!`)")
BLOCK = re.compile(r"^( *)(\S.*):: *\n\n((?:\1 {4}.*\n|\n)+)", re.MULTILINE)
MATH = re.compile(r"^( *)\.\. math:: (.+)\n", re.MULTILINE)
TABLE = re.compile(r"^( *)=+ [= ]+\n(.+\n)\1=+ [= ]+\n((?:.+\n)+?)\1=+ [= ]+\n", re.MULTILINE)
RETURNS = re.compile(r"^( *Returns:\n +)(?=\S)", re.MULTILINE)


def _role(match: re.Match[str]) -> str:
    name = "".join(match[2].split())  # a long name may be broken over two lines
    return f"`{name.rpartition('.')[2] if match[1] else name}`"


def _block(match: re.Match[str]) -> str:
    """Fenced code for a paragraph that ends with two colons and the block that follows it."""
    indent, paragraph, block = match.groups()
    lines = [line.removeprefix(f"{indent}    ") for line in block.rstrip().split("\n")]
    language = "json" if lines[0].startswith(("{", '"')) else "console"
    return "\n".join(
        [f"{indent}{paragraph}:", "", *(indent + line for line in (f"```{language}", *lines, "```")), "\n"]
    )


def _cells(row: str) -> list[str]:
    return re.split(r" {2,}", re.sub(r"^(``[^`]+``) (?! )", r"\1  ", row.strip()))


def _table(match: re.Match[str]) -> str:
    """A Markdown table; a row that starts with an empty cell goes on the one above it."""
    indent, header, body = match.groups()
    head, rows = _cells(header), []
    for line in body.splitlines():
        cells = _cells(line)
        if line[len(indent)] == " ":
            above = rows.pop()
            cells = [
                f"{old} {new}".strip() for old, new in zip(above, [""] * (len(head) - len(cells)) + cells, strict=True)
            ]
        rows.append(cells)
    lines = ["", head, ["---"] * len(head), *rows]
    return "".join(f"{indent}| {' | '.join(line)} |\n" if line else "\n" for line in lines)


def to_markdown(text: str, returns: str | None = None) -> str:
    """Markdown of a docstring.

    Args:
        text: the docstring, without its indentation.
        returns: the annotated type; named where ``Returns`` begins, since what stands before a colon is read as type.
    """
    text = TABLE.sub(_table, BLOCK.sub(_block, f"{text}\n"))
    text = MATH.sub(r"\1```latex\n\1\2\n\1```\n", FORMULA.sub("", text))
    text = LITERAL.sub(r"`\1`", ROLE.sub(_role, text))
    return RETURNS.sub(lambda match: f"{match[1]}{returns}: ", text) if returns else text


class DocstringMarkdown(griffe.Extension):
    """Rewrites every docstring while the sources are read."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of one module, class, function or attribute."""
        if obj.docstring:
            returns = obj.returns if isinstance(obj, griffe.Function) else getattr(obj, "annotation", None)
            obj.docstring.value = to_markdown(obj.docstring.value, returns and str(returns))
