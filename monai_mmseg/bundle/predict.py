# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Prediction of any images with a bundle: its own inference config, run on a datalist made for it."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from monai.bundle import ConfigParser, ConfigWorkflow

from monai_mmseg.bundle.collection import bundle_names
from monai_mmseg.bundle.data_checks import check_class_names
from monai_mmseg.bundle.naming import check_prediction_names
from monai_mmseg.bundle.packed_settings import LEFT_OUT
from monai_mmseg.bundle.predict_inputs import Asked, Inputs, find_inputs
from monai_mmseg.bundle.weights_fit import check_fit
from monai_mmseg.data.datalist import read_datalist
from monai_mmseg.data.label_sets import check_class_order
from monai_mmseg.data.originals import spare_listed
from monai_mmseg.errors import image_of
from monai_mmseg.evaluation.files import POSTFIXES, prediction_stems
from monai_mmseg.files import is_unfinished, remove_leftovers, write_json
from monai_mmseg.networks.initialisation import NotDrawn
from monai_mmseg.runs.model_settings import read_settings


class Model(NamedTuple):
    """A bundle that can predict."""

    root: Path
    modalities: list[str]  # all that it knows
    sources: list[str]  # those that it takes
    labels: dict[str, str]  # value to name; empty if it draws images
    target: str | None  # whose file names a subject's prediction
    weights: Path
    left_out: list[str]  # modalities that were taken out when it was packed


class Predicted(NamedTuple):
    """What was written."""

    files: list[Path]
    images: int
    labels: dict[str, str]
    channels: list[str]  # what the fourth axis of stacks was taken as; empty where images were of one modality each


def find_model(bundle: str | os.PathLike[str]) -> Model:
    """What a bundle knows, from the settings of its training or from its inference config.

    Args:
        bundle: its folder.

    Returns:
        The model.

    Raises:
        FileNotFoundError: there is no such bundle, or it has no weights.
        ValueError: its config cannot be resolved.

    Examples:
        >>> find_model("no/such/folder")
        Traceback (most recent call last):
        FileNotFoundError: no/such/folder is no bundle: it has no configs/inference.json.
    """
    root = Path(bundle)
    config = root / "configs" / "inference.json"
    if not config.is_file():
        hint = ""
        if not root.exists() and root.name in bundle_names():
            hint = f" `mmseg bundle copy {root.name} DIR` writes that bundle; then train it."
        raise FileNotFoundError(f"{root.as_posix()} is no bundle: it has no configs/inference.json.{hint}")
    parser = ConfigParser()
    parser.read_config(str(config))
    parser["bundle_root"] = str(root.absolute())
    with _plain_errors():
        weights = Path(parser.get_parsed_content("checkpointloader#load_path", default=root / "models" / "model.pt"))
        if not weights.is_file():
            raise FileNotFoundError(
                f"{root} has no weights: {weights} is missing. Train first:\n  python -m monai.bundle run training "
                f"--config_file {shlex.quote(str(root / 'configs' / 'train.json'))} --dataset_dir DATA"
            )
        settings = read_settings(weights.parent)
        knobs: Mapping[str, Any] = settings.get("knobs", {})
        found = {
            name: knobs[name] if name in knobs else parser.get_parsed_content(name, default=None)
            for name in ("modalities", "labels", "target", "default_modality")
        }
        sources = parser.get_parsed_content("sources", default=found["modalities"])
    if not found["modalities"]:
        raise ValueError(f"{config} must have the knob 'modalities', the names that the network knows.")
    target = found["target"] or found["default_modality"]
    labels = {str(value): str(name) for value, name in (found["labels"] or {}).items()}
    modalities = list(found["modalities"])
    return Model(root.absolute(), modalities, list(sources), labels, target, weights, settings.get(LEFT_OUT, []))


def predict(
    bundle: str | os.PathLike[str],
    images: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    modality: str | None = None,
    pattern: str | None = None,
    section: str | None = None,
    overwrite: bool = False,
    uncertainty: bool = False,
) -> Predicted:
    """Predict images with a trained bundle, by its own ``configs/inference.json``.

    Args:
        bundle: folder of the bundle.
        images: an image file, a folder of images, a folder with one DICOM series, a datalist, or its folder.
        out: folder of the predictions; must be empty.
        modality: which one the images are of, where the bundle knows several and nothing else says it; of a datalist,
            the only one to take.
        pattern: how the files of several modalities are named; default is ``{subject}_{modality}``.
        section: of a datalist; default is ``test``, or the only one there is.
        overwrite: write into a folder that is not empty; predictions of the same names are replaced.
        uncertainty: also write maps of uncertainty and ``quality.csv``; costs an inference a sample.

    Returns:
        The files that were written, the names of their classes, and what a fourth axis was taken as.

    Raises:
        FileExistsError: `out` is not empty, or the folder of the images.
        FileNotFoundError: there is no such bundle or image, or the bundle has no weights.
        ValueError: the images cannot be told apart, read or predicted, or the datalist has the model's
            classes in another order or by other names.

    Examples:
        Slices of a CT that lie in one file::

            predict("bundles/ummkd", "scans/p01.nii.gz", "out", modality="ct")
    """
    model = find_model(bundle)
    target = Path(out)
    _check_place(target)
    remove_leftovers(target)
    before = _state(target)
    if before and not overwrite:
        raise FileExistsError(
            f"--out must be empty, but {out} holds {len(before)} files; give another folder, or --overwrite to replace "
            "predictions of the same names."
        )
    place = Path(images)
    beside = place.is_file() and place.suffix != ".json"  # a datalist names its images, whatever lies there
    if (
        before
        and (place.is_dir() or beside)
        and os.path.samefile(place.parent if beside else place, target)
        and not (target / "datalist.json").exists()
    ):
        raise FileExistsError(
            "--out must not be the folder of the images: the next time predictions would be images, too."
        )
    with tempfile.TemporaryDirectory(prefix="mmseg_predict_") as folder:
        scratch = Path(folder)
        (scratch / "dicom").mkdir()
        asked = Asked(modality, pattern, section)
        inputs = find_inputs(
            Path(images), model.sources, asked, scratch / "dicom", known=[*model.modalities, *model.left_out]
        )
        listed = Path(images, "datalist.json") if Path(images).is_dir() else Path(images)
        if listed.suffix == ".json" and listed.is_file():
            labels = read_datalist(listed).labels
            check_class_order(listed, labels, model.labels)
            check_class_names(listed, labels, model.labels)
            stems = prediction_stems(inputs.items)
            spare_listed([target / f"{stem}{post}.nii.gz" for stem in stems for post in POSTFIXES], listed)
        data = _write_data(inputs, model, scratch / "data")
        places = {str(data / Path(item["image"]).name): item["image"] for item in inputs.items if inputs.stacks}
        places |= {str(path): str(images) for path in (scratch / "dicom").iterdir()}
        with _named_as_given(places), _plain_errors():
            _run(model, data, target, uncertainty)
    files = [path for path, state in _state(target).items() if before.get(path) != state]
    if not files:
        raise ValueError(f"{bundle} ran and wrote nothing into {out}; its postprocessing must save to output_dir.")
    return Predicted(sorted(files), len(inputs.items), model.labels, model.sources if inputs.stacks else [])


def _check_place(out: Path) -> None:
    """A folder that can be written, before images are read for minutes."""
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not there.is_dir():
        raise FileExistsError(f"--out must be a folder, but {there} is a file.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"--out must be a folder that can be written, but you may not write to {there}.")


def _state(folder: Path) -> dict[Path, tuple[int, int]]:
    files = [path for path in folder.rglob("*") if path.is_file() and not is_unfinished(path.name)]
    return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in files}


def _write_data(inputs: Inputs, model: Model, folder: Path) -> Path:
    """A folder that inference reads as its ``dataset_dir``."""
    folder.mkdir()
    if inputs.stacks:  # all modalities of a subject in one file: what a folder without a datalist is for
        for item in inputs.items:
            source = Path(item["image"])
            try:
                (folder / source.name).symlink_to(source)
            except OSError:  # a system without links
                shutil.copyfile(source, folder / source.name)
        return folder
    listed = {"name": "predict", "modalities": model.modalities, "labels": model.labels, "test": inputs.items}
    write_json(folder / "datalist.json", {key: value for key, value in listed.items() if value})
    return folder


def _run(model: Model, data: Path, out: Path, uncertainty: bool) -> None:
    configs = model.root / "configs"
    places = {"bundle_root": str(model.root), "dataset_dir": str(data), "output_dir": str(out.absolute())}
    with _quiet("monai.bundle.workflows"):  # it warns that no logging file is read, which is meant
        workflow = ConfigWorkflow(
            config_file=str(configs / "inference.json"),
            meta_file=str(configs / "metadata.json"),
            logging_file=False,
            workflow_type="infer",
            **places,
            section="test",
            **({"uncertainty": True} if uncertainty else {}),
        )
    if uncertainty and "sampled" not in workflow.parser:
        raise ValueError(
            f"{model.root.name} segments nothing whose uncertainty could be told: leave --uncertainty out."
        )
    # the command says what it wrote
    workflow.parser["run"] = [one for one in workflow.parser["run"] if "print_written" not in str(one)]
    items: Sequence[Mapping[str, Any]] = workflow.parser.get_parsed_content("dataset#data", default=[])
    check_prediction_names(items, model.target)
    if workflow.parser.get_parsed_content("load_pretrain", default=True):
        with NotDrawn():
            network = workflow.parser.get_parsed_content("network_def")
        check_fit(model.weights, network)
    workflow.initialize()
    workflow.run()
    workflow.finalize()


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _named_as_given(places: Mapping[str, str]) -> Iterator[None]:
    """Errors and warnings that name what was given, not its copy or link in a folder that is soon gone."""

    def renamed(text: str) -> str:
        for place, given in places.items():
            text = text.replace(place, given)
        return text

    def record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        made = usual(*args, **kwargs)
        if made.name.startswith("monai_mmseg."):
            made.msg, made.args = renamed(made.getMessage()), ()
        return made

    usual = logging.getLogRecordFactory()
    logging.setLogRecordFactory(record)
    try:
        yield
    except (OSError, ValueError) as error:
        if (text := renamed(str(error))) == str(error):
            raise
        raise ValueError(text) from error
    finally:
        logging.setLogRecordFactory(usual)


@contextmanager
def _plain_errors() -> Iterator[None]:
    """The error that a config ran into, without those that MONAI's parser and engines wrap around it."""
    # engines and handlers say an error once more, with a traceback through all of them
    loggers = [logging.getLogger(name) for name in ("ignite", "monai.engines", "monai.handlers.StatsHandler")]
    before = [(logger.level, logger.disabled) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
        logger.disabled = True
    try:
        yield
    except RuntimeError as error:
        cause: BaseException = error
        while isinstance(cause, RuntimeError) and cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, OSError | ValueError):
            raise cause from None
        lines = str(cause).strip().splitlines()
        more = f"\n... {len(lines) - 3} more lines" if len(lines) > 3 else ""
        image = image_of(error)
        place = f"{image}: " if image and image not in str(cause) else ""
        raise ValueError(f"{place}{type(cause).__name__}: " + "\n".join(lines[:3]) + more) from error
    finally:
        for logger, (level, disabled) in zip(loggers, before, strict=True):
            logger.setLevel(level)
            logger.disabled = disabled
