# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The datalist of methods whose target images borrow masks of a baseline: made once for each setting and fold."""

from __future__ import annotations

import time
from pathlib import Path

from monai_mmseg import baselines
from monai_mmseg.data.datalist import read_datalist
from monai_mmseg.files import read_json, write_json
from monai_mmseg.preparation import borrow_labels
from monai_mmseg.study.facts import Facts, find_facts
from monai_mmseg.study.methods import Method
from monai_mmseg.study.process import Used

USED = "used.json"


def borrowed_data(method: Method, data: Path, facts: Facts) -> tuple[Path, Facts, Used]:
    """A datalist beside the one of a setting and fold, in which target images borrow the labels that they lack.

    All seeds, and all methods of one baseline, share it; each is charged with its time, which one alone would take.
    Only subjects whose target image has no label are looked at; the test section stays as it is.

    Args:
        method: with ``borrows``.
        data: folder of the datalist.
        facts: of it.

    Returns:
        Folder of the new list, its facts, and what making it took.
    """
    source = method.borrows.removesuffix("_baseline")
    listed, folder = data / "datalist.json", data / source
    if not (folder / USED).is_file():  # it comes last
        clock, cpu = time.monotonic(), time.thread_time()
        items = read_datalist(listed).items("training")
        bare = {one["subject"] for one in items if one["modality"] == facts.target and not one.get("label")}
        function = getattr(baselines, method.borrows)
        given = [one for one in items if one["subject"] in bare]
        made = function(given, facts.source, facts.target, folder / "masks", lend=True, overwrite=True, workers=1)
        about = {"modality": facts.target, "method": f"{source} of {facts.source}"}
        borrow_labels(listed, made, folder / "datalist.json", **about, overwrite=True)
        write_json(folder / USED, Used(time.monotonic() - clock, time.thread_time() - cpu)._asdict())
    used = Used(**read_json(folder / USED))
    return folder, find_facts(read_datalist(folder / "datalist.json"), facts.target, facts.source), used
