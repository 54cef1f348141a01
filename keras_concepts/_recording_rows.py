"""The rows of a recording, and what is known of each run."""

import dataclasses
import math
import warnings
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Series:
    """Rows of one quantity of one owner, measured in one epoch.

    Attributes:
        run: Number of the `fit`, from 0.
        monitor: Class of the monitor that measured, or `"fit"`.
        epoch: Epoch, from 0; -1 for what was measured before the first.
        owner: Path of a layer or variable, name of an output, input or log
            entry, or `""` for the run; `quantity` knows which.
        quantity: Name in `keras_concepts.quantities`.
        steps: Steps taken before each was measured, int64 `(n,)`.
        index: Unit, channel or lag of each, int64 `(n,)`; -1 for none.
        values: float64 `(n,)`.
        is_copy: Whether another monitor writes the same to the file.
    """

    run: int
    monitor: str
    epoch: int
    owner: str
    quantity: str
    steps: np.ndarray
    index: np.ndarray
    values: np.ndarray
    is_copy: bool = False

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
        monitors: Those that recorded it.
        facts: What is known of the run beside its rows: the model's layers and
            variables, loss, metrics, optimizer, versions and so on.
    """

    number: int
    identity: str = ""
    monitors: list[str] = dataclasses.field(default_factory=list)
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)

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


def entry_of(series: Series) -> dict[str, Any]:
    """A series as one JSON object."""
    # JSON has no NaN and no infinity; `float` reads them from a string.
    values = [v if math.isfinite(v) else str(v) for v in series.values.tolist()]
    entry = {
        "run": series.run,
        "monitor": series.monitor,
        "epoch": series.epoch,
        "owner": series.owner,
        "quantity": series.quantity,
        "steps": series.steps.tolist(),
        "index": series.index.tolist(),
        "values": values,
    }
    if (series.index < 0).all():
        del entry["index"]
    return entry


def warn_renamed(old: str, new: str) -> None:
    """Tells the caller of a recording that a name has changed."""
    warnings.warn(
        f"`{old}` of `Recording` is now called `{new}`; the old name will go "
        "with the next version.",
        DeprecationWarning,
        stacklevel=3,
    )
