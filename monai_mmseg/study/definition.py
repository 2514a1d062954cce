# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a study compares: its file or its command line, checked before anything is run."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from itertools import product
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

from monai_mmseg import baselines, phantom
from monai_mmseg.bundle.collection import bundles_folder
from monai_mmseg.bundle.datalist import PHANTOM_KINDS
from monai_mmseg.files import read_json
from monai_mmseg.metrics import PAPER_DICE
from monai_mmseg.names import name_problem
from monai_mmseg.planning.context import seconds_of
from monai_mmseg.study.keys import check_keys, check_types, flags
from monai_mmseg.study.methods import Method, StudyError, find_method
from monai_mmseg.study.overrides import check_method_overrides, check_shared_names, check_shared_overrides
from monai_mmseg.study.published import read_published


class Setting(NamedTuple):
    """One state of the data that all methods are trained on."""

    name: str
    labels: Mapping[str, float] = {}  # modality: share (0.5) or number (4) of the training subjects that keep labels
    phantom: Mapping[str, Any] = {}  # other values than those of the study's phantom
    datalist: Path | None = None  # in the place of the study's
    test: str = ""  # datalist beside that of the data, whose test section is scored in the place of the data's own


@dataclass(frozen=True)
class Study:
    """A study; :func:`read_study` says what its file holds."""

    methods: tuple[Method, ...]
    datalist: Path | None = None
    phantom: Mapping[str, Any] = field(default_factory=dict)
    target: str | None = None
    source: str | None = None
    settings: tuple[Setting, ...] = (Setting("all"),)
    taken: frozenset[str] = frozenset()  # modalities whose labels a setting of its file takes away, run now or not
    seeds: tuple[int, ...] = (0,)
    folds: int = 1
    budget: float | None = None  # seconds of each training
    steps: int | None = None
    overlays: tuple[str, ...] = ()  # of every bundle; with any, nothing is planned
    common: Mapping[str, Any] = field(default_factory=dict)  # overrides of every training
    evaluating: Mapping[str, Any] = field(default_factory=dict)  # of every evaluation
    paper_dice: bool = False  # also Dice as the methods' papers count it
    nnunet: str | None = None  # an environment with nnU-Net
    name: str = "study"
    about: str = ""
    ours: str = ""  # the method of interest
    published: str = ""  # table of a paper that it repeats

    @property
    def planned(self) -> bool:
        """Bundles are set up for the data by `mmseg plan`."""
        return not self.overlays

    @property
    def paper_rule(self) -> str | bool:
        """Whose rule of Dice counts for methods that are no bundle."""
        rule = self.published.partition("_")[0]
        return self.paper_dice and (rule if rule in PAPER_DICE else "dafnet")

    def aims_at(self, method: Method, target: str) -> bool:
        """Whether a method segments the target; a plain network if it was named, or labels of it are taken away."""
        named = self.target is not None or target in self.taken
        return method.bundle == "dafnet" or (method.bundle == "unet" and named)

    def content(self) -> dict[str, Any]:
        """What decides over the cells, as JSON: lanes, methods and seeds that are added do not."""
        methods = {}
        for one in self.methods:
            parts = {name: value for name, value in one._asdict().items() if name in _DECIDING and value}
            methods[one.name] = json.loads(json.dumps({**parts, "stages": [stage._asdict() for stage in one.stages]}))
        return {
            "datalist": None if self.datalist is None else str(self.datalist.resolve()),
            "phantom": dict(self.phantom),
            "target": self.target,
            "source": self.source,
            "settings": {one.name: _content(one) for one in self.settings},
            "budget": self.budget,
            "steps": self.steps,
            "overlays": list(self.overlays),
            "common": dict(self.common),
            "evaluating": dict(self.evaluating),
            "paper_dice": self.paper_dice,
            "methods": methods,
        }


def _content(setting: Setting) -> dict[str, Any]:
    other = {} if setting.datalist is None else {"datalist": str(setting.datalist.resolve())}
    other |= {"test": setting.test} if setting.test else {}
    return {"labels": dict(setting.labels), "phantom": dict(setting.phantom), **other}


_CONFIG = ("kind", "bundle", "overlays", "overrides", "bare", "plan", "planned")
_DECIDING = (*_CONFIG, "each", "borrows", "options", "scores")
_KEYS = {
    "about": str,
    "budget": str,
    "common": dict,
    "datalist": str,
    "evaluating": dict,
    "folds": int,
    "methods": list,
    "name": str,
    "nnunet": str,
    "ours": str,
    "overlays": list,
    "paper_dice": bool,
    "phantom": dict,
    "published": str,
    "seeds": list,
    "settings": dict,
    "source": str,
    "steps": int,
    "target": str,
}
_METHOD_KEYS = {"name": str, "method": str, "overlays": list, "overrides": dict, "options": dict, "scores": str}
_SETTING_KEYS = {"datalist": str, "labels": dict, "phantom": dict, "test": str}


def is_study(path: str | Path) -> bool:
    """Whether a JSON file holds a study, not a datalist.

    Args:
        path: of the file.

    Raises:
        ValueError: it is there, but is no JSON.
    """
    if not Path(path).is_file():
        return False  # the datalist's own message says what is missing
    raw = read_json(path)
    return isinstance(raw, dict) and "training" not in raw and not {"methods", "datalist", "phantom"}.isdisjoint(raw)


def read_study(path: str | Path, given: Mapping[str, Any] | None = None) -> Study:
    """A study from its file.

    ========================  =======================================================================================
    ``datalist``, ``phantom``  the data: a path beside the file, or ``{"kind": "heart", ...}``, made by the study
    ``methods``               names, or ``{"name", "method", "overlays", "overrides"}``: a variant of a method
    ``settings``              name to ``{"labels": {"lge": 0.25}}``: a share of the training subjects keeps its labels,
                              or ``4`` of them (``"all"``: of all modalities of a subject together);
                              ``{"phantom": {...}}``: other values of the phantom;
                              ``{"datalist": "moved/datalist.json"}``: other images of the same modalities and labels;
                              ``{"test": "outliers.json"}``: scored on the test section of another datalist beside it
    ``target``, ``source``    modalities, for methods that have these
    ``seeds``, ``folds``      numbers of the trainings; folds 0 to n - 1
    ``budget`` or ``steps``   of each training: ``"20m"``, or updates of the weights
    ``overlays``              of every bundle, such as ``demo``; without any, bundles are planned for the data
    ``paper_dice``            also Dice as the papers of the methods count it
    ``ours``                  the method that the tests and pictures are about
    ``common``                overrides of every training; ``evaluating``: of every evaluation
    ========================  =======================================================================================

    Args:
        path: JSON.
        given: keys that take the place of those in the file, as on the command line.

    Returns:
        The study.

    Raises:
        StudyError: a key is unknown, or a value cannot be used.
    """
    try:
        raw = read_json(path)
    except (OSError, ValueError) as error:
        raise StudyError(str(error)) from error
    if not isinstance(raw, dict):
        raise StudyError(f"{path}: a study must be a JSON object, got {type(raw).__name__}.")
    try:
        other = {"budget": "steps", "steps": "budget"}  # one of them replaces the other
        dropped = {other[key] for key in given or {} if key in other}
        kept = {key: value for key, value in raw.items() if key not in dropped}
        given = dict(given or {})
        if "methods" in given:
            if kept.get("ours") not in given["methods"]:
                kept.pop("ours", None)  # the folder of the study remembers it
            given["methods"] = [_own_methods(kept).get(name, name) for name in given["methods"]]
        chosen = given.pop("settings", None)
        study = study_of({"name": Path(path).stem, **kept, **given}, Path(path).parent)
        return study if chosen is None else replace(study, settings=_chosen(study.settings, chosen))
    except ValueError as error:
        raise StudyError(f"{path}: {error}") from error


def _own_methods(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What a study's file means by a name, which wins over the method of that name."""
    listed = raw.get("methods", [])
    found = listed if isinstance(listed, list) else []
    return {one["name"]: one for one in found if isinstance(one, dict) and "name" in one}


def _chosen(settings: Sequence[Setting], names: Sequence[str]) -> tuple[Setting, ...]:
    """Some settings of a study's file, in its order."""
    known = [one.name for one in settings]
    for name in names:
        if name not in known:
            close = get_close_matches(name, known, 1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise StudyError(f"--settings: the study has none of the name {name!r}, but {', '.join(known)}.{hint}")
    return tuple(one for one in settings if one.name in names)


def study_of(raw: Mapping[str, Any], place: Path = Path()) -> Study:
    """A study from its keys.

    Args:
        raw: keys of :func:`read_study`.
        place: folder that a relative path of the datalist starts from.

    Raises:
        StudyError: a key is unknown, or a value cannot be used.

    Examples:
        >>> study_of({"datalist": "datalist.json", "methods": ["dafnet"], "steps": 100}).methods[0].bundle
        'dafnet'
        >>> study_of({"datalist": "datalist.json", "method": ["dafnet"]})
        Traceback (most recent call last):
        monai_mmseg.study.methods.StudyError: key 'method' is unknown: did you mean 'methods'?
    """
    check_keys(raw, _KEYS, "")
    raw = {key: value for key, value in raw.items() if not key.startswith("_")}  # as comments in configs
    check_types(raw, _KEYS, "")
    if ("datalist" in raw) == ("phantom" in raw):
        raise StudyError("a study needs one of 'datalist' and 'phantom'.")
    if "budget" in raw and "steps" in raw:
        raise StudyError("a study has one of 'budget' and 'steps'.")
    check_shared_overrides(raw)
    plain = ("name", "about", "phantom", "target", "source", "paper_dice", "nnunet", "ours", "published")
    kept = {key: raw[key] for key in plain if key in raw}
    if raw.get("source", "") == raw.get("target"):
        raise StudyError(f"source and target must be two modalities, got {raw['target']!r} twice.")
    if raw.get("published"):
        read_published(raw["published"])  # now, not when all cells have run
    folds, steps = raw.get("folds", 1), raw.get("steps")
    if folds < 1 or (steps is not None and steps < 1):
        raise StudyError(f"folds and steps must be 1 at least, got folds={folds}, steps={steps}.")
    kind = str(raw.get("phantom", {}).get("kind", "heart"))
    if "phantom" in raw:
        _check_phantom(raw["phantom"], kind, "phantom: ")
    for name, one in raw.get("settings", {}).items():
        if isinstance(one, dict) and isinstance(one.get("phantom"), dict):
            _check_phantom(one["phantom"], kind, f"settings: {name}: phantom: ", raw.get("phantom"))
    methods = _methods(raw.get("methods", []), raw)
    check_shared_names(raw, methods)
    settings = tuple(_settings(raw.get("settings", {"all": {}}), place))
    if raw.get("ours") and raw["ours"] not in (names := [one.name for one in methods]):
        raise StudyError(f"ours must be one of the methods {names}, got {raw['ours']!r}.")
    return Study(
        methods=tuple(methods),
        datalist=place / raw["datalist"] if "datalist" in raw else None,
        settings=settings,
        taken=frozenset(name for one in settings for name in one.labels),
        seeds=tuple(_seeds(raw.get("seeds", [0]))),
        folds=folds,
        budget=seconds_of(raw["budget"]) if "budget" in raw else None,
        steps=steps,
        overlays=_overlays(
            raw.get("overlays", ()), {one.bundle for one in methods if one.bundle} or {"*"}, "overlays: "
        ),
        common=raw.get("common", {}),
        evaluating=raw.get("evaluating", {}),
        **kept,
    )


def _methods(given: Sequence[Any], raw: Mapping[str, Any]) -> list[Method]:
    if not given:
        raise StudyError("methods must name one at least; `mmseg compare --list` prints all.")
    found: dict[str, Method] = {}
    for one in given:
        about = {"method": one} if isinstance(one, str) else one
        if not isinstance(about, dict):
            raise StudyError(f"methods must be names or objects, got {one!r}.")
        check_keys(about, _METHOD_KEYS, "methods: ")
        check_types(about, _METHOD_KEYS, "methods: ")
        if not {"method", "name"} & set(about):
            raise StudyError(f"methods: one has neither 'method' nor 'name': {about}.")
        method = find_method(str(about.get("method", about.get("name"))))
        name = str(about.get("name", method.name))
        where = f"methods: {name}: "
        if "scores" in about and method.kind != "bundle":
            raise StudyError(f"{where}scores are of bundles.")
        _check_options(about.get("options", {}), method, where)
        check_method_overrides(about.get("overrides", {}), method, raw, where)
        if problem := name_problem(name):
            raise StudyError(f"methods: {name!r} names files, but it {problem}.")
        if name[0] in "-$@%":
            raise StudyError(f"methods: {name!r} begins with {name[0]}, which commands and configs take for their own.")
        if name in found:
            raise StudyError(f"methods: {name!r} is there twice.")
        found[name] = method.with_overlays(_overlays(about.get("overlays", ()), {method.bundle}, where))._replace(
            name=name,
            overrides={**method.overrides, **about.get("overrides", {})},
            options={**method.options, **about.get("options", {})},
            scores=about.get("scores", method.scores),
        )
    return list(found.values())


def _settings(given: Mapping[str, Any], place: Path) -> list[Setting]:
    found = []
    for name, about in given.items():
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name):
            raise StudyError(f"settings: a name must be letters, digits, '_', '-' and '.', got {name!r}.")
        if not isinstance(about, dict):
            raise StudyError(
                f'settings: {name}: must be an object such as {{"labels": {{"lge": 0.5}}}}, got {about!r}.'
            )
        check_keys(about, _SETTING_KEYS, f"settings: {name}: ")
        check_types(about, _SETTING_KEYS, f"settings: {name}: ")
        if "all" in about.get("labels", {}) and len(about["labels"]) > 1:
            raise StudyError(f"settings: {name}: labels of 'all' take those of each modality along: name 'all' alone.")
        for modality, amount in about.get("labels", {}).items():
            if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount < inf:
                raise StudyError(f"settings: {name}: labels of {modality} must be a share or a number, got {amount!r}.")
            if isinstance(amount, float) and amount > 1:
                raise StudyError(f"settings: {name}: a share of labels is 1 at most, got {amount}; a number is whole.")
        listed = place / about["datalist"] if "datalist" in about else None
        found.append(Setting(name, about.get("labels", {}), about.get("phantom", {}), listed, about.get("test", "")))
    if not found:
        raise StudyError("settings must hold one at least.")
    return found


def _seeds(given: Sequence[Any]) -> list[int]:
    if not given or any(isinstance(one, bool) or not isinstance(one, int) or one < 0 for one in given):
        raise StudyError(f"seeds must be whole numbers from 0, got {given}.")
    if len(set(given)) < len(given):
        raise StudyError(f"seeds must be distinct, got {given}.")
    return list(given)


def _overlays(given: Sequence[Any], bundles: Collection[str], where: str) -> tuple[str, ...]:
    """Names of configs that each bundle has, or any (``*``): without one, a method differs from its rivals in more."""
    for bundle, name in product(sorted(bundles), given):
        folders = list(bundles_folder().glob(f"{bundle or '-'}/configs"))
        if not any((folder / f"{name}.json").is_file() for folder in folders):
            known = sorted(
                {p.relative_to(one).with_suffix("").as_posix() for one in folders for p in one.rglob("*.json")}
            )
            close = [*(path for path in known if path == f"settings/{name}"), *get_close_matches(str(name), known, 1)]
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise StudyError(f"{where}there is no overlay {name!r} in bundles/{bundle}.{hint}")
    return tuple(given)


def _check_phantom(given: Mapping[str, Any], kind: str, where: str, base: Mapping[str, Any] | None = None) -> None:
    """Of a study; or of a setting, whose modalities and classes are those of its study's, the `base`."""
    if kind not in PHANTOM_KINDS:
        raise StudyError(f"{where}kind must be one of {list(PHANTOM_KINDS)}, got {kind!r}.")
    own = None if base is None else {"kind": kind, **base}
    for name in ("kind", "modalities") if own is not None else ():
        if name in given and given[name] != (wanted := (own or {}).get(name)):
            raise StudyError(
                f"{where}{name} must be that of the study, {wanted or 'the default'}, got {given[name]!r}."
            )
    check_keys(given, ["kind", *flags(getattr(phantom, f"make_{kind}_phantom"))], where)


def _check_options(given: Mapping[str, Any], method: Method, where: str) -> None:
    """Options are those of the function that is called, or of nnU-Net."""
    if given and method.kind == "bundle":
        raise StudyError(f"{where}options are of baselines and programs; a bundle has 'overrides'.")
    if method.kind == "baseline":
        own = ("overwrite", "lend")  # of the study
        known = [name for name in flags(getattr(baselines, method.options["function"])) if name not in own]
    else:
        known = ["configuration"]
    check_keys(given, known, f"{where}options: ")
