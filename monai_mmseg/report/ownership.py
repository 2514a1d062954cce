# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Which model the parts of a run folder are about: a report shows those of one run only."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

EVALUATIONS = "evaluations.json"
SHORT = 12  # letters of a hash that are shown


class Ownership(NamedTuple):
    """What :func:`find_ownership` returns."""

    model: str  # sha256 of the run's model; empty: not known
    foreign: dict[str, str]  # name of a table to the sentence that says why it is left out
    foreign_last: bool  # whether the newest evaluation, which drew the pictures, is of another model
    newest: Mapping[str, Any]  # entry of the newest evaluation of the run's model; empty: none


def find_ownership(
    about: Mapping[str, Any],
    evaluations: Mapping[str, Any],
    names: Collection[str],
    hashes: Mapping[str, str] | None = None,
) -> Ownership:
    """Tell the tables of a run from those of other models.

    The run's model is the one that ``run.json`` names, else that of the newest evaluation. Tables without an entry,
    such as those of a baseline, belong to every run.

    Args:
        about: content of ``run.json``.
        evaluations: content of ``evaluations.json``: table to ``run``, ``model``, ``section``, ``time`` and, but in
            older files, its ``sha256``.
        names: tables that there are.
        hashes: their SHA-256; without one a table is believed to be what was written.

    Returns:
        The run's model and what is not of it.

    Examples:
        >>> entries = {"metrics/a.json": {"model": "00ff"}, "metrics/b.json": {"model": "77aa"}}
        >>> find_ownership({"model": {"file": "model.pt", "sha256": "00ff"}}, entries, list(entries)).foreign
        {'metrics/b.json': 'metrics/b.json scored another model (77aa): left out.'}
    """
    entries = {name: entry for name, entry in evaluations.items() if isinstance(entry, Mapping) and name in names}
    order = sorted(entries, key=lambda name: str(entries[name].get("time") or ""))
    named = about.get("model")
    model, run = str(named.get("sha256") or "") if isinstance(named, Mapping) else "", str(about.get("id") or "")
    if not model and order:
        model = str(entries[order[-1]].get("model") or "")
    foreign = {}
    for name, entry in entries.items():
        scored, by = str(entry.get("model") or ""), str(entry.get("run") or "")
        if scored and model and scored != model:
            foreign[name] = f"{name} scored another model ({short_hash(scored)}): left out."
        elif not (scored and model) and by and run and by != run:
            foreign[name] = f"{name} is of another run ({by}): left out."
    own = [name for name in order if name not in foreign]
    last = bool(order) and order[-1] in foreign
    for name in own:
        if (noted := entries[name].get("sha256")) and (hashes or {}).get(name, noted) != noted:
            foreign[name] = f"{name} is not the table that was evaluated, it was replaced since: left out."
    return Ownership(model, foreign, last, entries[own[-1]] if own else {})


def short_hash(text: str) -> str:
    """First letters of a hash.

    Examples:
        >>> short_hash("0123456789abcdef"), short_hash("0123")
        ('0123456789ab…', '0123')
    """
    return text if len(text) <= SHORT else f"{text[:SHORT]}…"
