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


class Command(NamedTuple):
    """What a stage runs once it is trained."""

    run_id: str
    configs: tuple[str, ...]  # of its bundle, without ending
    overrides: Mapping[str, Any] = {}


class Stage(NamedTuple):
    """A training that comes before the one that is scored."""

    bundle: str
    gives: Mapping[str, str]  # setting of the scored training: what it takes of the stage's folder
    then: Command | None = None  # writes into "output" of the stage's folder
    small: tuple[str, ...] = ()  # overlays for a network of a CPU's size, where the study has none
    overlays: tuple[str, ...] = ()
    overrides: Mapping[str, Any] = {}
    share: float = 0.5  # of the budget

    @property
    def shares_grid(self) -> bool:
        """Whether it takes modalities, target and grid of the training that is scored: it is never planned itself."""
        return self.bundle == "translation"


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
    planned: Mapping[str, Any] | None = None  # overrides in the place of its own overlays with the network of a plan
    added: tuple[str, ...] = ()  # overlays that came behind its own
    each: bool = False  # a training for each modality, scored together
    stages: tuple[Stage, ...] = ()
    borrows: str = ""  # function of `monai_mmseg.baselines`: its masks are labels of target images that lack one
    scores: str = ""  # file of the run's scores; default: those of label volumes
    package: str = ""  # that it needs, and its extra
    options: Mapping[str, Any] = {}  # of a baseline or a program

    def with_overlays(self, more: Sequence[str]) -> Method:
        """With further overlays, behind those that it has."""
        return self._replace(overlays=(*self.overlays, *more), added=(*self.added, *more))

    @property
    def redraws(self) -> bool:
        """Whether it trains on images of the target that a stage drew out of the source."""
        return any(stage.bundle == "translation" and "dataset_dir" in stage.gives for stage in self.stages)

    @property
    def stacks(self) -> bool:
        """Whether it reads a subject's modalities together, and one label for all of them."""
        return self.bundle in ("unet", "disentangle_tumour") or self.options.get("form") == "channels"


TARGET = ("two modalities", "source labels")
PAIRED = (*TARGET, "pairs")
EACH = ("labels of each modality",)
BARE = ("settings/target_0",)
DIPY, SKIMAGE = "dipy monai-mmseg[register]", "skimage monai-mmseg[register]"
SUBSETS = "subsets.json"
# a plan that was made for a target without labels says otherwise
LABELLED: Mapping[str, Any] = {
    "target_fraction": 1.0,
    "validation_target": "@target",
    "validation_modalities": "@modalities",
}


def _dafnet(name: str, about: str, *overlays: str, needs: Sequence[str] = PAIRED, bare: Sequence[str] = BARE) -> Method:
    return Method(name, about, "bundle", tuple(needs), "dafnet", _files(overlays), bare=tuple(bare), plan="dafnet")


def _unpaired(base: str, name: str, about: str, *overlays: str, planned: Mapping[str, Any] | None = None) -> Method:
    needs = ("two modalities", *EACH)
    return Method(name, about, "bundle", needs, base, _files(overlays), plan=base, planned=planned)


def _for_all(name: str, about: str, *overlays: str, planned: Mapping[str, Any] | None = None) -> Method:
    needs = ("two modalities", "labels")
    return Method(name, about, "bundle", needs, "ummkd", _files(overlays), plan="unet_randomised", planned=planned)


def _alone(base: str, name: str, weight: str) -> Method:
    own = {"separate": [], weight: 0.0}
    return Method(name, f"as {base}, a network for each modality", "bundle", EACH, base, (), own, plan=base, each=True)


def _brain(
    bundle: str,
    name: str,
    about: str,
    *overlays: str,
    encoders: bool = False,
    encoder_overlays: Sequence[str] = (),
    scores: str = "",
) -> Method:
    stage_one = Stage("disentangle", {"stage_one": "models/model.pt"}, overlays=_files(encoder_overlays))
    stages = (stage_one,) if encoders else ()
    tumour = bundle == "disentangle_tumour"
    plan, needs = "disentangle" if tumour else "", ("two modalities", "pairs", *(("labels",) if tumour else ()))
    return Method(name, about, "bundle", needs, bundle, _files(overlays), plan=plan, stages=stages, scores=scores)


def _copied(name: str, about: str, function: str, package: str = "") -> Method:
    needs = ("two modalities", "source labels of tested", "own labels")
    options = {"function": function, **({"workers": 1} if package else {})}  # lanes are those of the study
    return Method(name, about, "baseline", needs, package=package, options=options)


def _redrawn(made: Method, **settings: Any) -> Method:
    run = Command("translating", ("inference", "translate"), settings)
    return made._replace(needs=TARGET, stages=(Stage("translation", {"dataset_dir": "output"}, run, small=("demo",)),))


def _registered(made: Method, **overrides: Any) -> Method:
    about, needs = f"{made.about}, with registered masks where it has no label", (*PAIRED, "labels to lend")
    return made._replace(about=about, needs=needs, borrows="register_baseline", package=DIPY, overrides=overrides)


def _nnunet(name: str, about: str, form: str) -> Method:
    needs = ("labels", *(("one image or pairs",) if form == "channels" else ()))
    return Method(name, about, "program", needs, options={"form": form})


def _files(overlays: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"settings/{one}" for one in overlays)


_STAGED = {"backbone#_target_": "monai_mmseg.networks.nets.StagedDynUNet", "kd_weight": 0.0}
_ENCODERS = {**_STAGED, "separate": "encoder"}
_ENDS = {**_STAGED, "separate": "ends"}
_TUMOUR, _PET = "disentangle_tumour", "disentangle_pet"
_LABELLED = ("two modalities", "target labels", "pairs")
_LIST: tuple[Method, ...] = (
    _dafnet("dafnet", "anatomy apart from contrast, the images of a pair fused"),
    _dafnet(
        "dafnet_pretrained", "as dafnet, labels in random contrasts first; the target alone", "randomised_pretraining"
    ),
    _dafnet("unet_target", "U-Net on the target and its labels", "unet_target", needs=_LABELLED, bare=()),
    _dafnet("unet_both", "U-Net on the images of both modalities, mixed", "unet_both"),
    _dafnet("unet_source", "U-Net on the source, applied to the target as it is", "unet_source", bare=()),
    _dafnet("unet_copied_masks", "U-Net on the target with masks of the source", "unet_copied_masks", bare=()),
    _registered(_dafnet("unet_registered_masks", "U-Net on the target", "unet_target", bare=()), **LABELLED),
    _registered(_dafnet("dafnet_registered_masks", "as dafnet", bare=()), **LABELLED),
    _registered(_unpaired("csa", "csa_registered_masks", "as csa")),
    _dafnet("unet_source_randomised", "as unet_source, grey values at random", "unet_source", "randomised", bare=()),
    _dafnet("sdnet_single", "SDNet on the target", "sdnet_single", needs=_LABELLED, bare=()),
    _dafnet("sdnet_multi", "SDNet on the images of both modalities, mixed", "sdnet_multi"),
    _dafnet("dualstream", "a stream for each modality that meet in the middle", "dualstream"),
    _redrawn(
        _dafnet("translation", "U-Net on source images redrawn as the target (MUNIT)", "unet_target", bare=())._replace(
            overrides=LABELLED
        )
    ),
    _redrawn(_dafnet("dadr", "U-Net on the contents of both (MUNIT)", "unet_both"), representation="content"),
    _dafnet("dadr_features", "as dadr, on the encoders' feature maps", "dadr_features", needs=TARGET)._replace(
        stages=(Stage("translation", {"stage_one": "models/model.pt"}, small=("demo",)),)
    ),
    _copied("register", "the source's labels, registered: affine, then SyN", "register_baseline", DIPY),
    _copied("active_contour", "contours of the source's labels, moved", "active_contour_baseline", SKIMAGE),
    _copied("copy", "the source's labels put where they lie in the target", "copy_baseline"),
    Method(
        "unet",
        "the plain network: registered modalities are its channels",
        "bundle",
        ("labels", "one image or pairs"),
        "unet",
        plan="unet",
    ),
    Method(
        "modality_dropout",
        "as unet, sequences taken away at random",
        "bundle",
        ("two modalities", "labels", "pairs"),
        "unet",
        ("settings/modality_dropout",),
        plan="unet",
    ),
    _unpaired("ummkd", "ummkd", "one network, norms of each modality, knowledge distilled between them; slices"),
    _unpaired("ummkd", "chilopod", "one network, norms of each modality", "chilopod"),
    _unpaired("ummkd", "joint", "one network for all modalities", "joint"),
    _unpaired("ummkd", "y_shaped", "an encoder for each modality, one decoder", "y_shaped", planned=_ENCODERS),
    _unpaired("ummkd", "x_shaped", "encoder and decoder for each modality, one middle", "x_shaped", planned=_ENDS),
    _alone("ummkd", "individual", "kd_weight"),
    _for_all("unet_randomised", "U-Net on labelled modalities in random contrasts, for all", "joint", "randomised"),
    _for_all("unet_labelled", "as unet_randomised, in their own contrasts", "joint", planned={"appearance": []}),
    _redrawn(
        _for_all("unet_redrawn", "as unet_labelled, on source images redrawn as the target (MUNIT)", "joint")._replace(
            planned={"appearance": []}
        )
    ),
    _unpaired("ummkd_3d", "ummkd_3d", "as ummkd, on volumes"),
    _alone("ummkd_3d", "individual_3d", "kd_weight"),
    Method(
        "payer",
        "localises, then appearance times configuration on the crop; for each modality",
        "bundle",
        EACH,
        "ummkd_3d",
        _files(["payer"]),
        plan="ummkd_3d",
        each=True,
        stages=(Stage("ummkd_3d", {"localiser": "models/model.pt"}, overlays=_files(["payer_localise"]), share=0.3),),
    ),
    _unpaired("csa", "csa", "one network, norms of each modality, class affinities made alike; slices"),
    _alone("csa", "csa_individual", "csa_weight"),
    _brain(
        "disentangle", "disentangle_redraw", "sequences drawn out of anatomy and contrast", scores="reconstruction.json"
    ),
    _brain(_TUMOUR, "disentangle", "segments the anatomy of several sequences; its encoders come first", encoders=True),
    _brain(
        _TUMOUR,
        "disentangle_ramped",
        "as disentangle, margins of the encoders grow to the paper's weights",
        encoders=True,
        encoder_overlays=["margin_ramp"],
    ),
    _brain(_TUMOUR, "standard_zero", "segments the sequences, zeros where one is missing", "standard_zero"),
    _brain(_TUMOUR, "standard_average", "segments the sequences, means where one is missing", "standard_average"),
    _brain(_TUMOUR, "standard_dropout", "as standard_zero, sequences taken away at random", "modality_dropout"),
    _brain(_PET, "disentangle_pet", "draws PET out of anatomy; its encoders come first", encoders=True, scores=SUBSETS),
    _brain(_PET, "pet_zero", "draws PET, zeros where a sequence is missing", "standard_zero", scores=SUBSETS),
    _brain(_PET, "pet_average", "draws PET, means where a sequence is missing", "standard_average", scores=SUBSETS),
    _nnunet("nnunet", "nnU-Net v2 on the images of all modalities, mixed", "mixed"),
    _nnunet("nnunet_each", "nnU-Net v2, a network for each modality", "each"),
    _nnunet("nnunet_channels", "nnU-Net v2 with registered modalities as channels", "channels"),
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
    return method.with_overlays(_files(more))._replace(name=name)


def _meant(name: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    close = get_close_matches(name, list(known), 2)
    if close:
        return f": did you mean {' or '.join(map(repr, close))}?"
    return f"; there are {', '.join(sorted(known))}."
