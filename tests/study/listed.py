# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Datalists by hand, whose files are empty."""

from __future__ import annotations

import json
from pathlib import Path

from monai_mmseg.data import read_datalist
from monai_mmseg.data.datalist import Datalist


def write_listed(folder: Path, subjects: int = 6, test: int = 2, folds: int = 3, bare: tuple[str, ...] = ()) -> Path:
    """Pairs of cine and LGE, all labelled in training but `bare`, folds in turn."""
    items = [
        {"image": f"{m}{n}.nii.gz", "modality": m, "subject": f"s{n}", "fold": n % folds}
        | ({} if m in bare and n < subjects else {"label": f"{m}{n}_l.nii.gz"})
        for n in range(subjects + test)
        for m in ("cine", "lge")
    ]
    content = {"name": "hearts", "modalities": ["cine", "lge"], "labels": {"0": "background", "1": "LV"}}
    content["training"] = items[: 2 * subjects]
    if test:
        content["test"] = [{k: v for k, v in item.items() if k != "fold"} for item in items[2 * subjects :]]
    folder.mkdir(parents=True, exist_ok=True)
    for item in items:
        for key in {"image", "label"} & set(item):
            (folder / str(item[key])).touch()
    (folder / "datalist.json").write_text(json.dumps(content), encoding="utf-8")
    return folder / "datalist.json"


def listed(folder: Path, **settings: int) -> Datalist:
    """The same, read."""
    return read_datalist(write_listed(folder, **settings))
