# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging
import re
import sys
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose
from torch import nn
from torch.utils.data import DataLoader, Dataset

from monai_mmseg.errors import install_hook, short_message


def raised(call, *args):
    with pytest.raises(BaseException) as error:
        call(*args)
    return error.value


def fail(error):
    raise error


class Broken(Dataset):
    """Fails below a transform, as an image that cannot be read."""

    def __init__(self, error):
        self.transform = Compose([lambda item: fail(error)])

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.transform(index)


def test_the_cause_below_all_wrappers_and_its_place_in_the_config():
    parser = ConfigParser(
        {
            "imports": ["$import tests.test_errors"],
            "error": "$ValueError('a.nii: cannot be read.')",
            "data": {"_target_": "tests.test_errors.fail", "error": "@error"},
            "run": ["$@data"],
        }
    )
    error = raised(parser.get_parsed_content, "run#0")
    assert str(error).startswith("Failed to instantiate component")
    assert short_message(error) == "a.nii: cannot be read. (in data of the config)"


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_of_transforms_and_of_loading_processes(workers):
    loader = DataLoader(Broken(ValueError("b.nii: the affine cannot be inverted.")), num_workers=workers)
    error = raised(next, iter(loader))
    assert "Original Traceback" in str(error) or not workers
    assert short_message(error) == "b.nii: the affine cannot be inverted."


def test_errors_of_loading_processes_with_a_chain_of_their_own():
    try:
        raise OSError("not a gzip file")
    except OSError as low:
        high = ValueError("c.nii: cannot be read as an image\n('not a gzip file').")
        high.__cause__ = low
    error = raised(next, iter(DataLoader(Broken(high), num_workers=1)))
    assert short_message(error) == "c.nii: cannot be read as an image\n('not a gzip file')."


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left on device", "a/b.json"), "a/b.json: no space left on the disk.\nFree some"),
        (OSError(28, "No space left on device", "from/m.pt", None, "to/m.pt"), "to/m.pt: no space left on the disk."),
        (
            RuntimeError("[enforce fail at inline_container.cc] PytorchStreamWriter failed writing file data/0"),
            "No space",
        ),
        (RuntimeError("unexpected pos 64 vs 0"), "No space left on the disk.\nFree some, or write elsewhere"),
        (
            FileNotFoundError(2, "No such file or directory", "x/datalist.json"),
            "x/datalist.json: no such file or direc",
        ),
        (NotADirectoryError(20, "Not a directory", "file/out"), "file/out: not a directory."),
        (
            torch.OutOfMemoryError(
                "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 8 GiB of which 1 is free."
            ),
            "CUDA out of memory. Tried to allocate 2.00 GiB.\nSmaller batch_size, spatial_size or features",
        ),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."), "DefaultCPUAlloc"),
        (MemoryError(), "Out of memory.\nSmaller batch_size"),
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. \nmore"),
            "DataLoader worker (pid 7) is killed by signal: Killed.\nIt was out of memory, or of shared memory",
        ),
        (
            AssertionError("Torch not compiled with CUDA enabled"),
            "Torch not compiled with CUDA enabled\nOn the CPU: --d",
        ),
        (
            ModuleNotFoundError("No module named 'itk'", name="itk"),
            "No module named 'itk'\nInstall the package that has it (most have its name: pip install itk).",
        ),
        (KeyError("no section 'tset', there are ['test']."), "no section 'tset', there are ['test']."),
        (RuntimeError("\n\nfirst\n\n   second   line\n"), "first\nsecond line"),
        (ValueError("x" * 1000), "x" * 398 + " …"),
    ],
)
def test_what_to_do_is_said_where_it_is_known(error, message):
    assert short_message(error).startswith(message)
    assert short_message(error).count("\n") <= 2


def test_faults_of_a_program_name_their_kind_and_line():
    def look_up():
        return {}["cine"]

    assert re.fullmatch(r"KeyError: cine \(test_errors.py, line \d+\)", short_message(raised(look_up)))


def test_sentences_that_the_library_wrote_stand_alone():
    def check():
        raise TypeError("network must be a module, got a str.")

    assert short_message(raised(check)) == "network must be a module, got a str."


def test_messages_of_many_lines_are_cut():
    error = ValueError("\n".join(f"item {number}" for number in range(9)))
    assert short_message(error) == "item 0\nitem 1\nitem 2 (and 6 more lines)"
    assert short_message(error, lines=1) == "item 0 (and 8 more lines)"


def test_a_chain_that_runs_in_a_circle_ends():
    first, second = RuntimeError("Failed to evaluate a"), RuntimeError("Failed to evaluate b")
    first.__cause__, second.__cause__ = second, first
    assert short_message(first) == "Failed to evaluate b"


def test_weights_that_do_not_fit(tmp_path):
    torch.save(nn.Linear(2, 3).state_dict() | {"old": torch.zeros(1)}, tmp_path / "model.pt")

    def load():
        nn.Linear(4, 3).load_state_dict(torch.load(tmp_path / "model.pt", weights_only=True))

    assert short_message(raised(load)) == (
        "The weights do not fit the network Linear: 1 of another size (first: weight is [3, 2] there, [3, 4] here); "
        "1 not in the network (first: old).\nGive the overlays and the settings that they were trained with."
    )


@pytest.mark.parametrize("content", [b"hello world", b"PK\x03\x04 cut", b"", b"\x80\x02cos\nsystem\n."])
def test_damaged_weights_are_named(content, tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    error = raised(lambda: torch.load(path, weights_only=True))
    assert short_message(error) == (
        f"The weights {path} cannot be read: the file is damaged, or holds more than weights."
    )


def test_a_config_that_is_no_json(tmp_path):
    (tmp_path / "mine.json").write_text('{"seed": 1,')
    message = short_message(raised(ConfigParser.load_config_file, tmp_path / "mine.json"))
    assert message.startswith(f"{tmp_path}/mine.json is no JSON: ")


@pytest.fixture
def hook(monkeypatch, tmp_path):
    """The hook, as Python calls it; what was there before is put back."""
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    for name in ("MMSEG_TRACEBACK", "RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    install_hook(tmp_path / "eval" / "error.log")
    yield lambda error: sys.excepthook(type(error), error, error.__traceback__)
    for place in (*logging.getLogger().handlers, logging.lastResort, logging.getLogger("monai.handlers.StatsHandler")):
        for one in [one for one in place.filters if type(one).__module__ == "monai_mmseg.errors"]:
            place.removeFilter(one)


def test_the_hook_shows_the_lines_and_keeps_the_traceback(hook, tmp_path, capsys):
    hook(raised(fail, ValueError("a.nii: cannot be read.")))
    log = tmp_path / "eval" / "error.log"
    assert capsys.readouterr().err == f"Error: a.nii: cannot be read.\n(traceback: {log.as_posix()})\n"
    assert "in fail\n" in log.read_text(encoding="utf-8")


def test_the_hook_shows_three_lines_at_most(hook, capsys):
    hook(raised(fail, ValueError("\n".join("abcdef"))))
    assert capsys.readouterr().err.count("\n") == 3


def test_the_hook_writes_elsewhere_where_it_must(hook, tmp_path, capsys, monkeypatch):
    (tmp_path / "eval").write_text("a file where the folder would be")
    (tmp_path / "other").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "other"))
    hook(raised(fail, ValueError("a")))
    place = re.search(r"\(traceback: (.*)\)", capsys.readouterr().err)[1]
    assert place.startswith(f"{tmp_path}/other/mmseg_")
    assert "ValueError: a" in Path(place).read_text(encoding="utf-8")


def test_tracebacks_on_demand(hook, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("MMSEG_TRACEBACK", "1")
    hook(raised(fail, ValueError("a")))
    assert capsys.readouterr().err.startswith("Traceback (most recent call last)")
    assert not (tmp_path / "eval").exists()


def test_an_interrupt_is_no_error(hook, capsys, tmp_path):
    hook(raised(fail, KeyboardInterrupt()))
    assert capsys.readouterr().err == "Interrupted.\n"
    assert not (tmp_path / "eval").exists()


def test_each_process_has_a_file(hook, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    hook(raised(fail, ValueError("a")))
    assert capsys.readouterr().err.startswith("process 1: Error: a\n(traceback: ")
    assert [path.name for path in (tmp_path / "eval").iterdir()] == ["error_process1.log"]


def test_what_engines_log_of_the_error_is_held_back(monkeypatch, capsys):
    shown = []
    handler = logging.Handler()
    handler.emit = lambda record: shown.append(record.getMessage())
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    install_hook()
    logger = logging.getLogger("an.engine")
    logger.error("Current run is terminating due to exception: a\nTraceback")
    logger.error("Exception: a")
    logger.error("the loss is not a number")
    monkeypatch.setenv("MMSEG_TRACEBACK", "1")
    logger.error("Exception: b")
    assert shown == ["the loss is not a number", "Exception: b"]


def test_the_hook_is_not_set_by_an_import():
    assert type(sys.excepthook).__module__ != "monai_mmseg.errors"
