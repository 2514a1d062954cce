# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Names that are imported when they are used, and what packages do without torch or MONAI."""

import importlib
import json
import pickle
import subprocess
import sys

import pytest

import monai_mmseg.data as package
from monai_mmseg.lazy import OLD_NAMES


def test_every_public_name_is_found_where_it_is_defined():
    for name in package.__all__:
        assert getattr(importlib.import_module(getattr(package, name).__module__), name) is getattr(package, name)
    assert set(package.__all__) <= set(dir(package))
    assert pickle.loads(pickle.dumps(package.PairedSliceDataset)) is package.PairedSliceDataset


def test_old_names_go_on():
    for package_name, names in OLD_NAMES.items():
        for name, place in names.items():
            found = getattr(importlib.import_module(package_name), name)
            assert found is getattr(importlib.import_module(place), name)


def test_other_names():
    with pytest.raises(AttributeError, match="module 'monai_mmseg.data' has no attribute 'PairedDataset'"):
        package.PairedDataset  # noqa: B018


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import monai_mmseg.phantom, monai_mmseg.data.datalist, monai_mmseg.cli.main", ["torch", "monai"]),
        ("import monai_mmseg.losses", ["monai"]),
    ],
)
def test_what_is_not_imported(statement, heavy, repository):
    code = (
        f"import sys, json; sys.path.insert(0, {str(repository)!r}); {statement}; print(json.dumps(list(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(heavy) & set(json.loads(run.stdout))
