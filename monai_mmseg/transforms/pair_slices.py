# Copyright (c) the monai_mmseg developers
# SPDX-License-Identifier: Apache-2.0
"""Which slice of one volume belongs to which slice of another: pairing and candidate windows, as pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from monai_mmseg.transforms.geometry import slice_pitch


class SlicePairs(NamedTuple):
    """What :func:`pair_slices` returns."""

    partner: NDArray[np.int64]  # (D,), slice of the moving volume, -1 where none is near enough
    distance: NDArray[np.float64]  # (D,), mm to the nearest slice, also where it is too far


def pair_slices(
    fixed_affine: ArrayLike,
    fixed_slices: int,
    moving_affine: ArrayLike,
    moving_slices: int,
    max_distance: float | None = None,
    center: Sequence[float] = (0.0, 0.0),
) -> SlicePairs:
    """For every slice of the fixed volume, the slice of the moving volume that is nearest in the scanner.

    Use it where nobody has paired the slices by hand. Both volumes have the slice axis last.

    Args:
        fixed_affine: voxel to world matrix of the fixed volume, shape ``(4, 4)``, mm.
        fixed_slices: how many slices it has.
        moving_affine: the same of the moving volume.
        moving_slices: the same of the moving volume.
        max_distance: mm; a slice farther away is no partner. ``None``: no limit.
        center: row and column (index) of the fixed slices at which distance is measured; it matters for tilted stacks.

    Raises:
        ValueError: if a number of slices is not positive.

    Examples:
        >>> thick, thin = np.diag([1.0, 1.0, 8.0, 1.0]), np.diag([1.0, 1.0, 3.0, 1.0])
        >>> pairs = pair_slices(thick, 3, thin, 5, max_distance=2.0)
        >>> pairs.partner.tolist(), pairs.distance.round(6).tolist()
        ([0, 3, -1], [0.0, 1.0, 4.0])
    """
    if fixed_slices < 1 or moving_slices < 1:
        raise ValueError(f"both volumes must have slices, got {fixed_slices} and {moving_slices}.")
    moving = np.asarray(moving_affine, dtype=np.float64)
    centers = np.stack(
        [
            np.full(fixed_slices, float(center[0])),
            np.full(fixed_slices, float(center[1])),
            np.arange(fixed_slices, dtype=np.float64),
            np.ones(fixed_slices),
        ]
    )
    position = (np.linalg.inv(moving) @ np.asarray(fixed_affine, dtype=np.float64) @ centers)[2]
    # half-way between two slices rounding noise must not decide: the lower one is taken
    nearest = np.clip(np.ceil(position - 0.5 - 1e-6), 0, moving_slices - 1).astype(np.int64)
    distance = np.abs(position - nearest) * slice_pitch(moving)
    near = np.ones(fixed_slices, dtype=bool) if max_distance is None else distance <= max_distance
    return SlicePairs(np.where(near, nearest, -1), distance)


def pairs_from_table(
    table: Mapping[int | str, int] | Iterable[Sequence[int]], fixed_slices: int, moving_slices: int
) -> NDArray[np.int64]:
    """Partners from a table made by hand (expert pairing).

    Args:
        table: fixed slice to moving slice, as a mapping (keys may be strings, as in JSON) or as pairs.
        fixed_slices: number of slices of the fixed volume.
        moving_slices: number of slices of the moving volume.

    Returns:
        Index of the partner of each fixed slice, -1 for slices that the table does not name, shape ``(D,)``.

    Raises:
        ValueError: if the table names a slice that does not exist.

    Examples:
        >>> pairs_from_table({"1": 0, "2": 3}, 4, 5).tolist()
        [-1, 0, 3, -1]
    """
    index = np.full(fixed_slices, -1, dtype=np.int64)
    for fixed, moving in table.items() if isinstance(table, Mapping) else table:
        if not 0 <= int(fixed) < fixed_slices or not 0 <= int(moving) < moving_slices:
            raise ValueError(
                f"the pairing table names slices {fixed} -> {moving}, the volumes have {fixed_slices} and "
                f"{moving_slices} slices."
            )
        index[int(fixed)] = int(moving)
    return index


def candidate_window(index: int, num_slices: int, window: int = 2) -> list[int]:
    """Slices around one slice, itself first.

    Source: fact sheet of DAFNet, sec. 5: i-2..i+2, shifted to stay inside the volume.

    Args:
        index: the paired slice.
        num_slices: slices of the volume.
        window: how many slices on each side.

    Returns:
        At most ``2 * window + 1`` indexes, the paired one first, the others ascending.

    Examples:
        >>> candidate_window(8, 9)
        [8, 4, 5, 6, 7]
    """
    if not 0 <= index < num_slices:
        raise ValueError(f"index must lie in 0..{num_slices - 1}, got {index}.")
    first = max(0, min(index - window, num_slices - 2 * window - 1))
    last = min(num_slices, first + 2 * window + 1)
    return [index, *(other for other in range(first, last) if other != index)]


def candidate_slices(
    index: ArrayLike,
    num_slices: int,
    num_candidates: int = 3,
    *,
    window: int = 2,
    choice: Literal["nearest", "random"] = "nearest",
    random_state: np.random.RandomState | None = None,
) -> NDArray[np.int64]:
    """Candidate slices for automated pairing: the paired slice and some of its neighbours.

    Args:
        index: paired slice of each row, -1 for none, shape ``(D,)``.
        num_slices: slices of the volume they come from.
        num_candidates: k; a volume with fewer slices repeats the paired one.
        window: neighbours considered on each side.
        choice: ``"nearest"`` takes the closest neighbours (the lower one first), ``"random"`` samples them.
        random_state: source of random numbers.

    Returns:
        Shape ``(D, k)``, the paired slice in column 0, rows of -1 where there is none.

    Raises:
        ValueError: if `num_candidates` or `choice` is not possible.

    Examples:
        >>> candidate_slices([0, 4, -1], 9, 3).tolist()
        [[0, 1, 2], [4, 3, 5], [-1, -1, -1]]
    """
    if not 1 <= num_candidates <= 2 * window + 1:
        raise ValueError(f"num_candidates must lie in 1..{2 * window + 1} (window {window}), got {num_candidates}.")
    if choice not in ("nearest", "random"):
        raise ValueError(f"choice must be 'nearest' or 'random', got {choice!r}.")
    state = random_state if random_state is not None else np.random.RandomState(0)
    paired = np.asarray(index, dtype=np.int64)
    result = np.repeat(paired[:, None], num_candidates, axis=1)
    if num_candidates == 1:
        return result
    for row, center in enumerate(paired.tolist()):
        if center < 0:
            continue
        others = candidate_window(center, num_slices, window)[1:]
        if choice == "random":
            others = [others[i] for i in state.choice(len(others), min(len(others), num_candidates - 1), replace=False)]
        else:
            others = sorted(others, key=lambda other: (abs(other - center), other))[: num_candidates - 1]
        result[row, 1 : 1 + len(others)] = others
    return result


def random_pairing(
    index: ArrayLike, num_slices: int, length: int = 2, random_state: np.random.RandomState | None = None
) -> NDArray[np.int64]:
    """Partners ``(D,)``, shifted by a few slices at random: how much does a method depend on good pairs?

    Source: fact sheet of DAFNet, sec. 5: an integer of {-length, ..., length - 1}; one that would leave the volume is
    drawn again among those that stay inside. As in the original program, the shifts of a volume come in one call, then
    one call for each slice below the first from the front on, then one for each beyond the last from the end on.

    Args:
        index: paired slice of each row, -1 for none, which stays, shape ``(D,)``.
        num_slices: slices of the volume they come from.
        length: largest shift.
        random_state: source of random numbers.

    Raises:
        ValueError: if `length` is smaller than one, or a slice is not in the volume.

    Examples:
        >>> random_pairing([3, 3, -1], 9, random_state=np.random.RandomState(0)).tolist()
        [1, 4, -1]
        >>> random_pairing([0, 0, 0], 1).tolist()
        [0, 0, 0]
    """
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}.")
    state = random_state if random_state is not None else np.random.RandomState(0)
    result = np.asarray(index, dtype=np.int64)
    if result.size and result.max() >= num_slices:
        raise ValueError(f"index must lie in -1..{num_slices - 1}, got {result.max()}.")
    shift = state.randint(-length, length, size=result.shape)
    for row in np.flatnonzero((result >= 0) & (result + shift < 0)):
        shift[row] = state.randint(-result[row], length)
    for row in np.flatnonzero((result >= 0) & (result + shift >= num_slices))[::-1]:
        shift[row] = state.randint(max(-length, -result[row]), num_slices - result[row])
    return np.where(result < 0, -1, result + shift)
