# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What says which data and which weights a run was about."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from monai_mmseg.data.borrowed import borrowed_text
from monai_mmseg.files import read_json


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file.

    Args:
        path: the file.

    Returns:
        64 hexadecimal digits.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "a").write_bytes(b"abc")
        ...     file_sha256(Path(folder) / "a")[:12]
        'ba7816bf8f01'
    """
    with Path(path).open("rb") as file:
        if hasattr(hashlib, "file_digest"):
            return str(hashlib.file_digest(file, "sha256").hexdigest())
        found = hashlib.sha256()
        while block := file.read(1 << 20):
            found.update(block)
        return found.hexdigest()


def datalist_identity(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Name, path and fingerprint of a datalist.

    The fingerprint is of what the list says: modalities, labels and items with their relative paths. It stays when the
    folder moves or the file is written anew, and differs when a subject, a fold or a class does.

    Args:
        path: JSON file.

    Returns:
        ``{"name", "path", "fingerprint"}``, and ``"borrowed"``, how many labels are borrowed and from what, if any are.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     first, second = Path(folder) / "a.json", Path(folder) / "b.json"
        ...     _ = first.write_text('{"training": [], "name": "a"}')
        ...     _ = second.write_text('{"name": "b",  "training": []}')
        ...     datalist_identity(first)["fingerprint"] == datalist_identity(second)["fingerprint"]
        True
    """
    content = read_json(path)
    kept = {key: content[key] for key in ("modalities", "labels", "training", "validation", "test") if key in content}
    text = json.dumps(kept, sort_keys=True, ensure_ascii=False)
    return {
        "name": str(content.get("name", Path(path).stem)),
        "path": str(Path(path).resolve()),
        "fingerprint": hashlib.sha256(text.encode()).hexdigest(),
        **({"borrowed": told} if (told := borrowed_text(content.get("training", []))) else {}),
    }
