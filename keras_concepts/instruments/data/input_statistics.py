"""Statistics of inputs, batch by batch."""

from typing import Any

import numpy as np

from keras_concepts.instruments.data.row_hashes import (
    row_hashes,
    share_repeated,
)


class InputStatistics:
    """Statistics of one input of a model.

    Features are the entries along the last axis: columns of a table, channels
    of an image. An array without a second axis has one feature.

    Args:
        name: Name of the input.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.rows = 0
        self._shape: list[int | None] = []
        self._dtype = ""
        self._is_integer = False
        self._is_whole = True
        self._non_finite = 0
        self._padding: list[tuple[int, float]] = []
        self._hashes: list[np.ndarray] = []
        # Of each feature: count, mean, squared deviations, extremes.
        self._count = np.zeros(0)
        self._mean = self._deviation = self._count
        self._min = self._max = self._count

    def update(self, array: np.ndarray) -> None:
        """Adds rows, `(n, ...)`."""
        shape: list[int | None] = list(array.shape[1:])
        if not self.rows:
            self._dtype, self._shape = str(array.dtype), shape
        if len(shape) != len(self._shape) or not array.size:
            return
        pairs = zip(self._shape, shape, strict=True)
        self._shape = [a if a == b else None for a, b in pairs]
        self.rows += len(array)
        if array.dtype.kind not in "fiub":
            self._dtype = "string" if array.dtype.kind in "OUS" else self._dtype
            return
        self._hashes.append(row_hashes(array))
        self._is_integer = array.dtype.kind in "iub"
        if self._is_integer and array.ndim == 2:
            share = _padding(array)
            self._padding.append((len(array), share))
        features = array.shape[-1] if array.ndim > 1 else 1
        if not len(self._count):
            self._count = np.zeros(features)
            self._mean, self._deviation = np.zeros((2, features))
            self._min = np.full(features, np.inf)
            self._max = np.full(features, -np.inf)
        if features != len(self._count):
            # Rows of different lengths: all entries are one feature.
            features = 1
            self._merge_features()
        self._add(array.reshape(-1, features))

    def add_non_finite(self, count: int) -> None:
        """Counts non-finite entries in rows that were left out."""
        self._non_finite += count

    def _add(self, table: np.ndarray) -> None:
        if self._is_integer:
            table = table.astype("float64" if table.itemsize > 2 else "float32")
        count = np.full(table.shape[1], float(len(table)))
        low, high = table.min(axis=0), table.max(axis=0)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):
            bad = ~np.isfinite(table)
            self._non_finite += int(bad.sum())
            count -= bad.sum(axis=0)
            low = np.where(bad, np.inf, table).min(axis=0)
            high = np.where(bad, -np.inf, table).max(axis=0)
            table = np.where(bad, 0, table)
            mean = table.sum(axis=0, dtype="float64") / np.maximum(count, 1)
            offset = np.where(bad, 0, table - mean)
        else:
            mean = table.mean(axis=0, dtype="float64")
            offset = table - mean.astype(table.dtype)
        if self._is_whole and not self._is_integer:
            self._is_whole = bool((table == np.rint(table)).all())
        deviation = np.square(offset, dtype=table.dtype).sum(
            axis=0, dtype="float64"
        )
        total = self._count + count
        between = mean - self._mean
        share = count / np.maximum(total, 1)
        self._mean = self._mean + between * share
        self._deviation = (
            self._deviation + deviation + between**2 * self._count * share
        )
        self._count = total
        self._min = np.minimum(self._min, low)
        self._max = np.maximum(self._max, high)

    def _merge_features(self) -> None:
        if len(self._count) > 1:
            count = self._count.sum()
            mean = (self._count * self._mean).sum() / max(count, 1)
            self._deviation = np.array(
                [
                    self._deviation.sum()
                    + (self._count * (self._mean - mean) ** 2).sum()
                ]
            )
            self._count, self._mean = np.array([count]), np.array([mean])
            self._min = np.array([self._min.min()])
            self._max = np.array([self._max.max()])

    def facts(self) -> dict[str, Any]:
        """What is known about the input, JSON-compatible.

        `rms_of_features` holds the smallest, median and largest root mean
        square of the features that vary; `padding` is the share of zeros at
        both ends of rows of integers; `non_finite` counts entries, which all
        other numbers leave out; `repeated_rows` is the share of the rows read
        that equal another one.
        """
        facts: dict[str, Any] = {
            "name": self.name,
            "shape": self._shape,
            "dtype": self._dtype,
            "integer": self._is_integer,
            "whole_numbers": self._is_integer,
            "features": len(self._count) or None,
            **dict.fromkeys(("mean", "std", "rms", "min", "max")),
            "non_finite": self._non_finite,
            "rms_of_features": None,
            "constant_features": None,
            "padding": None,
            "repeated_rows": None,
        }
        if self._hashes:
            hashes = np.concatenate(self._hashes)
            facts["repeated_rows"] = share_repeated(hashes)
        if self._padding:
            sizes, shares = zip(*self._padding, strict=True)
            facts["padding"] = float(np.average(shares, weights=sizes))
        total = self._count.sum()
        if total:
            facts |= self._moments(total)
        return facts

    def _moments(self, total: float) -> dict[str, Any]:
        variance = self._deviation / np.maximum(self._count, 1)
        mean = (self._count * self._mean).sum() / total
        spread = self._deviation.sum()
        spread += (self._count * (self._mean - mean) ** 2).sum()
        std = float(np.sqrt(spread / total))
        varies = self._max > self._min
        rms = np.sqrt(self._mean**2 + variance)
        rms = rms[varies] if varies.any() else rms
        return {
            "whole_numbers": self._is_whole,
            "mean": float(mean),
            "std": std,
            "rms": float(np.hypot(mean, std)),
            "min": float(self._min.min()),
            "max": float(self._max.max()),
            "rms_of_features": [
                float(f(rms)) for f in (np.min, np.median, np.max)
            ],
            "constant_features": int((~varies).sum()),
        }


def _padding(rows: np.ndarray) -> float:
    """Share of zeros at both ends of rows of integers."""
    filled = rows != 0
    length = filled.shape[1]
    first = np.where(filled.any(axis=1), filled.argmax(axis=1), length)
    last = np.where(filled.any(axis=1), filled[:, ::-1].argmax(axis=1), 0)
    return float((first + last).mean() / length)
