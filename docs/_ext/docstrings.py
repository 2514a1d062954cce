# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Turns the reStructuredText that docstrings use into Markdown: roles, double backticks, tables."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:py:)?(?:class|func|meth|attr|mod|obj|data|exc):`(~?)([\w.]+)`")
LITERAL = re.compile(r"``([^`]+)``")
TABLE = re.compile(r"^( *)=+(?: +=+)+ *$")


def to_markdown(text: str) -> str:
    """Markdown of a docstring: code names for roles, single backticks, tables set as they were typed."""
    text = ROLE.sub(lambda match: f"`{match[2].rpartition('.')[2] if match[1] else match[2]}`", text)
    text = LITERAL.sub(r"`\1`", text)
    lines, rules = [], 0
    for line in text.splitlines():
        border = TABLE.match(line)
        if border and rules % 3 == 0:
            lines += [f"{border[1]}```text", line]
        elif border and rules % 3 == 2:
            lines += [line, f"{border[1]}```"]
        else:
            lines.append(line)
        rules += border is not None
    return "\n".join(lines)


class DocstringMarkdown(griffe.Extension):
    """Rewrites every docstring while the sources are read."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of one module, class, function or attribute."""
        if obj.docstring:
            obj.docstring.value = to_markdown(obj.docstring.value)
