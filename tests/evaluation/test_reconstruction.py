# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import pytest
import torch

from monai_mmseg.evaluation import OTHERS, ReconstructionRow, ReconstructionTable, reconstruction_rows
from monai_mmseg.metrics import image_similarity, original_image_similarity

NAN = float("nan")


def subject(seed=0, neighbours=3):
    """Images of three modalities, 4 slices with neighbours; flair lacks slices, t2 is not there at all."""
    generator = torch.Generator().manual_seed(seed)
    images = {name: torch.randn(4, neighbours, 20, 16, generator=generator) for name in ("t1", "t2", "flair")}
    images["t2"][:] = NAN
    images["flair"][:2] = NAN
    drawings = {
        (a, b): torch.randn(4, neighbours, 20, 16, generator=generator) for a in (*images, OTHERS) for b in images
    }
    return images, drawings


def rows_of(images, drawings, **more):
    found = reconstruction_rows(images, drawings, subject="s01", method="ours", **more)
    return {(row.source, row.target): row for row in found}


def test_pairs_without_both_images_have_no_row_and_slices_are_counted():
    rows = rows_of(*subject())
    assert {pair: row.slices for pair, row in rows.items()} == {
        ("t1", "t1"): 4,
        ("t1", "flair"): 2,
        ("flair", "t1"): 2,
        ("flair", "flair"): 2,
        (OTHERS, "t1"): 2,
        (OTHERS, "flair"): 2,
    }
    assert all(math.isfinite(row.psnr) and math.isfinite(row.ssim) for row in rows.values())


def test_middle_slice_and_range_of_the_target():
    images, drawings = subject()
    truth = images["t1"][:, 1]
    row = rows_of(images, drawings)["flair", "t1"]
    low_high = (float(truth.min()), float(truth.max()))  # of all slices, also those that flair lacks
    expected = image_similarity(drawings["flair", "t1"][2:, 1], truth[2:], low_high)
    assert (row.psnr, row.ssim) == expected
    old = original_image_similarity(drawings["flair", "t1"][2:, 0], images["t1"][2:, 0])
    assert row.original_psnr == pytest.approx(float(old.psnr.mean()))
    assert row.original_ssim == pytest.approx(float(old.ssim.mean()))


def test_given_ranges_and_mask():
    images, drawings = subject(neighbours=1)
    mask = torch.zeros(4, 20, 16, dtype=torch.bool)
    mask[:, 6:14, 6:10] = True
    ranges = {"t1": (-5.0, 5.0), "flair": (-3.0, 3.0)}
    row = rows_of(images, drawings, mask=mask, ranges=ranges, original=False)["t1", "flair"]
    expected = image_similarity(drawings["t1", "flair"][2:, 0], images["flair"][2:, 0], (-3.0, 3.0), mask[2:])
    assert (row.psnr, row.ssim) == expected
    assert (row.original_psnr, row.original_ssim) == (None, None)


def test_constant_target_or_empty_mask_has_no_row():
    images, drawings = subject()
    images["t1"][:] = 2.0
    assert {target for _, target in rows_of(images, drawings)} == {"flair"}
    assert rows_of(images, drawings, mask=torch.zeros(4, 20, 16, dtype=torch.bool)) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({("pd", "t1"): torch.zeros(4, 3, 20, 16)}, r"pairs of \['flair', 't1', 't2'\], got \('pd', 't1'\)"),
        ({("t1", "t2"): torch.zeros(4, 1, 20, 16)}, r"t1 -> t2 must have shape \(4, 3, 20, 16\)"),
        ({("t1", "t2"): torch.zeros(20, 16)}, r"must have shape \(D, H, W\) or \(D, S, H, W\)"),
    ],
)
def test_errors(change, message):
    images, drawings = subject()
    with pytest.raises(ValueError, match=message):
        rows_of(images, {**drawings, **change})


def test_range_of_every_modality_is_needed():
    with pytest.raises(ValueError, match="one entry for each modality"):
        rows_of(*subject(), ranges={"flair": (0.0, 1.0)})


def row(subject, source, target, psnr, ssim=0.5, method="ours"):
    return ReconstructionRow(method, subject, source, target, 3, psnr, ssim)


TABLE = [
    row("s01", "t1", "t2", 20.0),
    row("s01", "flair", "t2", 24.0),
    row("s01", "t2", "t2", 40.0),  # a self-reconstruction
    row("s01", OTHERS, "t2", 30.0),
    row("s02", "t1", "t2", 26.0),
    row("s02", "t1", "flair", math.inf, 1.0),
]


def table():
    return ReconstructionTable(TABLE, {"ours": ["s01", "s02", "s03"]})


def test_means_by_target_are_first_over_the_sources_of_a_subject():
    found = {line.target: line for line in table().by_target()}
    t2 = found["t2"]
    assert (t2.subjects, t2.left_out, t2.exact) == (2, 1, 0)
    assert t2.measures["psnr"].mean == pytest.approx((22 + 26) / 2)
    assert t2.measures["psnr"].sd == pytest.approx(8**0.5)
    assert t2.measures["original_psnr"] is None
    assert table().subject_means("ours", "t2") == {"s01": 22.0, "s02": 26.0}
    flair = found["flair"]
    assert (flair.subjects, flair.left_out, flair.exact, flair.measures["psnr"].mean) == (1, 2, 1, math.inf)


def test_means_of_pairs_leave_equal_images_out_and_count_them():
    more = table()
    more.add(row("s03", "t1", "flair", 33.0))
    found = {(line.source, line.target): line for line in more.summary()}
    line = found["t1", "flair"]
    assert (line.measures["psnr"].mean, line.exact, line.subjects, line.left_out) == (33.0, 1, 2, 1)
    assert found["flair", "t2"].left_out == 2
    assert "1 drawings equal their image" in more.to_markdown()


def test_files_and_their_return(tmp_path):
    paths = table().save(tmp_path / "new")
    assert ReconstructionTable.from_json(paths["json"]) == table()
    lines = paths["csv"].read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("method,subject,source,target,slices,psnr,ssim")
    assert lines[-1] == "ours,s02,t1,flair,3,inf,1.0,,"
    text = paths["md"].read_text(encoding="utf-8")
    assert "| ours | t2 | 24.00 ± 2.83 | 0.500 ± 0.000 | 2 | 1 |" in text
    assert f"| ours | {OTHERS} | t2 | 30.00 | 0.500 | 1 | 2 |" in text
    assert "as released" not in text


def test_tables_join():
    other = ReconstructionTable([row("s01", "t1", "t2", 18.0, method="mean image")])
    joined = table().concatenate(other)
    assert joined.methods == ["ours", "mean image"]
    assert len(joined) == 7
    assert joined.subjects("ours") == ["s01", "s02", "s03"]
    with pytest.raises(ValueError, match="got a second one of"):
        table().concatenate(table())


def test_broken_rows_and_files(tmp_path):
    with pytest.raises(ValueError, match=r"psnr must be a number, got NaN \(subject 's01'\)"):
        row("s01", "t1", "t2", NAN)
    with pytest.raises(ValueError, match="difference in \\['ssim'\\]"):
        ReconstructionRow.from_dict({k: v for k, v in TABLE[0].as_dict().items() if k != "ssim"})
    path = tmp_path / "a.json"
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="format 'monai_mmseg.reconstruction/1', got None"):
        ReconstructionTable.from_json(path)
    with pytest.raises(ValueError, match="measure must be one of"):
        table().subject_means("ours", "t2", "dice")
