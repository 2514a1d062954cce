# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Compare methods on one datalist: cells of method, setting, fold and seed, their scores, tests, and one page."""

from monai_mmseg.study.cells import Cell, CellResult, read_cells, write_cell

__all__ = ["Cell", "CellResult", "read_cells", "write_cell"]
