"""The rows of a recording, and the facts known about each run."""

import dataclasses
import functools
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True, slots=True)
class Series:
    """Rows of one quantity of one owner, measured in one epoch.

    Most numbers come from a device as float32. They are stored as float32,
    which is exact, and returned as float64.

    Attributes:
        run: Number of the `fit`, from 0.
        monitor: Class of the monitor that measured, or `"fit"`.
        epoch: Epoch, from 0; -1 for what was measured before the first.
        owner: Path of a layer or variable; name of an output, input or log
            entry; or `""` for the run. `quantity` determines which.
        quantity: Name in `keras_concepts.quantities`.
        steps: Steps taken before each was measured, int64 `(n,)`.
        kept_index: `index`, or `None` if no row has one.
        kept_values: `values`, as float32 if that is exact.
        is_copy: Whether another monitor writes the same rows to the file.
    """

    run: int
    monitor: str
    epoch: int
    owner: str
    quantity: str
    steps: np.ndarray
    kept_index: np.ndarray | None
    kept_values: np.ndarray
    is_copy: bool = False

    @property
    def index(self) -> np.ndarray:
        """Unit, channel or lag of each row, int64 `(n,)`; -1 for none."""
        if self.kept_index is None:
            return np.full(self.steps.shape, -1)
        return self.kept_index

    @property
    def values(self) -> np.ndarray:
        """Value of each row, float64 `(n,)`."""
        return self.kept_values.astype(np.float64, copy=False)

    @property
    def layer(self) -> str:
        """Earlier name of `owner`."""
        warn_renamed("layer", "owner")
        return self.owner


@dataclasses.dataclass
class Run:
    """One `fit` in a recording.

    Attributes:
        number: From 0, in the order of the file.
        identity: The same for all monitors of one `fit`, in all files.
        monitors: Monitors that recorded it.
        facts: What is known about the run besides its rows: the model's layers
            and variables, loss, metrics, optimizer, versions and so on.
        left_out: Epochs of which no rows are left, for each group of
            quantities; see `thinning.py`.
        verdict: What a judge has found so far, as JSON. It cannot be derived
            from the rows again once some have been left out.
        judged: The verdict when rows were last left out.
        judged_at: Number of series in the recording at that time.
        gone: Number of series left out while the run was recorded.
    """

    number: int
    identity: str = ""
    monitors: list[str] = dataclasses.field(default_factory=list)
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    left_out: dict[str, set[int]] = dataclasses.field(default_factory=dict)
    verdict: dict[str, Any] = dataclasses.field(default_factory=dict)
    judged: dict[str, Any] = dataclasses.field(default_factory=dict)
    judged_at: int = 0
    gone: int = 0

    def layer_of(self, variable: str) -> str:
        """Path of the layer that a variable belongs to.

        Args:
            variable: Path of a variable, as the owner of a row.

        Raises:
            KeyError: The facts do not name such a variable.
        """
        layers = {
            each["path"]: each["layer"]
            for each in self.facts.get("variables", ())
        }
        return layers[variable]


def series_of(
    run: int,
    monitor: str,
    epoch: int,
    owner: str,
    quantity: str,
    steps: Any,
    values: Any,
    index: Any = None,
    is_copy: bool = False,
) -> Series:
    """Makes rows of what was measured; see `Recording.append`.

    Raises:
        ValueError: `steps`, `values` and `index` differ in length.
    """
    values = _compact(np.atleast_1d(np.asarray(values)))
    if isinstance(steps, int):
        steps = _one_step(steps)
    steps = np.atleast_1d(np.asarray(steps, dtype=np.int64))
    if index is not None:
        index = np.atleast_1d(np.asarray(index, dtype=np.int64))
        # All channels of a layer are measured at one step.
        steps = np.repeat(steps, len(values)) if len(steps) == 1 else steps
    shape = steps.shape if index is None else index.shape
    if values.ndim != 1 or not steps.shape == values.shape == shape:
        raise ValueError(
            "`steps`, `values` and `index` of `Recording.append` must have "
            f"the same length. Received: steps of shape {steps.shape}, "
            f"values of shape {values.shape}, index of shape {shape}."
        )
    if index is not None and (index < 0).all():
        index = None
    return Series(
        run, monitor, int(epoch), owner, quantity, steps, index, values, is_copy
    )


@functools.lru_cache(4)
def _one_step(step: int) -> np.ndarray:
    """One array shared by everything measured between two steps."""
    steps = np.array([step], np.int64)
    steps.flags.writeable = False
    return steps


def _compact(values: np.ndarray) -> np.ndarray:
    """A copy as float32 if that is exact for every value, else float64."""
    if values.dtype == np.float32:
        return values.copy()  # it may be a column of a much larger array
    values = values.astype(np.float64)
    with np.errstate(over="ignore"):
        short = values.astype(np.float32)
    return short if np.array_equal(short, values, equal_nan=True) else values


def keep(
    series: list[Series],
    is_kept: Callable[[Series], bool],
    runs: Iterable[Run],
) -> int:
    """Removes all rows from a recording but those to keep.

    Args:
        series: Series of the recording, changed in place.
        is_kept: Whether a series stays.
        runs: Runs of the recording.

    Returns:
        Number of series removed.
    """
    kept = np.fromiter(map(is_kept, series), bool, len(series))
    for run in runs:
        run.judged_at = int(kept[: run.judged_at].sum())
    gone = len(series) - int(kept.sum())
    series[:] = [s for s, stays in zip(series, kept, strict=True) if stays]
    return gone


def warn_renamed(old: str, new: str) -> None:
    """Warns the caller of a recording that a name has changed."""
    warnings.warn(
        f"`{old}` of `Recording` is now called `{new}`; the old name will be "
        "removed in the next version.",
        DeprecationWarning,
        stacklevel=3,
    )
