"""What a `NonFiniteGuard` recorded, in the terminal and as a picture."""

from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.figure_style import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_EMPTY = "No steps have been checked yet."


def print_non_finite(
    recording: Recording, console: Console | None = None
) -> None:
    """Prints the steps checked in each epoch, and the first fault.

    Args:
        recording: What a `NonFiniteGuard` recorded.
        console: Where to print, by default the standard output.
    """
    console = console or Console()
    checked = recording.select("", "checked_steps")
    if not len(checked):
        console.print(_EMPTY)
        return
    table = Table(box=box.SIMPLE_HEAD, caption=describe(recording))
    for name in ("epoch", "steps checked", "skipped", "last loss"):
        table.add_column(name, justify="right")
    columns = [
        recording.select("", quantity).value
        for quantity in ("checked_steps", "skipped_steps", "loss")
    ]
    for epoch, steps, skipped, loss in zip(
        checked.epoch, *columns, strict=True
    ):
        table.add_row(
            str(epoch), f"{steps:.0f}", f"{skipped:.0f}", f"{loss:.4g}"
        )
    console.print(table)


def describe(recording: Recording) -> str:
    """The first fault in a few words."""
    faults = [
        series
        for series in recording.select(quantity="non_finite_*")
        if series.quantity != "non_finite_batch"
    ]
    if not faults:
        return "Loss, gradients and weights were finite at every step."
    first = faults[0]
    kind = first.quantity.removeprefix("non_finite_")
    name = f" {first.layer}" if first.layer else ""
    return f"Not finite from step {first.steps[0]} on: {kind}{name}"


def plot_non_finite(recording: Recording, title: str | None = None) -> "Figure":
    """Draws the loss at the end of each epoch and a line at the first fault.

    Args:
        recording: What a `NonFiniteGuard` recorded.
        title: Text above; by default the first fault.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figure = new_figure(7.0, 4.0)
    axes = figure.subplots()
    loss = recording.select("", "loss")
    finite = np.isfinite(loss.value)
    _ = axes.plot(loss.step[finite], loss.value[finite], "o-", color="#0072b2")
    for step in recording.select("", "non_finite_batch").step:
        _ = axes.axvline(step, color="#d55e00", ls="--")
    axes.set(xlabel="step", ylabel="loss, last step of each epoch")
    axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title or describe(recording), size=10)
    return figure
