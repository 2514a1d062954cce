# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""The methods that a study can compare: what each is, what it needs, and how it is run. A new one is a line here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal, NamedTuple

from monai_mmseg.bundle.collection import bundles_folder

Kind = Literal["bundle", "baseline", "program"]


class StudyError(ValueError):
    """A study cannot be run as it is asked for; the message says what to change."""

    says_all = True


class Stage(NamedTuple):
    """A training that comes before the one that is scored."""

    bundle: str
    gives: Mapping[str, str]  # setting of the scored training: what it takes of the stage's folder
    runs: tuple[str, ...] = ("training",)
    overlays: tuple[str, ...] = ()
    overrides: Mapping[str, Any] = {}
    share: float = 0.5  # of the budget


class Method(NamedTuple):
    """One method.

    Examples:
        >>> METHODS["unet_source"].bundle, METHODS["unet_source"].overlays
        ('dafnet', ('settings/unet_source',))
    """

    name: str
    about: str
    kind: Kind
    needs: tuple[str, ...] = ()  # names of `monai_mmseg.study.facts.NEEDS`
    bundle: str = ""
    overlays: tuple[str, ...] = ()  # files of the bundle's configs, without ending
    overrides: Mapping[str, Any] = {}
    bare: tuple[str, ...] = ()  # overlays where the target has no label
    plan: str = ""  # method of `mmseg plan` that sets the bundle up for any data
    planned: Mapping[str, Any] | None = None  # overrides in the place of the overlays with the network of a plan
    each: bool = False  # a training for each modality, scored together
    stages: tuple[Stage, ...] = ()
    scores: str = ""  # file of the run's scores; default: those of label volumes
    package: str = ""  # that it needs, and its extra
    options: Mapping[str, Any] = {}  # of a baseline or a program


TARGET = ("two modalities", "source labels")
PAIRED = (*TARGET, "pairs")
EACH = ("labels of each modality",)
BARE = ("settings/target_0",)


def _dafnet(name: str, about: str, needs: Sequence[str], *overlays: str, bare: tuple[str, ...] = BARE) -> Method:
    files = tuple(f"settings/{one}" for one in overlays)
    return Method(name, about, "bundle", tuple(needs), "dafnet", files, bare=bare, plan="dafnet")


def _unpaired(base: str, name: str, about: str, *overlays: str, planned: Mapping[str, Any] | None = None) -> Method:
    files = tuple(f"settings/{one}" for one in overlays)
    return Method(name, about, "bundle", ("two modalities", *EACH), base, files, plan=base, planned=planned)


def _alone(base: str, name: str, weight: str) -> Method:
    own = {"separate": [], weight: 0.0}
    return Method(name, "a network for each modality", "bundle", EACH, base, overrides=own, plan=base, each=True)


_SEPARATE_ENCODER = ["input_block", "downsamples"]
_SEPARATE_BOTH = [*_SEPARATE_ENCODER, "upsamples", "output_block"]
_LIST: tuple[Method, ...] = (
    _dafnet("dafnet", "anatomy apart from contrast, both modalities of a pair fused", PAIRED),
    _dafnet(
        "unet_target",
        "U-Net on the target and its labels (UNet-single)",
        ("two modalities", "target labels", "pairs"),
        "unet_target",
        bare=(),
    ),
    _dafnet("unet_both", "U-Net on the images of both modalities, mixed (UNet-multi)", PAIRED, "unet_both"),
    _dafnet("unet_source", "U-Net on the source and its labels, applied to the target", PAIRED, "unet_source", bare=()),
    _dafnet(
        "unet_copied_masks",
        "U-Net on target images with the masks of their pairs",
        PAIRED,
        "unet_copied_masks",
        bare=(),
    ),
    Method(
        "unet",
        "the plain network of `mmseg plan`: registered modalities are its channels",
        "bundle",
        ("labels",),
        "unet",
        plan="unet",
    ),
    _unpaired("ummkd", "ummkd", "one network, norms per modality, knowledge distilled between modalities; slices"),
    _unpaired("ummkd", "joint", "one network that shares all", "joint"),
    _unpaired("ummkd", "chilopod", "one network, norms per modality, no distillation", "chilopod"),
    _unpaired("ummkd", "y_shaped", "an encoder per modality, one decoder", "y_shaped"),
    _unpaired("ummkd", "x_shaped", "an encoder and a decoder per modality, the middle shared", "x_shaped"),
    _alone("ummkd", "individual", "kd_weight"),
    _unpaired("ummkd_3d", "ummkd_3d", "as ummkd, on volumes"),
    _unpaired("csa", "csa", "one network, norms per modality, class affinities made alike; slices"),
    _alone("csa", "csa_individual", "csa_weight"),
    Method(
        "disentangle",
        "codes of several sequences, some missing, in two stages; segmentation of volumes",
        "bundle",
        ("two modalities", "labels", "pairs"),
        "disentangle_tumour",
        plan="disentangle",
        stages=(Stage("disentangle", {"stage_one": "models/model.pt"}),),
    ),
    Method(
        "copy",
        "the source's labels put where they lie in the target",
        "baseline",
        ("two modalities", "source labels of tested"),
        options={"function": "copy_baseline"},
    ),
    Method(
        "nnunet", "nnU-Net v2 on the images of all modalities, mixed", "program", ("labels",), options={"form": "mixed"}
    ),
    Method("nnunet_each", "nnU-Net v2, a network for each modality", "program", ("labels",), options={"form": "each"}),
    Method(
        "nnunet_channels",
        "nnU-Net v2 with registered modalities as channels",
        "program",
        ("labels",),
        options={"form": "channels"},
    ),
)
METHODS: Mapping[str, Method] = {one.name: one for one in _LIST}
"""Name to method."""


def find_method(name: str) -> Method:
    """A method by its name, or with overlays of its bundle: ``dafnet+spade+channels_4``.

    Args:
        name: one of :data:`METHODS`, and after each ``+`` a file of ``configs/settings`` of its bundle.

    Returns:
        The method, called by the whole name.

    Raises:
        StudyError: there is no such method or overlay; with the closest names.

    Examples:
        >>> find_method("dafnet+spade").overlays
        ('settings/spade',)
        >>> find_method("dafnett")
        Traceback (most recent call last):
        monai_mmseg.study.methods.StudyError: method 'dafnett' is unknown: did you mean 'dafnet'? ...
    """
    base, *more = name.split("+")
    method = METHODS.get(base)
    if method is None:
        raise StudyError(f"method {base!r} is unknown{_meant(base, METHODS)} `mmseg compare --list` prints all.")
    if more and method.kind != "bundle":
        raise StudyError(f"{base} is no bundle: it has no overlays, got {name!r}.")
    for overlay in more:
        known = [path.stem for path in (bundles_folder() / method.bundle / "configs" / "settings").glob("*.json")]
        if overlay not in known:
            raise StudyError(f"bundles/{method.bundle} has no overlay {overlay!r}{_meant(overlay, known)}")
    return method._replace(name=name, overlays=(*method.overlays, *(f"settings/{one}" for one in more)))


def _meant(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    close = get_close_matches(name, list(known), 2)
    if close:
        return f": did you mean {' or '.join(map(repr, close))}?"
    return f"; there are {', '.join(sorted(known))}."
