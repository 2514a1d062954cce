# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Compare methods on one datalist: cells of method, setting, fold and seed, their scores, tests, and one page."""

from typing import TYPE_CHECKING

from monai_mmseg.lazy import lazy_names

if TYPE_CHECKING:
    from monai_mmseg.study.cells import Cell, CellResult, read_cells, write_cell
    from monai_mmseg.study.definition import Study, read_study
    from monai_mmseg.study.methods import METHODS, Method, StudyError, find_method
    from monai_mmseg.study.runner import run_study

__all__ = [
    "METHODS",
    "Cell",
    "CellResult",
    "Method",
    "Study",
    "StudyError",
    "find_method",
    "read_cells",
    "read_study",
    "run_study",
    "write_cell",
]

if not TYPE_CHECKING:
    __getattr__ = lazy_names(__name__)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
