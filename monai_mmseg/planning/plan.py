# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""From a datalist to a bundle that is set up for it: measure, name the situation, decide, write, time, correct."""

from __future__ import annotations

import logging
import math
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch

import monai_mmseg
from monai_mmseg.bundle.data_place import data_place
from monai_mmseg.data.annotations import undrawn_classes
from monai_mmseg.data.datalist import Datalist, read_datalist
from monai_mmseg.files import atomic_folder, write_json
from monai_mmseg.planning.bases import fixed_settings, stage_one_settings
from monai_mmseg.planning.context import Context, seconds_of
from monai_mmseg.planning.data_rules import enough_steps, is_ct, volumes_pay
from monai_mmseg.planning.fingerprint import fingerprint
from monai_mmseg.planning.network import voxels_per_second
from monai_mmseg.planning.readme import about, readme
from monai_mmseg.planning.rules import UNPAIRED, Fired, apply_rules
from monai_mmseg.planning.situation import METHODS, RANDOMISED, PlanError, choose_method, find_situation
from monai_mmseg.planning.timing import measure_bundle
from monai_mmseg.planning.write import write_bundle

logger = logging.getLogger(__name__)

PLAN = "plan.json"
"""File in the folder of a planned bundle: what was measured, which rules fired, why."""
ATTEMPTS = 3  # to halve the batch where a step takes more memory than it may


@dataclass(frozen=True)
class Plan:
    """What was planned."""

    folder: Path
    situation: str
    facts: dict[str, str]
    method: str
    reason: str
    fired: list[Fired]
    seconds: float  # that the training will take
    moved: Path | None  # where a bundle that had the folder before is now
    stages: list[str]  # configs to train, in turn
    lender: str = ""  # modality whose masks could be registered to the target, which has no label that trains
    target: str = ""


def make_plan(
    datalist: str | Path,
    out: str | os.PathLike[str],
    *,
    method: str | None = None,
    budget: str = "2h",
    memory: float | None = None,
    target: str | None = None,
    may_lack: Sequence[str] | None = None,
    device: str | None = None,
    overwrite: bool = False,
    workers: int = 2,
    grid: tuple[float, list[int]] | None = None,
) -> Plan:
    """Write a bundle that is set up for a data set, with the reasons of every choice.

    When to use: with data of one's own, before the first training. Nothing of it is random; what is measured is the
    data, and how fast this machine trains. Run it on the machine that will train.

    Args:
        datalist: ``datalist.json`` of the data.
        out: folder of the bundle; must not exist.
        method: one of :data:`~monai_mmseg.planning.METHODS`; ``None``: by the rules.
        budget: time of the training: ``10m``, ``2h``, ``2d``.
        memory: GB that a training step may take; ``None``: most of the GPU's, half of what is free for a CPU.
        target: modality to segment, for methods that have one.
        may_lack: modalities that new subjects may come without.
        device: ``cpu`` or ``cuda``; ``None``: a GPU if there is one.
        overwrite: plan anew in a folder that holds a planned bundle. One that was trained is moved beside, not deleted.
        workers: subjects that are measured at a time.
        grid: mm within slices and size of slices, for methods that are compared; ``None``: by the rules.

    Returns:
        What was planned and written.

    Raises:
        PlanError: the data do not allow it.
        FileExistsError: the folder exists and is not to be planned anew, or is no planned bundle.
        ValueError: an argument or the datalist cannot be used.
    """
    folder, seconds = Path(os.path.abspath(out)), seconds_of(budget)
    _check_place(folder, overwrite)
    listed = read_datalist(datalist)
    if listed.path.name != "datalist.json":
        raise ValueError(f"the file must be called datalist.json, as bundles look for it; got {listed.path.name}.")
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if torch.device(where).type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device must be one of this machine, which has no CUDA; got {where!r}.")
    if memory is not None and not memory > 0:
        raise ValueError(f"memory must be a number of GB above 0, got {memory}.")
    if method is not None and method not in METHODS:  # refused before data are measured
        raise PlanError(f"method must be one of {', '.join(METHODS)}, got {method!r}.")
    _check_folds(listed)
    _check_classes(listed)
    found = fingerprint(datalist, workers=workers)
    situation = find_situation(found, target=target, may_lack=may_lack)
    choose_method(situation, method, volumes=(False, ""), ct=False)  # refused before this machine is timed
    context = Context(
        found,
        situation,
        device=torch.device(where).type,
        budget=seconds,
        memory=_memory(where) if memory is None else memory * 1e9,
        speed={dims: voxels_per_second(dims, torch.device(where)) for dims in (2, 3)},
        grid=grid,
    )
    ct = any(is_ct(context, name) for name in situation.modalities)
    volumes = volumes_pay(context)
    context.volumes = volumes[0]
    context.method, reason = choose_method(situation, method, volumes=volumes, ct=ct)
    if target is not None and context.method in (*UNPAIRED, RANDOMISED):
        logger.warning(
            "--target %s changes nothing: %s segments each image by itself, of every modality.", target, context.method
        )
    staged = folder.with_name(f".{folder.name}.{os.getpid()}.plan")
    with atomic_folder(staged) as part:
        fired = _write_and_time(context, part, folder.name, listed.path.parent, where, reason)
        write_json(part / PLAN, _record(context, fired, reason, budget))
    moved = _make_room(folder)
    os.rename(staged, folder)
    _warn_of_few_steps(context)
    stages = ["stage_one/configs/train.json"] if context.method == "disentangle" else []
    return Plan(
        folder=folder,
        situation=situation.name,
        facts=situation.facts,
        method=context.method,
        reason=reason,
        fired=fired,
        seconds=_expected(context),
        moved=moved,
        stages=[*stages, "configs/train.json"],
        lender=situation.lender,
        target=situation.target,
    )


def _warn_of_few_steps(context: Context) -> None:
    steps = context.knobs["max_epochs"] * context.knobs["epoch_length"]
    enough = enough_steps(context)
    if steps < enough:
        logger.warning(
            "%d steps are few for a network to learn from; --budget %dm has room for about %d",
            steps,
            math.ceil(max(context.budget, _expected(context)) / 60 * enough / steps),
            enough,
        )


def _write_and_time(context: Context, part: Path, name: str, data: Path, device: str, reason: str) -> list[Fired]:
    """Write by estimates, train a few steps, write again by what was measured."""
    for _ in range(ATTEMPTS):
        _write(context, part, name, data, reason)
        context.seconds = measured = measure_bundle(part, device=device)
        if measured["memory"] <= context.memory:
            break
        context.shrink += 1
    if measured["memory"] == math.inf:
        raise PlanError("a training step does not fit into the GPU, whatever the batch: free its memory.")
    fired = _write(context, part, name, data, reason)
    if context.method == "disentangle":
        _write_stage_one(context, part, name, data, device)
    return fired


def _write(context: Context, part: Path, name: str, data: Path, reason: str) -> list[Fired]:
    context.knobs.clear()
    fired = apply_rules(context)
    write_bundle(
        context.base,
        part,
        {**context.knobs, **fixed_settings(context)},
        name=name,
        dataset_dir=data_place(part, data),
        about=about(context, name),
        readme=readme(context, fired, name, reason),
    )
    return fired


def _write_stage_one(context: Context, part: Path, name: str, data: Path, device: str) -> None:
    """The first stage takes the other half of the budget: written by a guess, timed, written again."""
    folder = part / "stage_one"
    folder.mkdir(exist_ok=True)
    epochs, length = 2, 10
    for guess in (True, False):
        values = stage_one_settings(context, epochs, length)
        write_bundle(
            "disentangle",
            folder,
            values,
            name=f"{name}/stage_one",
            dataset_dir=data_place(folder, data),
            readme=_STAGE_ONE_README,
        )
        if guess:
            taken = measure_bundle(folder, device=device)
            spare = context.budget * (1 - context.part) - taken["start"] - 2 * taken["validation"]
            steps = max(20, int(spare / taken["step"]))
            epochs = max(2, min(40, steps // 10))
            length = steps // epochs


_STAGE_ONE_README = "# The first stage\n\nTrained before the bundle that it lies in, whose page says how.\n"


def _expected(context: Context) -> float:
    """Seconds that the training will take."""
    assert context.seconds is not None
    knobs, seconds = context.knobs, context.seconds
    checks = knobs["max_epochs"] // knobs["val_interval"]
    steps = knobs["max_epochs"] * knobs["epoch_length"]
    own = seconds["start"] + checks * seconds["validation"] + steps * seconds["step"]
    return own + context.budget * (1 - context.part)


def _record(context: Context, fired: Sequence[Fired], reason: str, budget: str) -> dict[str, Any]:
    situation = context.situation
    return {
        "situation": {**asdict(situation)},
        "method": {"name": context.method, "bundle": context.base, "reason": reason},
        "rules": [one._asdict() for one in fired],
        "fixed": fixed_settings(context),
        "machine": {
            "device": context.device,
            "memory": context.memory,
            "speed": {str(dims): round(speed) for dims, speed in context.speed.items()},
            "seconds": context.seconds,
            "threads": torch.get_num_threads(),
        },
        "budget": budget,
        "versions": {
            "monai_mmseg": monai_mmseg.__version__,
            "monai": monai.__version__,
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "fingerprint": context.fingerprint,
    }


def _check_place(folder: Path, overwrite: bool) -> None:
    """Refuse a folder that is there, before anything is measured."""
    if not folder.exists():
        return
    if not (folder / PLAN).is_file():
        raise FileExistsError(f"{folder} is there and holds no {PLAN}: it is not a planned bundle; give another place.")
    if not overwrite:
        raise FileExistsError(f"{folder} holds a planned bundle; --overwrite plans it anew, or give another place.")


def _make_room(folder: Path) -> Path | None:
    """Take away a planned bundle; one that was trained, or that has results, is moved beside."""
    if not folder.exists():
        return None
    kept = [path for place in ("models", "eval", "stage_one/models") for path in (folder / place).glob("*")]
    if not kept:
        shutil.rmtree(folder)
        return None
    stamp = time.strftime("%Y%m%d-%H%M%S")
    moved = folder.with_name(f"{folder.name}_before_{stamp}")
    os.rename(folder, moved)
    return moved


def _check_folds(listed: Datalist) -> None:
    """A plan validates on fold 0; said before data are measured."""
    folds = {item.get("fold") for item in listed.items("training")}
    if 0 in folds and len(folds) > 1:
        labelled = {item["fold"] for item in listed.items("training") if item.get("label")}
        if labelled and 0 not in labelled:
            raise PlanError(
                f"{listed.path}: no image of fold 0, which validates, has a label: "
                "`mmseg data split --overwrite --seed N` makes other folds."
            )
        return
    beside = sorted(listed.path.parent.glob("test*/datalist.json"))
    hint = f"`mmseg data split {listed.path}` makes them."
    if beside:
        hint = f"{beside[0]} and its like, written by `mmseg data split --test`, have them: plan one of these."
    raise PlanError(f"{listed.path}: training items need a 'fold' from 0, two folds at least: {hint}")


def _check_classes(listed: Datalist) -> None:
    """Each class is shown by a label that trains."""
    items = [item for item in listed.select(exclude_fold=0) if item.get("label")]
    undrawn = undrawn_classes(items, listed.labels)
    if lost := set.intersection(*(set(undrawn.get(item["modality"], ())) for item in items)) if items else set():
        raise PlanError(
            f"{listed.path}: no label outside of fold 0, which validates, shows {', '.join(sorted(lost))} "
            "('annotated'): nothing would say where it is. `mmseg data split --overwrite --seed N` makes other folds."
        )


def _memory(device: str) -> float:
    """Bytes that a step may take."""
    if torch.device(device).type == "cuda":
        return 0.85 * torch.cuda.get_device_properties(torch.device(device)).total_memory
    try:
        return 0.5 * os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # not a system that says so
        return 4e9
