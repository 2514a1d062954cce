# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from monai_mmseg.data import load_datalist
from monai_mmseg.preparation.layouts import import_layout
from monai_mmseg.preparation.layouts.bids import read_bids


def put(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"an image")


def shown(layout):
    return [(case.subject, case.visit, case.modality, case.image.name, case.label) for case in layout.cases]


def test_names_become_modalities_and_sessions_visits(tmp_path):
    put(
        tmp_path,
        "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz",
        "sub-01/ses-a/anat/sub-01_ses-a_ce-gadolinium_T1w.nii.gz",
        "sub-01/ses-b/anat/sub-01_ses-b_FLAIR.nii",
        "sub-01/ses-b/func/sub-01_ses-b_task-rest_bold.nii.gz",
        "sub-02/anat/sub-02_T2starw.nii.gz",
        "sub-02/anat/sub-02_T2starw.json",
        "sub-02/anat/sub-02_mod-T1w_defacemask.nii.gz",
        "derivatives/fmriprep/sub-02/anat/sub-02_desc-brain_mask.nii.gz",
    )
    about = {"Name": "A study", "License": "CC0", "HowToAcknowledge": "Cite us", "DatasetDOI": "doi:10.1/x"}
    (tmp_path / "dataset_description.json").write_text(json.dumps(about))
    found = read_bids(tmp_path)
    assert found.modalities == ["flair", "t1", "t1ce", "t2star"]
    assert (found.name, found.licence, found.citation) == ("A_study", "CC0", "Cite us; doi:10.1/x")
    assert shown(found) == [
        ("sub-01", "ses-a", "t1", "sub-01_ses-a_T1w.nii.gz", None),
        ("sub-01", "ses-a", "t1ce", "sub-01_ses-a_ce-gadolinium_T1w.nii.gz", None),
        ("sub-01", "ses-b", "flair", "sub-01_ses-b_FLAIR.nii", None),
        ("sub-02", None, "t2star", "sub-02_T2starw.nii.gz", None),
    ]
    assert len(found.notes) == 1
    assert found.notes[0].endswith("there is derivatives/fmriprep/sub-02/anat/sub-02_desc-brain_mask.nii.gz.")


def test_participants_are_known(tmp_path):
    put(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", "sub-02/anat/sub-02_T1w.nii.gz")
    table = tmp_path / "participants.tsv"
    table.write_text("participant_id\tage\tsex\tgroup\nsub-01\t34\tF\tn/a\n02\tn/a\tM\tcontrol\nsub-09\t1\tM\tx\n")
    assert [case.meta for case in read_bids(tmp_path).cases] == [
        {"age": "34", "sex": "F"},
        {"sex": "M", "group": "control"},
    ]
    for broken, reason in ((b"\xff\xfe\x00", "codec"), (b"name\nx\n", "no column participant_id")):
        table.write_bytes(broken)
        found = read_bids(tmp_path)
        assert found.cases[0].meta is None
        assert any("participants.tsv is not read" in note and reason in note for note in found.notes)


def test_several_acquisitions_wait_for_a_rule(tmp_path):
    for name in ("01", "02"):
        put(tmp_path, *(f"sub-{name}/anat/sub-{name}_acq-{acq}_T1w.nii.gz" for acq in ("fast", "mprage")))
        put(tmp_path, f"sub-{name}/anat/sub-{name}_run-1_T2w.nii.gz")
    put(tmp_path, "sub-02/anat/sub-02_run-2_T2w.nii.gz")
    found = read_bids(tmp_path)
    assert found.cases == []
    assert found.broken["sub-01"].startswith(
        "2 images are t1: sub-01_acq-fast_T1w.nii.gz; sub-01_acq-mprage_T1w.nii.gz:"
    )
    ruled = read_bids(tmp_path, rule=["t1=suffix=T1w&acq~^MP", "t2=suffix=T2w&run>1", "t2=suffix=T2w"])
    assert [case.image.name for case in ruled.cases] == [
        "sub-01_acq-mprage_T1w.nii.gz",
        "sub-01_run-1_T2w.nii.gz",
        "sub-02_acq-mprage_T1w.nii.gz",
        "sub-02_run-2_T2w.nii.gz",
    ]
    assert ruled.notes == ["No rule takes 2 images: sub-01_acq-fast_T1w.nii.gz, sub-02_acq-fast_T1w.nii.gz."]
    with pytest.raises(ValueError, match="rule: 'acquisition' is no entity of BIDS; known are suffix, sub, ses, acq"):
        read_bids(tmp_path, rule=["t1=acquisition~x"])
    with pytest.raises(ValueError, match="no rule takes one of the 7 images: sub-01_acq-fast"):
        read_bids(tmp_path, rule=["t1=suffix=PDw"])


def test_labels_in_derivatives(tmp_path):
    put(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_T2w.nii.gz", "sub-02/anat/sub-02_T2w.nii.gz")
    put(tmp_path, "derivatives/m/sub-01/anat/sub-01_T2w_dseg.nii.gz")
    pattern = "derivatives/m/{subject}/anat/{stem}_dseg.nii.gz"
    with pytest.raises(ValueError, match="labels must name the classes"):
        read_bids(tmp_path, label=pattern)
    (tmp_path / "derivatives" / "m" / "dseg.tsv").write_text("index\tname\n0\tBackground\n7\tcord\n3\tlesion\n")
    found = read_bids(tmp_path, label=pattern)
    assert (found.labels, found.values) == ({0: "background", 1: "lesion", 2: "cord"}, {0: 0, 3: 1, 7: 2})
    assert [case.label is not None for case in found.cases] == [False, True, False]
    assert found.notes == ["2 of 3 images have no label: sub-01 t1, sub-02 t2."]
    given = read_bids(tmp_path, label="derivatives/*/sub-{sub}/**/*_{suffix}_dseg.nii.gz", labels="cord=7+3")
    assert given.values == {0: 0, 7: 1, 3: 1}
    assert [case.label is not None for case in given.cases] == [False, True, False]
    with pytest.raises(ValueError, match="no label is where 'x/{visit}.nii' says; looked for one of sub-01 t1"):
        read_bids(tmp_path, label="x/{visit}.nii", labels="cord=1")


def test_what_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="wanted are files such as sub-01/anat/sub-01_T1w.nii.gz"):
        read_bids(tmp_path)
    put(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz")
    (tmp_path / "sub-02" / "anat").mkdir(parents=True)
    (tmp_path / "sub-02" / "anat" / "sub-02_T1w.nii.gz").symlink_to("../../.git/annex/objects/none")
    found = read_bids(tmp_path)
    assert [case.subject for case in found.cases] == ["sub-01"]
    assert found.broken["sub-02"].startswith("sub-02_T1w.nii.gz is a link that leads nowhere; `datalad get`")


@pytest.mark.real_data
def test_real_spinal_cord(real_data, tmp_path):
    source = real_data / "spinal_cord_mr" / "sub-unf01"
    if not source.is_dir():
        pytest.skip("no spinal cord among the real images")
    names = {"t1": "T1w", "t2": "T2w", "t2star": "T2star"}
    place = {"image": tmp_path / "bids" / "sub-unf01" / "anat"}
    place["label"] = tmp_path / "bids" / "derivatives" / "labels" / "sub-unf01" / "anat"
    for folder in place.values():
        folder.mkdir(parents=True)
    for ours, theirs in names.items():
        (place["image"] / f"sub-unf01_{theirs}.nii.gz").symlink_to(source / f"{ours}.nii.gz")
        (place["label"] / f"sub-unf01_{theirs}_seg-manual.nii.gz").symlink_to(source / f"{ours}_seg.nii.gz")
    pattern = "derivatives/labels/{subject}/anat/{stem}_seg-manual.nii.gz"
    found = read_bids(tmp_path / "bids", label=pattern, labels="spinal cord=1")
    assert found.modalities == list(names)
    items = load_datalist(import_layout(found, tmp_path / "out" / "datalist.json"))
    assert {item["modality"] for item in items} == set(names)
    for item in items:
        for key, ending in (("image", ""), ("label", "_seg")):
            known = nib.load(source / f"{item['modality']}{ending}.nii.gz")
            made = nib.load(item[key])
            np.testing.assert_allclose(made.affine, known.affine, atol=1e-5)
            np.testing.assert_array_equal(np.asarray(made.dataobj), np.asarray(known.dataobj))


def test_endings_in_any_case_and_without_the_files_of_macos(tmp_path):
    put(tmp_path, "sub-01/anat/sub-01_T1w.NII.GZ", "sub-01/anat/._sub-01_T1w.nii.gz", "d/sub-01_T1w_dseg.nii.gz")
    found = read_bids(tmp_path, label="d/{stem}_dseg.nii.gz", labels="lesion=1")
    label = tmp_path / "d" / "sub-01_T1w_dseg.nii.gz"
    assert shown(found) == [("sub-01", None, "t1", "sub-01_T1w.NII.GZ", label)]
