"""Finding equal rows of data."""

from collections.abc import Sequence

import numpy as np

_BLOCK = 1 << 20  # words hashed at once


def row_hashes(array: np.ndarray, seed: int = 0) -> np.ndarray:
    """A 64-bit number for each row, the same for equal rows of one dtype.

    Rows are read as words, mixed so that few bits of difference reach all
    others, and summed with random odd factors. Among a million rows, two share
    a number by chance in fewer than one in a million datasets.

    Args:
        array: `(rows, ...)`, of any dtype.
        seed: Seed of the factors.
    """
    count = len(array)
    if array.dtype.kind in "OUS":
        flat = array.reshape(count, -1)
        return np.array([hash(tuple(row)) for row in flat.tolist()], "int64")
    if not array.size:
        return np.zeros(count, "int64")
    raw = np.ascontiguousarray(array).reshape(count, -1)
    if raw.dtype.kind == "f":
        raw = raw + raw.dtype.type(0)  # no negative zeros
    data = raw.view("uint8")
    missing = -data.shape[1] % 8
    if missing:
        data = np.pad(data, ((0, 0), (0, missing)))
    words = data.view("uint64")
    random = np.random.default_rng(seed)
    factors = random.integers(0, 1 << 63, words.shape[1], "uint64") * 2 + 1
    hashes = np.empty(count, "uint64")
    step = max(_BLOCK // words.shape[1], 1)
    for start in range(0, count, step):
        part = words[start : start + step]
        mixed = (part ^ (part >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
        hashes[start : start + step] = (mixed * factors).sum(axis=1)
    return hashes.view("int64")


def hashes_of_rows(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """One number per row of several arrays together."""
    total = np.zeros(len(arrays[0]), "uint64")
    for seed, array in enumerate(arrays):
        total += row_hashes(array, seed).view("uint64") * np.uint64(
            2 * seed + 1
        )
    return total.view("int64")


def share_repeated(hashes: np.ndarray) -> float:
    """Share of the rows that equal another one."""
    if not len(hashes):
        return 0.0
    _, counts = np.unique(hashes, return_counts=True)
    return float(counts[counts > 1].sum() / len(hashes))
