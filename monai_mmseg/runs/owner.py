# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""One run owns its folders: nothing of an older run is overwritten or mixed with it."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from monai_mmseg.names import short_text
from monai_mmseg.files import read_json, read_record, remove_leftovers, write_json
from monai_mmseg.runs.identity import datalist_identity, file_sha256
from monai_mmseg.runs.lock import FolderLock
from monai_mmseg.runs.model_settings import SETTINGS, read_settings, write_settings
from monai_mmseg.runs.versions import software_versions

logger = logging.getLogger(__name__)

PREVIOUS, EVALUATIONS, RESUME, MODEL = "previous", "evaluations.json", "resume.pt", "model.pt"
FINISHED = ("completed", "stopped early")
OF_WEIGHTS = ("*.pt", "*.ts", "*.onnx", "quality.json", SETTINGS)
OF_OUTPUT = (
    *("terms.csv", "metrics", "figures", "predictions", "disentanglement.json", "knowledge.npz"),
    *("events.out.tfevents*", "reconstruction.*", "subsets.*", "warnings.txt", "error.log", "report.html", EVALUATIONS, "run.json"),
)
"""What a run leaves in its two folders; what says whose they are comes last, so that a move can be taken up again."""

FREE_ON_RESUME = frozenset(
    {
        *("device", "amp", "num_workers", "cache", "cache_dir", "channels_last", "max_epochs", "val_interval", "patience", "early_stop"),
        *("resume", "overwrite", "section", "method", "phantom", "stage_one", "stage_one_command", "load_pretrain"),
        *("run_name", "tracking_uri", "experiment_name", "paper_dice"),
    }
)
"""Settings that may change when a run goes on; folders may, too."""


class FolderTaken(RuntimeError):
    """The folders hold another run, or one that cannot go on with these settings."""

    says_all = True


class RunOwner:
    """Claims the folders of a training, before anything is written into them.

    Use it as a component of ``train.json``: :meth:`check` in ``initialize``, which writes nothing, and as ``owner`` of
    :class:`~monai_mmseg.handlers.RunRecordHandler`, which claims them when the training starts. Only process 0 acts.

    What is in the folders is never overwritten. With ``resume`` a run goes on, if fold, datalist (its text, not the
    files that it names) and settings are those it was begun with. A finished run stays: without ``overwrite`` that is an error. With it the older run moves to
    ``previous/<time>``; so does a run that was cut off, and weights that came with a packed bundle. What happens is
    logged.

    Args:
        ckpt_dir: folder of the weights.
        output_dir: folder of the run.
        datalist: the list that is trained on, or a function that finds it; ``None``: the data come from elsewhere.
        settings: of the model, as :func:`monai_mmseg.bundle.model_settings` gives them.
        resume: go on where the run ended, if there is one.
        overwrite: move a finished run away.
        strict: for programs that train into one folder again and again, ``False``: a finished run moves away without
            being asked, but for its weights, which they may read before they replace them.
        learned: what else the settings of a finished training say, found when it has ended.

    Raises:
        FolderTaken: by :meth:`check` and :meth:`claim`.
        FolderInUse: by both, if another process trains into one of the folders.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     first = RunOwner(f"{folder}/models", folder)
        ...     first.claim()
        ...     first.finish()
        ...     second = RunOwner(f"{folder}/models", folder)
        ...     second.check()
        Traceback (most recent call last):
        monai_mmseg.runs.owner.FolderTaken: ...models holds a finished run, which a new training would replace...
    """

    def __init__(
        self,
        ckpt_dir: str | os.PathLike[str],
        output_dir: str | os.PathLike[str],
        datalist: str | os.PathLike[str] | Callable[[], str | os.PathLike[str] | None] | None = None,
        *,
        settings: Mapping[str, Any] | None = None,
        resume: bool = False,
        overwrite: bool = False,
        strict: bool = True,
        learned: Callable[[], Mapping[str, Any]] | None = None,
    ) -> None:
        self.ckpt_dir, self.output_dir = Path(ckpt_dir), Path(output_dir)
        self._find_datalist = datalist
        self.settings = dict(settings or {})
        self.resume, self.overwrite, self.strict = bool(resume), bool(overwrite), bool(strict)
        self._learned = learned
        self.id, self.resumed = "", False
        self._locks = [FolderLock(folder) for folder in dict.fromkeys((self.ckpt_dir, self.output_dir))]

    @property
    def is_main(self) -> bool:
        """Whether this process acts: number 0, also before ``torch.distributed`` is set up."""
        return os.environ.get("RANK", "0") == "0"

    def check(self) -> None:
        """Refuse what :meth:`claim` would refuse; nothing is written."""
        if self.is_main and not self.id:
            for lock in self._locks:
                lock.check()
            self.settings.update(datalist=self.datalist(), versions=software_versions())
            trained, run = read_settings(self.ckpt_dir), read_record(self.output_dir / "run.json")
            if self._goes_on():
                self._check_same(trained, run)
            elif self._files():
                self._check_free(trained, run)

    def claim(self) -> None:
        """Take the folders; nothing happens if they are this run's already."""
        if not self.is_main:
            return
        self.check()
        taken = bool(self.id)
        try:
            for lock in self._locks:
                lock.acquire()
            if not taken:
                self._settle()
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Let other runs have the folders."""
        for lock in self._locks:
            lock.release()

    def finish(self, state: str = "trained") -> None:
        """Write the settings with the model, and give the folders back.

        Args:
            state: ``"trained"``, or ``"training"`` for a run that was cut off.
        """
        if self.is_main and self.id:
            if state == "trained" and self._learned is not None:
                self.settings.update(self._learned())
            self._write_settings(state)
            self.release()

    def model(self) -> dict[str, Any] | None:
        """File and hash of the model, once there is one."""
        path = self.ckpt_dir / MODEL
        return {"file": MODEL, "sha256": file_sha256(path)} if path.is_file() else None

    def datalist(self) -> dict[str, Any] | None:
        """Name, path and fingerprint of the data."""
        found = self._find_datalist() if callable(self._find_datalist) else self._find_datalist
        return datalist_identity(found) if found is not None and Path(found).is_file() else None

    def _settle(self) -> None:
        for folder in (self.ckpt_dir, self.output_dir):
            for place in (folder, *(folder / name for name in ("metrics", "figures", "predictions"))):
                remove_leftovers(place)
        trained, run = read_settings(self.ckpt_dir), read_record(self.output_dir / "run.json")
        if self._goes_on():
            self.id, self.resumed = str(trained.get("run") or run.get("id") or _new_id()), True
        else:
            if self._files():
                self._clear(trained, run)
            self.id = _new_id()
        self._write_settings("training")

    def _goes_on(self) -> bool:
        return self.resume and (self.ckpt_dir / RESUME).is_file()

    def _write_settings(self, state: str) -> None:
        write_settings(self.ckpt_dir, {"run": self.id, "state": state, **self.settings})

    def _check_same(self, trained: Mapping[str, Any], run: Mapping[str, Any]) -> None:
        """Whether the run that goes on is the one that was begun."""
        if run.get("id") and trained.get("run") and run["id"] != trained["run"]:
            raise FolderTaken(
                f"{self.ckpt_dir / RESUME} belongs to run {trained['run'][:8]}, and output_dir {self.output_dir} to run "
                f"{run['id'][:8]}. Name the --output_dir of the run that is to go on, or an empty one."
            )
        if not trained:
            logger.warning("%s has no %s: its fold, data and settings cannot be compared.", self.ckpt_dir, SETTINGS)
            return
        differing = differences(trained, self.settings, FREE_ON_RESUME)
        before, now = trained.get("datalist"), self.settings["datalist"]
        if before and now and before["fingerprint"] != now["fingerprint"]:
            differing.append(f"the datalist {now['path']}, not {before['path']} as it was then")
        if differing:
            raise FolderTaken(
                f"{self.ckpt_dir / RESUME} cannot go on: it was begun with other settings. Now: {'; '.join(differing)}."
                "\nRepeat what it was begun with, or leave out --resume and name another ckpt_dir."
            )

    def _kind(self, trained: Mapping[str, Any], run: Mapping[str, Any]) -> str:
        """Whether what lies in the folders was ``"packed"``, is ``"unfinished"`` or ``"finished"``."""
        state = trained.get("state")
        if state == "packed":
            return "packed"
        if state is None and not run:  # weights of unknown origin
            return "finished" if any(self.ckpt_dir.glob("*.pt")) else "unfinished"
        ended = run.get("status") in FINISHED if state is None else state != "training"
        return "finished" if ended else "unfinished"

    def _check_free(self, trained: Mapping[str, Any], run: Mapping[str, Any]) -> None:
        if self.strict and not self.overwrite and self._kind(trained, run) == "finished":
            raise FolderTaken(
                f"{self.ckpt_dir} holds a finished run{_about(trained, run)}, which a new training would replace.\n"
                f"Another place: --ckpt_dir and --output_dir. Move the old run to {PREVIOUS}: --overwrite True. "
                "Go on: --resume True."
            )

    def _clear(self, trained: Mapping[str, Any], run: Mapping[str, Any]) -> None:
        """Move an older run away."""
        kind, about = self._kind(trained, run), _about(trained, run)
        if not any(path.suffix in (".pt", ".csv") or path.name == "metrics" for path in self._files()):
            for path in self._files():  # it failed before anything was computed
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            return
        moved = self._move_away(run, trained)
        if not moved:
            return
        what = "what came with the bundle" if kind == "packed" else f"an older run{about}"
        if not self.strict:
            what = f"the record of an older run{about}, whose weights are replaced,"
        hint = ""
        if kind == "unfinished":
            what = f"a run that did not end{about}"
            if any(path.name == RESUME for path in moved):
                hint = " To go on with it instead: move it back and add --resume True."
        logger.warning("%s: %s is now in %s.%s", self.ckpt_dir, what, moved[0].parent, hint)

    def _files(self) -> list[Path]:
        """What an older run left in the two folders; other programs may have to read the weights that they replace."""
        found = [*(_matching(self.ckpt_dir, OF_WEIGHTS) if self.strict else []), *_matching(self.output_dir, OF_OUTPUT)]
        return list(dict.fromkeys(found))

    def _move_away(self, run: Mapping[str, Any], trained: Mapping[str, Any]) -> list[Path]:
        # named after the run itself: a move that was cut off goes on into the same folder
        when = str(run.get("started") or "") or time.strftime("%Y-%m-%dT%H:%M:%S")
        whose = str(trained.get("run") or run.get("id") or "run")[:8]
        name = f"{re.sub(r'[^0-9T]', '', when.partition('+')[0])}_{whose}"
        moved = []
        for path in self._files():
            target = path.parent / PREVIOUS / name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            while target.exists():
                target = target.with_name(f"{target.name}.{uuid.uuid4().hex[:6]}")
            os.rename(path, target)
            moved.append(target)
        return moved


def differences(before: Mapping[str, Any], now: Mapping[str, Any], free: Iterable[str] = ()) -> list[str]:
    """Knobs and definitions of two settings that are not the same.

    Args:
        before: content of a ``settings.json``.
        now: the same of the present config.
        free: knobs that may differ; those of folders may, too.

    Returns:
        One phrase for each.

    Examples:
        >>> differences({"knobs": {"fold": 0, "seed": 1}}, {"knobs": {"fold": 1, "seed": 1}})
        ['fold 1 (it was 0)']
    """
    ours, theirs = now.get("knobs", {}), before.get("knobs", {})
    names = [name for name in theirs if name in ours and name not in {*free} and not name.endswith(("_dir", "_root"))]
    names = [name for name in names if ours[name] != theirs[name]]

    def shown(value: Any) -> str:
        return short_text(json.dumps(value, ensure_ascii=False))

    found = [f"{name} {shown(ours[name])} (it was {shown(theirs[name])})" for name in names]
    if found:
        return found  # a definition differs where a knob does
    old, new = before.get("definitions", {}), now.get("definitions", {})
    return [f"another {name}" for name in old if name in new and old[name] != new[name]]


def record_evaluation(
    output_dir: str | os.PathLike[str], ckpt_dir: str | os.PathLike[str], *files: str, section: str
) -> None:
    """Note which model the tables of a folder have scored, and their hashes.

    Args:
        output_dir: folder of the run.
        ckpt_dir: folder of the weights.
        *files: tables as they were just written, relative to the folder of the run.
        section: section of the datalist.

    Raises:
        FileNotFoundError: there is no ``model.pt``.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "model.pt").write_bytes(b"abc")
        ...     record_evaluation(folder, folder, "metrics/csa.json", section="test")
        ...     json.loads((Path(folder) / "evaluations.json").read_text())["metrics/csa.json"]["model"][:8]
        'ba7816bf'
    """
    path = Path(output_dir) / EVALUATIONS
    known = read_json(path) if path.is_file() else {}
    entry = {
        "run": read_settings(ckpt_dir).get("run"),
        "model": file_sha256(Path(ckpt_dir) / MODEL),
        "section": section,
        "time": time.strftime("%Y-%m-%dT%H:%M:%S"),
    }
    hashes = {name: {"sha256": file_sha256(file)} for name in files if (file := Path(output_dir, name)).is_file()}
    write_json(path, {**known, **{name: {**entry, **hashes.get(name, {})} for name in files}})


def spare_evaluated(table: str | os.PathLike[str]) -> None:
    """Refuse to write a table that the evaluation of a run wrote: its page would show other numbers as the model's.

    Args:
        table: where a table would be written.

    Raises:
        FileExistsError: ``evaluations.json`` of the run names it.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "model.pt").write_bytes(b"abc")
        ...     record_evaluation(folder, folder, "metrics/csa.json", section="test")
        ...     spare_evaluated(Path(folder) / "metrics" / "other.json")
        ...     spare_evaluated(Path(folder) / "metrics" / "csa.json")
        Traceback (most recent call last):
        FileExistsError: ...metrics/csa.json is the run's own table, by ...evaluations.json: ...
    """
    target = Path(table).resolve()
    for root in (target.parent, target.parent.parent):
        if target.relative_to(root).as_posix() in read_record(root / EVALUATIONS):
            raise FileExistsError(
                f"{table} is the run's own table, by {root / EVALUATIONS}: other scores would stand there as those of "
                "its model. Name another --method or --out; the `evaluating` of the bundle writes it anew."
            )


def _matching(folder: Path, patterns: Iterable[str]) -> list[Path]:
    return [path for pattern in patterns for path in sorted(folder.glob(pattern))]


def _about(trained: Mapping[str, Any], run: Mapping[str, Any]) -> str:
    name, began = trained.get("method") or run.get("name"), run.get("started")
    parts = [str(name)] if name else []
    parts += [f"begun {str(began).partition('+')[0].replace('T', ' ')}"] if began else []
    return f" ({', '.join(parts)})" if parts else ""


def _new_id() -> str:
    return uuid.uuid4().hex
