# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""What a preprocessed volume depends on, as a short text: the transforms, the files, the library."""

from __future__ import annotations

import enum
import functools
import hashlib
import json
import os
import re
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import monai
import nibabel
import numpy as np
import torch
from monai.transforms import Compose, Randomizable

import monai_mmseg
from monai_mmseg.transforms.image_parts import image_parts

FORMAT = 1
"""Of entries and keys; another number, and what is on disk is never read again."""

_VERSIONED = ("monai", "torch", "numpy", "nibabel", "builtins")
"""Packages whose code is told by their version."""


class NotDescribed(ValueError):
    """A transform that no text describes, so that nobody could tell whether it has changed."""


def describe(value: Any) -> Any:
    """Lists, texts and numbers that are equal if and only if two transforms do the same.

    When to use: to recognise what was made by the same transform in another process. Objects are described by their
    class and attributes, with all that is nested in them; arrays by their values; classes and functions by their name
    and, where they are not of a package with a version, the source of their module. Random states are left out.

    Args:
        value: a transform, or anything that it holds.

    Raises:
        NotDescribed: for functions without a name (``lambda``), functions within functions, random transforms, open
            files and the like.

    Examples:
        >>> from monai.transforms import ScaleIntensity
        >>> one, same, other = (describe(ScaleIntensity(0, top)) for top in (1, 1, 2))
        >>> one == same, one == other
        (True, False)
    """
    return _describe(value, ())


def environment() -> list[Any]:
    """What else decides how a volume is read and transformed: format, versions and the sources of the transforms."""
    versions = [monai_mmseg.__version__, monai.__version__, torch.__version__, np.__version__, nibabel.__version__]
    return [FORMAT, *versions, _own_sources()]


def identity(item: Any, *, path_matters: bool) -> Any:
    """A datalist item with all files of its images told by inode, size, time of change and the bytes at both ends.

    Two links to one file are equal; a file that was written again is another one.

    Args:
        item: an item, or a part of one.
        path_matters: keep the paths, too, for transforms whose result carries them.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "a").write_text("a")
        ...     os.link(f"{folder}/a", f"{folder}/b")
        ...     one, two = (identity({"image": f"{folder}/{name}"}, path_matters=False) for name in "ab")
        >>> one == two
        True
    """
    if isinstance(item, Mapping):
        return [[str(key), identity(item[key], path_matters=path_matters)] for key in sorted(item, key=str)]
    if isinstance(item, list | tuple):
        return [identity(one, path_matters=path_matters) for one in item]
    if isinstance(item, str | Path) and os.path.exists(item):
        return [*_files(Path(item)), *([os.path.abspath(item)] if path_matters else [])]
    return _describe(item, ())


def digest(*parts: Any) -> str:
    """Forty hexadecimal digits of described values."""
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=20).hexdigest()


def names_subject(transform: Any) -> bool:
    """Whether what a transform makes may depend on the subject's name, so that subjects cannot share it.

    Args:
        transform: one that :func:`describe` can describe. Transforms of this package that use the name say so by
            ``uses_subject``; of those of other projects nobody knows, MONAI's do not.
    """
    return any(_may_use_subject(one) for one in _nested(transform))


def _nested(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _nested(one)
    elif isinstance(value, types.MethodType | functools.partial):
        yield from _nested(value.__self__ if isinstance(value, types.MethodType) else [value.func, value.args])
    elif callable(value) or hasattr(value, "__dict__"):
        yield value
        if not isinstance(value, type | types.FunctionType | torch.Tensor | enum.Enum):
            yield from _nested([one for key, one in getattr(value, "__dict__", {}).items() if key != "R"])


def _may_use_subject(value: Any) -> bool:
    kind = value if isinstance(value, type | types.FunctionType | types.BuiltinFunctionType) else type(value)
    known = (kind.__module__ or "numpy").partition(".")[0] in (*_VERSIONED, "monai_mmseg", "pathlib", "re")
    return bool(getattr(value, "uses_subject", not known))


def _describe(value: Any, above: tuple[int, ...]) -> Any:
    if value is None or (isinstance(value, bool | int | float | str) and type(value).__module__ == "builtins"):
        return repr(value) if isinstance(value, float) else value
    if id(value) in above:
        raise NotDescribed(f"{type(value).__name__} holds itself.")
    above = (*above, id(value))
    if isinstance(value, enum.Enum):
        return [_class(type(value)), value.name]
    if isinstance(value, torch.Tensor | np.ndarray | np.generic):
        return _array(value)
    if isinstance(value, torch.dtype | torch.device | np.dtype | Path | range | slice | complex | bytes):
        return [type(value).__name__, str(value)]
    if isinstance(value, re.Pattern):
        return ["pattern", value.pattern, value.flags]
    if isinstance(value, Mapping):
        pairs = [[_describe(key, above), _describe(one, above)] for key, one in value.items()]
        return ["mapping", *sorted(pairs, key=json.dumps)]
    if isinstance(value, set | frozenset):
        return ["set", *sorted((_describe(one, above) for one in value), key=json.dumps)]
    if isinstance(value, list | tuple):
        return [type(value).__name__, *[_describe(one, above) for one in value]]
    if isinstance(value, functools.partial):
        return ["partial", *[_describe(one, above) for one in (value.func, value.args, value.keywords)]]
    if isinstance(value, type):
        return _class(value)
    if isinstance(value, types.MethodType):
        return ["method", _describe(value.__self__, above), value.__func__.__qualname__]
    if isinstance(value, types.FunctionType | types.BuiltinFunctionType | np.ufunc):
        return _function(value)
    return _object(value, above)


def _object(value: Any, above: tuple[int, ...]) -> Any:
    if isinstance(value, Randomizable) and type(value) is not Compose:
        raise NotDescribed(f"{type(value).__name__} is random.")
    state = getattr(value, "__dict__", None)
    if state is None or isinstance(value, types.ModuleType) or hasattr(value, "__next__") or hasattr(value, "fileno"):
        raise NotDescribed(f"{type(value).__name__} has no attributes that describe it.")
    return [_class(type(value)), _describe({key: one for key, one in state.items() if key != "R"}, above)]


def _array(value: Any) -> list[Any]:
    array = np.ascontiguousarray(value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value)
    if array.dtype.hasobject:
        raise NotDescribed("an array of objects.")
    return ["array", str(array.dtype), list(array.shape), hashlib.blake2b(array.tobytes(), digest_size=16).hexdigest()]


def _class(kind: type) -> list[str]:
    return _named(kind, kind.__qualname__)


def _function(function: Any) -> list[str]:
    name = getattr(function, "__qualname__", function.__name__)
    if "<" in name:
        raise NotDescribed(
            f"{name} of {getattr(function, '__module__', None)} is a function without a name of its own."
        )
    return _named(function, name)


def _named(thing: Any, name: str) -> list[str]:
    module = getattr(thing, "__module__", None) or "numpy"
    if "<" in name:
        raise NotDescribed(f"{name} of {module} is made within a function.")
    package = module.partition(".")[0]
    if package in _VERSIONED or (package == "monai_mmseg" and module.split(".")[1] in ("transforms", "data")):
        return [module, name]
    source = getattr(sys.modules.get(module), "__file__", None)
    if source is None:
        raise NotDescribed(f"{name} of {module} has no source file.")
    return [module, name, _source(source)]


@functools.cache
def _source(path: str) -> str:
    return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()


@functools.cache
def _own_sources() -> str:
    """Of all that a volume passes through here: in development the code changes and the version does not."""
    root = Path(monai_mmseg.__file__).parent
    paths = [*sorted((root / "transforms").glob("*.py")), *sorted((root / "data").glob("*.py"))]
    return digest(*[_source(str(path)) for path in (*paths, root / "meta_tensors.py")])


def _files(path: Path) -> list[Any]:
    if path.is_dir():  # of DICOM files
        return [[one.name, _file(one)] for one in image_parts(path)]
    return [_file(one) for one in image_parts(path)]


def _file(path: Path) -> list[Any]:
    about = path.stat()
    with path.open("rb") as file:
        ends = file.read(4096)
        file.seek(max(0, about.st_size - 4096))
        ends += file.read()  # of a compressed file, with the check sum of all of it
    return [about.st_ino, about.st_size, about.st_mtime_ns, hashlib.blake2b(ends, digest_size=16).hexdigest()]
