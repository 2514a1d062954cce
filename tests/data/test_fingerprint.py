# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import functools
import os

import numpy as np
import pytest
import torch
from monai.transforms import Compose, Lambdad, NormalizeIntensityd, RandFlipd, ScaleIntensityRanged

from monai_mmseg.data.fingerprint import NotDescribed, describe, digest, identity, names_subject
from monai_mmseg.transforms import ByModalityd, LoadImageItemd, StackModalitiesd, ToSliceGridd
from tests.processes import run_module


def named(value):
    return value


def chain(low=-160.0, labels=("background", "liver"), size=(32, 32, -1)):
    window = ScaleIntensityRanged("image", low, 240, 0, 1, clip=True)
    return Compose(
        [
            LoadImageItemd(labels={str(i): name for i, name in enumerate(labels)}, default_modality="ct"),
            ToSliceGridd(slice_axis="axial", pixdim=[1.5, 1.5, 8.0], spatial_size=size),
            ByModalityd(default_modality="ct", transforms={"ct": Compose([window, NormalizeIntensityd("image")])}),
        ]
    )


def test_a_changed_setting_is_another_text_however_deep_it_lies():
    first = digest(describe(chain()))
    assert first == digest(describe(chain()))
    others = [chain(low=-150.0), chain(labels=("background", "liver", "spleen")), chain(size=(32, 30, -1))]
    assert len({first, *(digest(describe(one)) for one in others)}) == 4


def test_the_text_is_the_same_in_another_process(repository):
    code = "from tests.data.test_fingerprint import *; print(hash('a'), digest(describe(chain())))"
    status, found, said = run_module(["-c", code], cwd=repository)
    assert status == 0, said
    seed, text = found.split()[-2:]
    assert int(seed) != hash("a") or "PYTHONHASHSEED" in os.environ  # sets are in another order there
    assert text == digest(describe(chain()))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.arange(3), np.arange(3).astype(float)),
        (torch.zeros(2), torch.zeros(2, 1)),
        (functools.partial(named, 1), functools.partial(named, 2)),
        (1, 1.0),
        (True, 1),
        ("1", 1),
        ([1], (1,)),
        (torch.float32, torch.float64),
    ],
)
def test_values_that_differ_are_told_apart(one, other):
    assert describe(one) == describe(one)
    assert digest(describe(one)) != digest(describe(other))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (Lambdad("image", lambda x: x), "<lambda>"),
        (Compose([RandFlipd("image")]), "RandFlipd is random"),
        (type("Made", (), {"__module__": "nowhere"})(), "no source file"),
        (iter([]), "no attributes"),
    ],
)
def test_what_has_no_text_is_refused(value, message):
    with pytest.raises(NotDescribed, match=message):
        describe(value)


def test_a_value_that_holds_itself_is_refused():
    around = []
    around.append(around)
    with pytest.raises(NotDescribed, match="holds itself"):
        describe(around)


def test_a_file_that_was_written_again_is_another_one(tmp_path):
    path = tmp_path / "a.nii"
    path.write_bytes(b"one" * 5000)
    item = {"image": {"ct": str(path)}, "modality": "ct"}
    before = identity(item, path_matters=False)
    assert identity(item, path_matters=False) == before
    os.utime(path, ns=(1, 1))
    assert identity(item, path_matters=False) != before
    os.utime(path, ns=(path.stat().st_atime_ns, 1))
    path.write_bytes(b"two" * 5000)
    os.utime(path, ns=(1, 1))  # same place, size and time
    assert identity(item, path_matters=False) not in (before, identity({}, path_matters=False))


@pytest.mark.parametrize("link", [os.link, os.symlink])
def test_links_are_one_file_and_copies_are_not(tmp_path, link):
    (tmp_path / "a").write_bytes(b"x" * 100)
    link(tmp_path / "a", tmp_path / "b")
    (tmp_path / "c").write_bytes(b"x" * 100)
    one, two, three = (identity({"image": str(tmp_path / name)}, path_matters=False) for name in "abc")
    assert one == two
    assert one != three
    assert identity(str(tmp_path / "a"), path_matters=True) != identity(str(tmp_path / "b"), path_matters=True)


def test_the_data_of_a_header_and_the_slices_of_a_folder_count(tmp_path):
    for name in ("a.hdr", "a.img", "b.hdr", "b.img", "c.zraw", "s/1.dcm", "s/2.dcm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "c.mhd").write_text("ElementDataFile = c.zraw\n")
    items = [str(tmp_path / name) for name in ("a.img", "b.hdr", "c.mhd", "s")]
    before = [identity(one, path_matters=False) for one in items]
    for name in ("a.hdr", "b.img", "c.zraw", "s/2.dcm"):
        (tmp_path / name).write_bytes(b"other")
    assert all(identity(one, path_matters=False) != old for one, old in zip(items, before, strict=True))


def test_which_transforms_use_the_name_of_the_subject():
    def stack(**choice):
        return Compose([StackModalitiesd(modalities=["a", "b"], target="a", **choice)])

    assert not names_subject(chain())
    assert not names_subject(stack())
    assert names_subject(stack(candidates="random", num_candidates=3))
    assert names_subject(stack(random_shift=2))
    assert names_subject(Compose([Lambdad("image", named)]))  # of another project: nobody knows
