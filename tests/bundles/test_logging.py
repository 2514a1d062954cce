# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A bundle's logging: what a person is told once and plainly, real warnings with their place, no noise."""

from __future__ import annotations

import pytest

from tests.bundles.runs import ALL, DAFNET, shell

PROBE = """
import logging, sys
import monai.bundle
from monai.bundle import workflows
from logging.config import fileConfig

fileConfig(sys.argv[1], disable_existing_loggers=False)
log = logging.getLogger
log("monai_mmseg.console").info("epoch 1/2")
log("monai_mmseg.handlers.resume").info("resumed")
log("monai_mmseg.bundle").warning("look out")
engine = log("ignite.engine.engine.SupervisedTrainer")
engine.setLevel(logging.INFO)
engine.info("Engine run starting"); engine.error("terminating")
log("monai.bundle.scripts").info("--- input summary"); log("monai.bundle.scripts").warning("deprecated id")
log("monai.bundle.workflows").info("Setting logging properties"); log("monai.bundle.workflows").error("no metadata")
log("monai.data.nvimgcodec_pydicom_plugin").warning("nvImageCodec is not available")
log("root").info("Restored all variables"); log("other").warning("real")
"""


@pytest.mark.parametrize("bundle", ALL, ids=lambda bundle: bundle.name)
def test_all_bundles_log_alike(bundle):
    assert (bundle.configs / "logging.conf").read_bytes() == (DAFNET.configs / "logging.conf").read_bytes()


def test_what_is_shown(tmp_path):
    code, text = shell("-W", "ignore", "-c", PROBE, str(DAFNET.configs / "logging.conf"), cwd=tmp_path)
    assert code == 0, text
    shown = [line.split(" - ", 1)[-1] for line in text.splitlines()]
    assert shown == [
        "epoch 1/2",
        "monai_mmseg.handlers.resume - INFO - resumed",
        "monai_mmseg.bundle - WARNING - look out",
        "ignite.engine.engine.SupervisedTrainer - ERROR - terminating",
        "monai.bundle.scripts - WARNING - deprecated id",
        "monai.bundle.workflows - ERROR - no metadata",
        "other - WARNING - real",
    ]
