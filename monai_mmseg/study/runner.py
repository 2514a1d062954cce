# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Run a study: every cell that is not there yet, some at a time, and the page of what was found."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from monai_mmseg.data.datalist import read_datalist
from monai_mmseg.errors import short_message
from monai_mmseg.files import write_json
from monai_mmseg.handlers.clock import clock_time
from monai_mmseg.planning.situation import PlanError
from monai_mmseg.preparation.export_nnunet import UnfitCases
from monai_mmseg.runs.lock import FolderLock
from monai_mmseg.runs.versions import made_with
from monai_mmseg.study.baselines import run_baseline_cell
from monai_mmseg.study.borrowed import borrowed_data
from monai_mmseg.study.cells import FILE, Cell, CellResult, read_cell, read_cells, write_cell
from monai_mmseg.study.content import DEFINITION
from monai_mmseg.study.contents import contents, settle_changes
from monai_mmseg.study.data import check_files, fold_sections, kept_label, source_data, target_of, write_fold
from monai_mmseg.study.definition import Setting, Study
from monai_mmseg.study.facts import Facts, find_facts, refusal, taken_away
from monai_mmseg.study.methods import Method, StudyError
from monai_mmseg.study.nnunet import find_nnunet, run_nnunet_cell
from monai_mmseg.study.plans import Plans, Training
from monai_mmseg.study.process import warm_up
from monai_mmseg.study.record import check_definition, note_cells
from monai_mmseg.study.trained import run_bundle_cell

Say = Callable[[str], object]


def run_study(
    study: Study, out: Path, *, lanes: int = 1, threads: int = 1, retry: bool = True, say: Say = print
) -> list[CellResult]:
    """Run what is missing of a study.

    A cell that has ended is never run again; one that was cut off goes on at its last epoch. A cell that fails or that
    the data refuse is kept with its reason, and costs no other one anything.

    Args:
        study: what is compared.
        out: its folder.
        lanes: cells that run at a time.
        threads: of the CPU, for each.
        retry: run cells again that have failed or were refused.
        say: called with each line of progress.

    Returns:
        All cells of the study.

    Raises:
        StudyError: the folder holds another study, or the data cannot be used at all.
        FolderInUse: another process runs it.
    """
    if lanes < 1 or threads < 1:
        raise StudyError(f"lanes and threads must be 1 at least, got lanes={lanes}, threads={threads}.")
    out.mkdir(parents=True, exist_ok=True)
    lock = FolderLock(out, "another one (--out)")
    lock.acquire()
    try:
        definition = check_definition(study, out, say)
        run = _Run(study, out, lanes, threads, retry, say)
        run.write_data()
        write_json(out / DEFINITION, definition)  # a study whose data cannot be used leaves none to clash with
        run.run()
    finally:
        lock.release()
    wanted = {one.name for one in study.methods}
    return [one for one in read_cells(out) if one.cell.method in wanted]


class _Run:
    """One call of :func:`run_study`."""

    def __init__(self, study: Study, out: Path, lanes: int, threads: int, retry: bool, say: Say) -> None:
        self.study, self.out, self.lanes, self.threads = study, out, lanes, threads
        self.retry, self.say = retry, say
        self.data: dict[tuple[str, int], tuple[Path, Facts]] = {}
        self.trainings: dict[str, list[Training]] = {}
        self._kept: dict[str, str] = {}  # why a setting takes no label from methods that stack modalities
        self._whole: dict[str, Facts] = {}  # of each setting before it takes labels away
        self._guard, self._count, self._begun = threading.Lock(), 0, time.monotonic()

    def run(self) -> None:
        cells = self._cells()
        note_cells(self.out, cells)
        todo = [cell for cell in cells if self._is_missing(cell)]
        todo = [cell for cell in todo if not self._refuse(cell)]
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)  # what is timed is as fast as the cells
        try:
            self._prepare(todo)
        finally:
            torch.set_num_threads(before)
        todo = [cell for cell in todo if self._by_name(cell).kind != "bundle" or cell.method in self.trainings]
        if any(self._by_name(cell).kind == "bundle" for cell in todo):
            warm_up()
        self._begun, self._of = time.monotonic(), len(todo)
        with ThreadPoolExecutor(self.lanes) as pool:
            jobs = [pool.submit(self._run_cell, cell) for cell in todo]
            try:
                for job in jobs:
                    job.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def write_data(self) -> None:
        """Datalists of all settings and folds. The target is that of the data, whose labels a setting may take away."""
        sources: dict[str, Any] = {}
        target = target_of(self.study)
        for setting in self.study.settings:
            kind = _own(setting)
            if kind not in sources:
                sources[kind] = source_data(self.study, setting, self.out)
            facts = find_facts(sources[kind], target, self.study.source)
            self._kept[setting.name], self._whole[setting.name] = kept_label(sources[kind], setting), facts
            for fold in range(self.study.folds):
                folder = self.out / "data" / setting.name / f"fold{fold}"
                sections = fold_sections(sources[kind], setting, fold)
                check_files(sources[kind].path, sections)
                found = contents(sources[kind], sections)
                settle_changes(self.out, setting.name, fold, found, self.say)
                listed = write_fold(sources[kind], setting, fold, folder)
                self.data[setting.name, fold] = folder, find_facts(listed, facts.target, facts.source or None)
        self._borrowing = {folder: threading.Lock() for folder, _ in self.data.values()}
        self._tested = {s.name: bool(sources[_own(s)].sections.get("test")) for s in self.study.settings}

    def _cells(self) -> list[Cell]:
        """All cells, seed by seed so that a cut leaves whole seeds."""
        found = []
        for seed in self.study.seeds:
            for fold in range(self.study.folds):
                for setting in self.study.settings:
                    found += [
                        Cell(method.name, setting.name, fold, seed)
                        for method in self.study.methods
                        if method.kind != "baseline" or self._is_first(method, setting, fold, seed)
                    ]
        return found

    def _is_first(self, method: Method, setting: Setting, fold: int, seed: int) -> bool:
        """Whether a method that draws nothing and learns nothing has something to do."""
        if fold and self._tested[setting.name]:
            return False
        place = Cell(method.name, setting.name, fold, seed).folder(self.out)
        begun = sorted(place.parent.glob(f"fold{fold}_seed*"))  # by an earlier call, maybe with other seeds
        return place == begun[0] if begun else seed == self.study.seeds[0]

    def _by_name(self, cell: Cell) -> Method:
        return next(one for one in self.study.methods if one.name == cell.method)

    def _is_missing(self, cell: Cell) -> bool:
        left = read_cell(cell.folder(self.out))
        return left is None or (self.retry and left.state != "done")

    def _refuse(self, cell: Cell) -> bool:
        method, (_, facts) = self._by_name(cell), self.data[cell.setting, cell.fold]
        reason = refusal(method, facts) or (self._kept[cell.setting] if method.stacks else "")
        aims = self.study.aims_at(method, facts.target)
        reason = reason or taken_away(aims, method, self._whole[cell.setting], facts)
        if not reason and method.kind == "program":
            try:
                find_nnunet(self.study.nnunet)
            except StudyError as error:
                reason = str(error)
        if reason:
            self._keep(cell, "refused", reason)
        return bool(reason)

    def _prepare(self, todo: list[Cell]) -> None:
        """Plan and time what is to be trained; a method that cannot be is refused in all its cells."""
        names = {cell.method for cell in todo}
        plans: Plans | None = None
        for method in self.study.methods:
            if method.kind != "bundle" or method.name not in names:
                continue
            if plans is None:
                # of the setting with most labels: what the others take away changes neither voxels nor a step
                settings = (self.data[one.name, 0] for one in self.study.settings)
                folder, facts = max(settings, key=lambda found: sum(found[1].labelled.values()))
                plans = Plans(self.study, self.out, read_datalist(folder / "datalist.json"), facts)
            begun = time.monotonic()
            state, reason = "refused", ""
            try:
                # a step without a label costs less than those that come
                data = borrowed_data(method, folder, facts)[0] if method.borrows and facts.lent else None
                self.trainings[method.name] = plans.trainings(method, data)
            except PlanError as error:
                reason = str(error)
            except Exception as error:  # of one method: the others go on
                state, reason = "failed", short_message(error)
            for cell in todo if reason else ():
                if cell.method == method.name:
                    self._keep(cell, state, reason)
            self.say(f"{method.name}: {reason or self._planned(method)} ({time.monotonic() - begun:.0f} s)")

    def _planned(self, method: Method) -> str:
        trainings = self.trainings[method.name]
        steps = [one.overrides.get("max_epochs", 0) * (one.overrides.get("epoch_length") or 0) for one in trainings]
        count = " + ".join(map(str, steps)) if all(steps) else "the bundle's own number of"
        timed = [f"{one.measured['step']:.3g} s each" for one in trainings if one.measured]
        over = max((one.measured.get("over", 0.0) for one in trainings), default=0.0)
        short = f"; the budget is too short: it takes {over:.1f} times as long" if over else ""
        return f"{count} steps{f', {timed[0]}' if timed else ''}{short}"

    def _run_cell(self, cell: Cell) -> None:
        begun, method, (data, facts) = time.monotonic(), self._by_name(cell), self.data[cell.setting, cell.fold]
        folder = cell.folder(self.out)
        folder.mkdir(parents=True, exist_ok=True)
        study = self.study
        try:
            if method.kind == "bundle":
                given: dict[str, Any] = {"evaluating": study.evaluating, "paper_dice": study.paper_dice}
                trainings, given["threads"] = self.trainings[method.name], self.threads
                if method.borrows:
                    with self._borrowing[data]:  # cells of one list that run at a time
                        data, facts, given["before"] = borrowed_data(method, data, facts)
                result = run_bundle_cell(method, trainings, cell, folder, data, facts, **given)
            elif method.kind == "baseline":
                result = run_baseline_cell(method, cell, folder, data, facts, study.paper_rule)
            else:
                limits: dict[str, Any] = {"budget": study.budget, "steps": study.steps, "threads": self.threads}
                limits |= {"environment": study.nnunet, "paper_dice": study.paper_rule}
                result = run_nnunet_cell(method, cell, folder, data, **limits)
        except UnfitCases as error:
            what, *cases = str(error).removeprefix(f"{data / 'datalist.json'}: ").splitlines()
            self._keep(cell, "refused", f"{what.rstrip(':')}, such as {cases[0].removeprefix('- ')}" if cases else what)
        except Exception as error:  # of one cell: the others go on
            self._keep(cell, "failed", short_message(error))
        else:
            write_cell(result._replace(made=made_with()))
        self._tell(cell, time.monotonic() - begun)

    def _tell(self, cell: Cell, seconds: float) -> None:
        """One line: what has ended, how well, and the time that the rest will take."""
        content = json.loads((cell.folder(self.out) / FILE).read_text(encoding="utf-8"))
        text = f"{content['state']}: {content['reason']}"
        if content["state"] == "done":
            means = CellResult(cell, cell.folder(self.out), "done").table.means()
            text = ", ".join(f"{name} {one.mean:.3f}" for name, one in list(means[0].measures.items())[:1])
        with self._guard:
            self._count += 1
            left = (time.monotonic() - self._begun) / self._count * (self._of - self._count)
            name = f"{cell.method} {cell.setting} fold {cell.fold} seed {cell.seed}"
            self.say(f"[{self._count}/{self._of}] {name}: {text} ({seconds:.0f} s; {clock_time(left)} left)")

    def _keep(self, cell: Cell, state: str, reason: str) -> None:
        folder = cell.folder(self.out)
        folder.mkdir(parents=True, exist_ok=True)
        write_cell(CellResult(cell, folder, "refused" if state == "refused" else "failed", reason))


def _own(setting: Setting) -> str:
    """Name of the setting's own data; empty: those of the study."""
    return setting.name if setting.phantom or setting.datalist or setting.test else ""
