# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Curves of the documentation are those of the scores that are kept."""

from __future__ import annotations

import pytest

from benchmarks.figures import FIGURES, IMAGES, draw, read_settings, table


@pytest.mark.parametrize("figure", FIGURES, ids=lambda one: one.name)
def test_pictures_are_of_the_scores(figure):
    settings = read_settings(figure)
    assert draw(figure, settings) == (IMAGES / f"{figure.name}.svg").read_text(encoding="utf-8")
    assert len(table(settings)) == 2 + len(settings)


def test_a_table_that_is_not_there_is_said():
    with pytest.raises(FileNotFoundError, match="no such table of scores"):
        read_settings(FIGURES[0]._replace(files=("nowhere/*.csv",)))
