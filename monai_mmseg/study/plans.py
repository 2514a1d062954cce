# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The trainings of a method on the study's data: bundle, overlays and overrides of each, the same for all its cells."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from monai_mmseg.bundle.collection import bundles_folder
from monai_mmseg.bundle.merging import idle_settings
from monai_mmseg.data.datalist import Datalist, read_datalist
from monai_mmseg.files import atomic_folder, write_json
from monai_mmseg.planning import PlanError, make_plan
from monai_mmseg.study.budget import decay_of, settings_of_steps, settings_of_time
from monai_mmseg.study.definition import Study
from monai_mmseg.study.facts import Facts
from monai_mmseg.study.methods import LABELLED, Method, Stage
from monai_mmseg.study.overrides import check_training

GRID = ("spatial_size", "pixdim", "slice_axis", "intensity_percentiles")
TIMED = "timed"  # folder of what was measured, in that of the plans
GENEROUS = "2h"  # what a plan takes voxels for where steps are counted, not time


class Training(NamedTuple):
    """One bundle run of a cell."""

    name: str  # of its folder in the cell; "" is the cell's own
    bundle: Path
    overlays: tuple[str, ...]
    overrides: Mapping[str, Any]
    stage: Stage | None = None
    modality: str = ""  # the only one, where each has a network
    measured: Mapping[str, float] = {}


def device() -> str:
    """Where cells train."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _small(stage: Stage | None) -> tuple[str, ...]:
    return stage.small if stage is not None and device() == "cpu" else ()


class Plans:
    """Bundles that are set up for a study, each planned and timed once; what was found is kept in its folder.

    Args:
        study: what is compared.
        out: folder of the study.
        listed: datalist that is planned for: of the first fold, in the setting with most labels.
        facts: of it.
    """

    def __init__(self, study: Study, out: Path, listed: Datalist, facts: Facts) -> None:
        self.study, self.listed, self.facts = study, listed, facts
        self.folder = (out / "plans").resolve()  # cells run in folders of their own
        self.folder.mkdir(parents=True, exist_ok=True)

    def trainings(self, method: Method, data: Path | None = None) -> list[Training]:
        """Trainings of a method, in turn.

        Args:
            method: of the kind "bundle".
            data: folder of the datalist whose steps are timed; ``None``: that of the one that is planned for.

        Raises:
            PlanError: the data do not allow it.
        """
        bundle = self._bundle(method, data)
        data = data or self.listed.path.parent
        modalities = self.facts.modalities if method.each else [""]
        found = []
        for stage in method.stages:
            place = self._stage_bundle(bundle, method, stage)
            found += [self._training(method, place, data, len(modalities), "", stage)]
        for modality in modalities:
            found += [self._training(method, bundle, data, len(modalities), modality, None)]
        return found

    def _bundle(self, method: Method, data: Path | None = None) -> Path:
        """The method's bundle, planned where the study has no overlays of its own; for `data`, where these are given.

        DAFNet and its rivals can be planned without a label of the target.
        """
        if not self.study.planned:
            return bundles_folder() / method.bundle
        if not method.plan:
            raise PlanError(
                f"`mmseg plan` cannot set bundles/{method.bundle} up for any data: a study's file with 'overlays' "
                "(such as demo) trains it as it is."
            )
        listed, place = self.listed, self.folder / method.plan
        if data is not None and method.bundle != "dafnet":
            listed, place = read_datalist(data / "datalist.json"), self.folder / f"{method.plan}_{data.name}"
        if not (place / "plan.json").is_file():
            budget = GENEROUS if self.study.budget is None else f"{self.study.budget:g}s"
            target = self.facts.target if self._aims(method) else None
            make_plan(
                listed.path, place, method=method.plan, budget=budget, target=target, grid=self._grid(), workers=1
            )
        _read_all_labels(place / "configs" / "train.json")
        base = bundles_folder() / _content(place / "plan.json")["method"]["bundle"] / "configs" / "settings"
        if base.is_dir() and not (place / "configs" / "settings").is_dir():  # also of a study that was cut off here
            with atomic_folder(place / "configs" / "settings") as part:
                shutil.copytree(base, part, dirs_exist_ok=True)
        return place

    def _aims(self, method: Method) -> bool:
        """Whether it is to segment the target; only DAFNet and its rivals can without a label of it."""
        able = method.bundle == "dafnet" or self.facts.labelled[self.facts.target] > 0
        return able and self.study.aims_at(method, self.facts.target)

    def _grid(self) -> tuple[float, list[int]] | None:
        """Spacing and size of slices of the first plan, which the others take over."""
        for path in sorted(self.folder.glob("*/plan.json"), key=lambda one: one.stat().st_mtime):
            values = {rule["knob"]: rule["value"] for rule in _content(path)["rules"]}
            if len(values["spatial_size"]) == 2:
                return float(values["pixdim"][0]), list(values["spatial_size"])
        return None

    def _stage_bundle(self, bundle: Path, method: Method, stage: Stage) -> Path:
        if stage.bundle == method.bundle:
            return bundle
        planned = bundle / "stage_one"
        return planned if planned.is_dir() else bundles_folder() / stage.bundle

    def _training(
        self, method: Method, bundle: Path, data: Path, parts: int, modality: str, stage: Stage | None
    ) -> Training:
        overlays, overrides = self._settings(method, bundle, modality, stage)
        check_training(
            bundle / "configs",
            overlays,
            {**overrides, **self.study.common},
            self.study.evaluating if stage is None else None,
        )
        name = stage.bundle if stage else modality
        share = stage.share if stage else (1 - sum(one.share for one in method.stages)) / parts
        kept = self.folder / TIMED / method.name / (f"of_{name}.json" if name else "whole.json")
        if kept.is_file():  # a study that goes on must not time anew
            content = _content(kept)
            timed, measured = content["settings"], content["measured"]
        else:
            labelled = stage or self.facts.labelled[self.facts.target]
            bare, given = () if labelled else method.bare, dict(overrides)
            if method.redraws and not labelled:  # redrawn images are not there yet: the source's own take as long
                given |= {"target": self.facts.source} if "target" in given else {"modalities": [self.facts.source]}
            timed, measured = self._timed(bundle, data, (*overlays, *bare), given, share)
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_json(kept, {"settings": timed, "measured": measured})
        said = {**timed, **overrides, **self.study.common}  # what was asked for wins over what follows from the time
        return Training(name, bundle, overlays, said, stage, modality, measured)

    def _settings(
        self, method: Method, bundle: Path, modality: str, stage: Stage | None
    ) -> tuple[tuple[str, ...], dict[str, Any]]:
        """Overlays and overrides of a training, before its epochs are known."""
        config = _content(bundle / "configs" / "train.json")
        common = (
            _small(stage)
            if self.study.planned
            else tuple(one for one in self.study.overlays if (bundle / "configs" / f"{one}.json").is_file())
        )
        own = stage or method
        overlays, overrides = (*common, *own.overlays), dict(own.overrides)
        if stage is not None and stage.bundle == method.bundle:  # on the same grid, with the same network
            overrides = {**method.overrides, **overrides}
        if self.study.planned and stage is None and method.planned is not None:
            overlays, overrides = method.added, {**method.planned, **overrides}
        for name in overlays:
            if not (bundle / "configs" / f"{name}.json").is_file():
                raise PlanError(f"overlay {name} of bundles/{own.bundle} does not fit what was planned for these data.")
        if not self.study.planned:
            overrides = {**self._data(config), **overrides}
        if "target" in config and (self._aims(method) if stage is None else stage.shares_grid):
            overrides["target"] = self.facts.target
        if stage is not None and stage.shares_grid:
            overrides = {**self._shared(method, config), **overrides}
        if modality or (method.redraws and stage is None and "target" not in config):
            overrides["modalities"] = [modality or self.facts.target]
        return overlays, overrides

    def _shared(self, method: Method, config: Mapping[str, Any]) -> dict[str, Any]:
        """Names and grid of the plan for a stage that is not planned itself; the source comes first."""
        found: dict[str, Any] = {"modalities": [self.facts.source, self.facts.target]}
        if self.study.planned:
            plan = _content(self._bundle(method) / "configs" / "train.json")
            found |= {name: plan[name] for name in GRID if name in plan}
            found |= {name: plan[name][:2] for name in ("spatial_size", "pixdim")}  # volumes are redrawn in slices, too
        return {name: value for name, value in found.items() if name in config}

    def _data(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Names of the data in the place of the bundle's, which its own check would put there as well."""
        found: dict[str, Any] = {"labels": {str(value): name for value, name in self.listed.labels.items()}}
        given = config.get("modalities")
        if not isinstance(given, list) or not set(given) <= set(self.listed.modalities):
            found["modalities"] = list(self.facts.modalities)
        return {name: value for name, value in found.items() if name in config and config[name] != value}

    def _timed(
        self, bundle: Path, data: Path, overlays: tuple[str, ...], overrides: Mapping[str, Any], share: float
    ) -> tuple[dict[str, Any], dict[str, float]]:
        study = self.study
        if study.steps is None and study.budget is None:
            return {}, {}
        measured: dict[str, float] = {}
        if study.budget is None:
            assert study.steps is not None
            timed = settings_of_steps(study.steps)
        else:
            given = {"dataset_dir": str(data.resolve()), "resume": False, **overrides, **study.common}
            where = device()
            timed, measured = settings_of_time(
                share * study.budget, bundle, device=where, overlays=overlays, overrides=given
            )
        contents = [_content(bundle / "configs" / f"{name}.json") for name in ("train", *overlays)]
        return {**timed, **decay_of(timed, set(contents[0]) - idle_settings(contents))}, measured


def forget_timing(out: Path, method: str) -> None:
    """Time a method anew in the next call.

    Args:
        out: folder of the study.
        method: its name.
    """
    shutil.rmtree(out / "plans" / TIMED / method, ignore_errors=True)


def _read_all_labels(config: Path) -> None:
    """Let a plan that was made without a label of the target read those of settings that have some.

    Where a setting has none, the overlays of its cells say so, and such a setting may be run first.
    """
    content = _content(config)
    if content.get("target_fraction") == 0:
        write_json(config, {**content, **LABELLED})


def _content(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found
