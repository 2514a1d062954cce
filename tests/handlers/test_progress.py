# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
import pytest

from monai_mmseg.handlers import Progress
from tests.engines.toy import toy_trainer


def test_quiet_where_stderr_is_no_terminal(capfd):
    toy_trainer(1, handlers=lambda *_: [Progress()]).run()
    assert "epoch" not in capfd.readouterr().err


def test_bar_shows_the_means_of_the_epoch_before(capfd):
    pytest.importorskip("tqdm")
    toy_trainer(2, handlers=lambda *_: [Progress(["fit/total"], enabled=True)]).run()
    shown = capfd.readouterr().err
    assert "epoch [2/2]" in shown
    assert "fit/total=" in shown


def test_other_processes_are_quiet(capfd):
    trainer = toy_trainer(1)
    trainer.state.rank = 1
    Progress(enabled=True).attach(trainer)
    trainer.run()
    assert "epoch" not in capfd.readouterr().err
