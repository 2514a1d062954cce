# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""An optional package is asked for when a setting needs it, and only then."""

import sys

import pytest

from monai_mmseg.bundle import check_package

RUN = ["somewhere/monai/bundle/__main__.py", "run", "--config_file", "inference.json"]
MESSAGE = "largest_component needs the package scikit-image, which is not installed: pip install scikit-image, or leave"


@pytest.mark.parametrize(("argv", "error"), [(RUN, SystemExit), (["script.py"], ModuleNotFoundError)])
def test_absent(argv, error, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)  # as if it were not installed
    check_package("skimage", "largest_component", needed=False, argv=argv)
    with pytest.raises(error, match=MESSAGE):
        check_package("skimage", "largest_component", argv=argv)


def test_present():
    check_package("json", "largest_component", argv=RUN)
