# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What is common to all readers: from a layout to a datalist."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.transforms import SpatialCrop

import monai_mmseg.preparation.layouts.importing as importing
from monai_mmseg.data import load_datalist, read_datalist
from monai_mmseg.preparation import check_datalist
from monai_mmseg.preparation.layouts import Case, Layout, import_layout
from tests.preparation.layouts.public_sets import AFFINE, SHAPE, label_of, write_dicom
from tests.synthetic_volumes import write

LABELS = {0: "background", 1: "liver", 2: "spleen"}


@dataclass(frozen=True)
class Keep:
    """A step: the first slices; the file `trap` ends the process that comes to the second subject, once."""

    slices: int
    trap: str = ""

    def __call__(self, image, label, case):
        if case.subject == "s1" and self.trap and Path(self.trap).exists():
            Path(self.trap).unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        crop = SpatialCrop(roi_start=(0, 0, 0), roi_end=(*SHAPE[:2], self.slices))
        return crop(image), None if label is None else crop(label)


@pytest.fixture
def layout(tmp_path):
    """Three subjects with two modalities; 5 in the files is class 1, 7 is class 2."""
    rng = np.random.default_rng(0)
    cases = []
    for number in range(3):
        for modality in ("ct", "mr"):
            image, label = (tmp_path / "in" / f"s{number}_{modality}{end}.nii.gz" for end in ("", "_l"))
            write(image, rng.normal(100, 20, SHAPE).astype(np.float32), AFFINE)
            write(label, label_of([5, 7], number + 10 * (modality == "mr")).astype(np.int16), AFFINE)
            cases.append(Case(f"s{number}", modality, image, label, "test" if number == 2 else "training"))
    return Layout("two", ["ct", "mr"], LABELS, {0: 0, 5: 1, 7: 2}, cases, "https://example.org", "CC0", "Us, 2026")


def digests(folder):
    """Content of all files of a folder, but the date."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            if path.name.endswith("preparation.json"):
                data = json.dumps({**json.loads(data), "date": ""}).encode()
            found[path.relative_to(folder).as_posix()] = hashlib.sha256(data).hexdigest()
    return found


def volume(path):
    return np.asarray(nib.load(path).dataobj)


def test_a_folder_with_all_that_is_to_be_known(layout, tmp_path):
    done = replace(layout, steps=[Keep(3)], notes=["as it was"], target="mr")
    made_by = {"kind": "two", "source": tmp_path / "in", "options": {"a": 1}}
    path = import_layout(done, tmp_path / "out", sheet=True, made_by=made_by)
    assert path == tmp_path / "out" / "datalist.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    assert (content["target"], content["licence"]) == ("mr", "CC0")
    report = check_datalist(path)
    assert report.errors == []
    assert {one.shape for one in report.volumes} == {(6, 5, 3)}
    for item in load_datalist(path):
        stem = tmp_path / "in" / f"{item['subject']}_{item['modality']}"
        np.testing.assert_array_equal(volume(item["image"]), volume(f"{stem}.nii.gz")[:, :, :3])
        raw = volume(f"{stem}_l.nii.gz")[:, :, :3]
        np.testing.assert_array_equal(volume(item["label"]), (raw == 5) + 2 * (raw == 7))
    record = json.loads((tmp_path / "out" / "preparation.json").read_text(encoding="utf-8"))
    assert (record["kind"], record["source"], record["options"]) == ("two", "../in", {"a": 1})
    assert record["steps"] == [{"name": "Keep", "slices": 3, "trap": ""}]
    assert (record["notes"], record["broken"], record["label_values"]) == (["as it was"], {}, {"0": 0, "5": 1, "7": 2})
    assert {"python", "monai_mmseg", "nibabel", "SimpleITK"} <= record["software"].keys()
    pixels = [volume(one["image"]).astype(np.float64) for one in load_datalist(path) if one["modality"] == "ct"]
    numbers = record["intensities_of_training"]["ct"]
    assert numbers["images"] == 2
    assert numbers["mean"] == pytest.approx(np.mean([one.mean() for one in pixels]), abs=1e-4)
    assert numbers["p99.5"] == pytest.approx(np.mean([np.percentile(one, 99.5) for one in pixels]), abs=1e-4)
    for kind, count in (("inputs", 12), ("outputs", 12)):
        assert len(record[kind]) == count
        for one in record[kind]:
            data = (tmp_path / "out" / one["file"]).read_bytes()
            assert (hashlib.sha256(data).hexdigest(), len(data)) == (one["sha256"], one["bytes"])
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"LICENCE.txt", "datalist.json", "datalist_sheet.png", "images", "labels", "preparation.json"}
    assert "to be cited: Us, 2026" in (tmp_path / "out" / "LICENCE.txt").read_text(encoding="utf-8")


def test_frames_visits_folds_values_and_pairs(layout, tmp_path):
    source = tmp_path / "4d"
    frames = np.random.default_rng(2).integers(0, 99, (*SHAPE, 3)).astype(np.int16)
    write(source / "image.nii.gz", frames, AFFINE)
    write(source / "label.nii.gz", label_of([1, 2]).astype(np.int16), AFFINE)
    write(source / "labels.nii.gz", np.stack([label_of([n]) for n in (1, 2, 3)], -1).astype(np.int16), AFFINE)
    image, label, labels = (source / f"{name}.nii.gz" for name in ("image", "label", "labels"))
    table = {0: 0, 1: 1, 2: 2, 3: 2}
    cases = [
        Case("p1", "ct", image, label, frame=2, visit="es", fold=1, values=table, pairs={"mr": {0: 3}}),
        Case("p1", "mr", image, label, frame=0, visit="es", fold=1, values=table),
        Case("p1", "ct", image, labels, frame=2, visit="ed", fold=1, values=table),
    ]
    path = import_layout(replace(layout, cases=cases), tmp_path / "out")
    raw = json.loads(path.read_text(encoding="utf-8"))["training"]
    assert [(one["subject"], one["visit"], one["fold"]) for one in raw] == [("p1", "es", 1)] * 2 + [("p1", "ed", 1)]
    assert raw[0]["pairs"] == {"mr": {"0": 3}}
    assert raw[0]["label"] == raw[1]["label"] == "labels/p1_es_ct.nii.gz"  # one grid, one label
    items = load_datalist(path)
    assert [(one["subject"], one["person"]) for one in items] == [("p1_es", "p1")] * 2 + [("p1_ed", "p1")]
    for item, frame in zip(items, (2, 0, 2), strict=True):
        np.testing.assert_array_equal(volume(item["image"]), frames[..., frame])
        assert nib.load(item["image"]).get_data_dtype() == np.int16
    np.testing.assert_array_equal(volume(items[2]["label"]), 2 * (label_of([3]) == 3))
    wrong = [cases[0]._replace(frame=None), cases[1]._replace(frame=3), cases[2]._replace(label=image, frame=0)]
    for case, message in zip(
        wrong,
        ("one image is one 3D volume, this file holds 3", "no volume 3, the file holds 3", "values must be"),
        strict=True,
    ):
        with pytest.raises(ValueError, match=message):
            import_layout(replace(layout, cases=[case]), tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()


def test_labels_that_another_program_wrote_along_other_axes(layout, tmp_path):
    one = layout.cases[0]
    label = nib.load(one.label)
    truth = volume(one.label)
    for place, axes in enumerate((("R", "P", "I"), ("S", "L", "A"), ("A", "R", "S"))):
        ornt = nib.orientations.axcodes2ornt(axes)
        turned = label.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(label.affine), ornt))
        nib.save(turned, tmp_path / "turned.nii.gz")
        case = one._replace(label=tmp_path / "turned.nii.gz")
        item = load_datalist(import_layout(replace(layout, cases=[case]), tmp_path / f"out{place}"))[0]
        np.testing.assert_array_equal(volume(item["label"]), (truth == 5) + 2 * (truth == 7))
        np.testing.assert_allclose(nib.load(item["label"]).affine, AFFINE, atol=1e-5)
    sheared = AFFINE @ np.array([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    write(tmp_path / "turned.nii.gz", truth, sheared)
    with pytest.raises(ValueError, match="lies on another grid than its image"):
        import_layout(replace(layout, cases=[case]), tmp_path / "out")


def test_what_is_killed_goes_on(layout, tmp_path, caplog):
    trap = tmp_path / "trap"
    done = replace(layout, steps=[Keep(3, str(trap))])
    import_layout(done, tmp_path / "whole")
    trap.touch()
    child = multiprocessing.get_context("fork").Process(target=import_layout, args=(done, tmp_path / "out"))
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert [path.name[:17] for path in (tmp_path / "out").iterdir()] == [".datalist-import-"]
    os.utime(next((tmp_path / "out").rglob("s0_ct.nii.gz")), (1, 1))
    path = import_layout(done, tmp_path / "out")
    assert caplog.messages == ["1 of 3 subjects were finished before: going on with the others."]
    assert (tmp_path / "out" / "images" / "s0_ct.nii.gz").stat().st_mtime == 1
    names = {"LICENCE.txt", "datalist.json", "images", "labels", "preparation.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")
    assert check_datalist(path).errors == []


def test_what_is_killed_among_its_last_steps_goes_on(layout, tmp_path, monkeypatch, caplog):
    import_layout(layout, tmp_path / "whole")

    def stop(stage, root, **_):
        (root / "labels").mkdir()
        os.replace(stage / "labels" / "s0_ct.nii.gz", root / "labels" / "s0_ct.nii.gz")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(importing, "move_files", stop)
        with pytest.raises(KeyboardInterrupt):
            import_layout(layout, tmp_path / "out")
    assert not (tmp_path / "out" / "datalist.json").exists()
    import_layout(layout, tmp_path / "out")
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")

    def write(subject, work=importing.write_subject):
        if subject.cases[0].subject == "s2":
            raise KeyboardInterrupt
        return work(subject)

    with monkeypatch.context() as patch:
        patch.setattr(importing, "write_subject", write)
        with pytest.raises(KeyboardInterrupt):
            import_layout(layout, tmp_path / "again")
    os.utime(layout.cases[0].image, (5, 5))  # another input: nothing of it may be used
    import_layout(layout, tmp_path / "again")
    assert not any("finished before" in message for message in caplog.messages)
    assert digests(tmp_path / "again") == digests(tmp_path / "whole")


def test_one_import_at_a_time(layout, tmp_path):
    other = tmp_path / "out" / f".datalist-import-0.{os.uname().nodename}@{os.getppid()}-00000000.part"
    other.mkdir(parents=True)
    with pytest.raises(FileExistsError, match=rf"being made by another process \({os.getppid()}\)"):
        import_layout(layout, tmp_path / "out")
    assert other.is_dir()


def test_two_processes_write_what_one_writes(layout, tmp_path):
    done = replace(layout, steps=[Keep(3)])
    import_layout(done, tmp_path / "one")
    import_layout(done, tmp_path / "two", workers=2)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    layout.cases[3].label.write_bytes(b"\x1f\x8b no")
    with pytest.raises(ValueError, match=r"- s1: .*s1_mr_l.nii.gz: cannot be read as an image"):
        import_layout(done, tmp_path / "three", workers=2)
    # a killed worker is told, and what the others finished is kept
    (tmp_path / "trap").touch()
    with pytest.raises(MemoryError, match="a worker process was killed"):
        import_layout(replace(done, steps=[Keep(3, str(tmp_path / "trap"))]), tmp_path / "three", workers=2)
    assert [path.name[:17] for path in (tmp_path / "three").iterdir()] == [".datalist-import-"]


def test_all_that_is_broken_is_told_and_nothing_is_left(layout, tmp_path):
    layout.cases[0].image.write_bytes(layout.cases[0].image.read_bytes()[:99])
    write(layout.cases[3].label, label_of([5, 9]).astype(np.int16), AFFINE)
    bad = replace(
        layout, broken={"s7": "no image of ct."}, cases=[*layout.cases, layout.cases[4]._replace(subject="a/b")]
    )
    with pytest.raises(ValueError) as caught:
        import_layout(bad, tmp_path / "out")
    lines = str(caught.value).splitlines()
    assert lines[0] == "4 of 5 subjects cannot be used, nothing is written (--skip-broken leaves out such subjects):"
    told = {line.split(":")[0]: line for line in lines[1:]}
    assert "no image of ct" in told["  - s7"]
    assert "s0_ct.nii.gz: cannot be read as an image" in told["  - s0"]
    assert "s1_mr_l.nii.gz: label values must be some of 0, 5, 7, found [9]" in told["  - s1"]
    assert "subject 'a/b' names files, but it holds a slash" in told["  - a/b"]
    assert not (tmp_path / "out").exists()
    path = import_layout(bad, tmp_path / "out", skip_broken=True)
    assert [one["subject"] for one in read_datalist(path).items("test")] == ["s2", "s2"]
    record = json.loads((tmp_path / "out" / "preparation.json").read_text(encoding="utf-8"))
    assert record["broken"].keys() == {"s0", "s1", "s7", "a/b"}
    assert sorted(path.name for path in (tmp_path / "out" / "labels").iterdir()) == ["s2_ct.nii.gz", "s2_mr.nii.gz"]
    with pytest.raises(ValueError, match=r"no subject of two can be used:\n  - s7: .*\n  - s0: "):
        import_layout(replace(bad, cases=layout.cases[:4]), tmp_path / "none", skip_broken=True)


def test_numbers_that_differ_between_parts_name_the_way(layout, tmp_path):
    for place in (1, 3):
        write(layout.cases[place].label, label_of([5, 9]).astype(np.int16), AFFINE)
    with pytest.raises(ValueError, match=r"found \[9\].*\nA class may have several values .*mmseg data merge`\.$"):
        import_layout(layout, tmp_path / "out")


def test_other_visits_of_a_person_stay_and_what_goes_with_a_broken_image_is_told(layout, tmp_path):
    visits = [case._replace(subject="p", visit=case.subject) for case in layout.cases]
    visits[0].image.write_bytes(visits[0].image.read_bytes()[:99])
    bad = replace(layout, cases=visits)
    with pytest.raises(ValueError, match=r"^a visit cannot be used, .*leaves out such visits\):\n  - p_s0: "):
        import_layout(bad, tmp_path / "out")
    path = import_layout(bad, tmp_path / "out", skip_broken=True)
    kept = [(one["subject"], one["modality"]) for one in load_datalist(path)]
    assert kept == [("p_s1", "ct"), ("p_s1", "mr")]  # the third visit is for testing
    (told,) = importing.record_of(path)["broken"].items()
    assert told[0] == "p_s0"
    assert told[1].endswith("; with its other images: mr")
    whole = replace(bad, cases=visits[2:], broken={"p": "a label without an image"})
    with pytest.raises(ValueError, match="p: a label .*; with its other images: ct of s1, mr of s1, ct of s2, mr of"):
        import_layout(whole, tmp_path / "none", skip_broken=True)


def test_names_of_no_use_are_of_one_visit(layout, tmp_path):
    cases = [case._replace(subject="p", visit="a/b" if case.subject == "s0" else case.subject) for case in layout.cases]
    path = import_layout(replace(layout, cases=cases), tmp_path / "out", skip_broken=True)
    assert list(importing.record_of(path)["broken"]) == ["p_a/b"]
    assert [one["subject"] for one in load_datalist(path)] == ["p_s1", "p_s1"]


def test_nothing_is_replaced_unless_asked(layout, tmp_path):
    path = import_layout(layout, tmp_path / "out")
    before = digests(tmp_path / "out")
    with pytest.raises(FileExistsError, match="datalist.json is there already"):
        import_layout(layout, tmp_path / "out")
    with pytest.raises(FileExistsError, match=r"labels/s0_ct.nii.gz is there already, and 5 more files"):
        import_layout(layout, tmp_path / "out" / "second.json")
    assert digests(tmp_path / "out") == before
    fewer = replace(layout, cases=layout.cases[:2], values={0: 0, 5: 2, 7: 1})
    assert import_layout(fewer, tmp_path / "out", overwrite=True) == path
    assert np.unique(volume(load_datalist(path)[0]["label"])).tolist() == [0, 1, 2]
    assert len(load_datalist(path)) == 2
    import_layout(layout, tmp_path / "other" / "second.json")
    names = {"second.json", "second_preparation.json", "second_LICENCE.txt", "labels"}
    assert set(os.listdir(tmp_path / "other")) == names


def test_names_that_would_meet(layout, tmp_path):
    one = layout.cases[0]
    with pytest.raises(ValueError, match=r"s0: two images are of modality 'ct': .*s0_ct.* and .*s1_ct"):
        import_layout(replace(layout, cases=[one, layout.cases[2]._replace(subject="s0")]), tmp_path / "out")
    for cases, message in (
        ([one._replace(visit="2"), one._replace(subject="s0_2")], "'s0' and 's0_2' would both be called 's0_2_ct'"),
        ([one, one._replace(subject="S0")], "would be one file where letter case does not count"),
    ):
        with pytest.raises(ValueError, match=message):
            import_layout(replace(layout, cases=cases), tmp_path / "out")
    with pytest.raises(ValueError, match="workers must be 1 or more, got 0"):
        import_layout(layout, tmp_path / "out", workers=0)


def test_checksum_of_a_series_is_of_its_files_in_order(layout, tmp_path):
    names = [f"a{number}.dcm" for number in (1, 2, 10)]
    write_dicom(tmp_path / "series", np.arange(60, dtype=np.int16).reshape(3, 5, 4), names)
    path = import_layout(replace(layout, cases=[Case("s1", "mr", tmp_path / "series")]), tmp_path / "out")
    record = json.loads((path.parent / "preparation.json").read_text(encoding="utf-8"))
    data = b"".join((tmp_path / "series" / name).read_bytes() for name in names)
    told = {"file": "../series", "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "files": 3}
    assert record["inputs"] == [told]


def test_files_of_another_list_stay(layout, tmp_path):
    """Two lists in one folder would share the labels of a subject."""
    import_layout(layout, tmp_path / "out" / "one.json")
    before = digests(tmp_path / "out")
    for name in ("two.json", "datalist.json"):
        with pytest.raises(FileExistsError, match=rf"one.json has .*s0_ct.nii.gz and 5 more files.*{name} to another"):
            import_layout(layout, tmp_path / "out" / name, overwrite=True)
    assert digests(tmp_path / "out") == before
    import_layout(layout, tmp_path / "out" / "one.json", overwrite=True)
    assert digests(tmp_path / "out").keys() == before.keys()
    (tmp_path / "out" / "one_preparation.json").unlink()  # as of a list that was written by hand
    with pytest.raises(FileExistsError, match=r"one.json has .*s0_ct.nii.gz and 5 more files"):
        import_layout(layout, tmp_path / "out" / "two.json", overwrite=True)


def test_a_label_of_all_images_is_that_of_those_whose_grid_it_has(layout, tmp_path):
    far = np.diag([1.0, 1.0, 9.0, 1.0])
    cases = [case._replace(label=layout.cases[2 * (n // 2)].label) for n, case in enumerate(layout.cases)]
    write(cases[3].image, np.ones((4, 4, 4), np.float32).cumsum(0), far)  # s1: MR has slices of its own
    made = import_layout(replace(layout, cases=cases), tmp_path / "out")
    items = [item for section in read_datalist(made).sections.values() for item in section]
    unlabelled = [(item["subject"], item["modality"]) for item in items if "label" not in item]
    assert unlabelled == [("s1", "mr")]
    assert [note for note in importing.record_of(made)["notes"] if "s1 mr" in note]
    alone = [case._replace(label=None) if n == 2 else case for n, case in enumerate(cases)]
    with pytest.raises(ValueError, match=r"s1: .*s1_ct_l.nii.gz: the label has shape .*with its other images: ct"):
        import_layout(replace(layout, cases=alone), tmp_path / "none")
