# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What ``mmseg plan`` runs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from monai_mmseg.cli.console import print_table, short_path


def plan(
    datalist: str,
    *,
    out: str,
    method: str | None = None,
    budget: str = "2h",
    memory: float | None = None,
    target: str | None = None,
    may_lack: Sequence[str] | None = None,
    device: str | None = None,
    workers: int = 2,
    overwrite: bool = False,
) -> None:
    """Write a bundle that is set up for your data, with the reason of every setting; run it where you will train.

    Args:
        datalist: datalist.json of the data.
        out: folder of the bundle to write.
        method: unet, ummkd, ummkd_3d, csa, dafnet, dafnet_pretrained, disentangle or unet_randomised; default is what
            fits the data.
        budget: time of the training, such as 10m, 2h or 2d.
        memory: GB that a training step may take; default is most of the GPU, or half of what is free for a CPU.
        target: modality to segment with the help of the others, where they are not aligned.
        may_lack: modalities that new subjects may come without.
        device: cpu or cuda; default is a GPU if there is one.
        workers: subjects that are measured at a time.
        overwrite: plan anew in a folder that holds a planned bundle; one that was trained is moved beside.
    """
    from monai_mmseg.planning import make_plan
    from monai_mmseg.planning.context import time_text
    from monai_mmseg.planning.readme import shown

    made = make_plan(
        datalist,
        out,
        method=method,
        budget=budget,
        memory=memory,
        target=target,
        may_lack=may_lack,
        device=device,
        overwrite=overwrite,
        workers=workers,
    )
    print(f"situation: {made.situation}")
    for name, text in made.facts.items():
        print(f"  {name}: {text}")
    print(f"method: {made.method}: {made.reason}\n")
    rows = [[one.name, one.knob, shown(one.value), one.reason] for one in made.fired]
    print_table("Rules", ["rule", "knob", "value", "reason"], rows)
    if made.moved is not None:
        print(f"\nthe bundle that was trained here is now {short_path(made.moved)}")
    folder = short_path(made.folder)
    print(f"\nwritten: {folder}, with plan.json; training will take about {time_text(made.seconds)}:")
    for config in made.stages:
        _print_command("python -m monai.bundle run training --config_file", f"{folder}/{config}")
    if made.lender:
        masks, data = f"{folder}_masks", f"{folder}_data/datalist.json"
        about = ["--source", made.lender, "--target", str(made.target)]
        asked = [] if budget == "2h" else ["--budget", budget]
        print("better on phantoms, half a minute of one core for each subject: masks that are registered once")
        _print_command("mmseg baseline register", datalist, *about, "--section", "training", "--out", masks)
        _print_command("mmseg data label", datalist, masks, "--modality", str(made.target), "--out", data)
        _print_command("mmseg plan", data, "--out", f"{folder}_registered", *asked)


def _print_command(command: str, *words: str) -> None:
    print(f"  {command} {shlex.join(map(str, words))}")
