# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""A bundle's logging: what a person is told once and plainly, real warnings with their place, no noise."""

from __future__ import annotations

import re

import pytest

from tests.bundles.runs import ALL, DAFNET, SHORT, flags, shell

WRITTEN = [("model", "model.pt"), ("last model", "last.pt"), ("record", "run.json"), ("losses", "terms.csv")]

PROBE = """
import logging, sys, warnings
warnings.simplefilter("ignore")
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
    code, text = shell("-c", PROBE, str(DAFNET.configs / "logging.conf"), cwd=tmp_path)
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


def own_lines(text):
    """Without what MONAI writes before it reads the bundle."""
    lines = [line.rstrip() for line in text.splitlines()]
    return [line for line in lines if line and "parsing config_file" not in line and "Not all config" not in line]


@pytest.mark.overlays
def test_a_run_says_everything_once(heart, tmp_path):
    code, text = DAFNET.shell(tmp_path, heart)
    assert code == 0, text
    epoch = r"epoch 1/1  generator \S+ \(supervised .*\)  mask_discriminator \S+  image_discriminators \S+  \S+ steps/s"
    dice = r"  lge 0\.\d\d: LV \d\.\d\d, myocardium \d\.\d\d, RV \d\.\d\d( \(in no label\))? \(best so far\)"
    written = ["written:", *(rf"  {name:<10}  .*{file}" for name, file in WRITTEN)]
    expected = ["training epochs 1 to 1, 2 steps each", epoch, dice, r"trained 1 epoch in \d+:\d\d", *written]
    lines = [line for line in own_lines(text) if not line.startswith("  settings ")]
    for line, form in zip(lines, expected, strict=True):
        assert re.fullmatch(form, line), (form, line)
    own = {**DAFNET.paths(tmp_path, heart), **SHORT, **DAFNET.small("train")}
    words = ["-m", "monai.bundle", "run", "--config_file", str(DAFNET.files("train", "demo", "evaluate"))]
    code, text = shell(*words, *flags(own), cwd=tmp_path)
    assert code == 0, text
    # two steps teach nothing: organs anywhere, also at the edge of what the network sees, which is told
    lines = [line for line in own_lines(text) if "- monai_mmseg.bundle.predictions - WARNING -" not in line]
    assert lines[0] == "dafnet: mean ± standard deviation over subjects"
    assert [line.split()[:2] for line in lines[3:7]] == [["lge", name] for name in ("LV", "myocardium", "RV", "mean")]
    assert [line.split()[0] for line in lines[7:]] == ["written:", "table", "predictions", "report"]
    assert lines[9].endswith("eval/predictions (2 volumes)")
