"""The parts of a loss, as arrays and as a table in the terminal."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.names import short_names
from keras_concepts.reports.drawing.table_style import Name, new_table
from keras_concepts.reports.gradients.history import last_epoch

WHOLE = {
    "data_loss": "data",
    "penalty": "penalties",
    "added_loss": "added",
    "other_loss": "other",
}
_EMPTY = "No parts of a loss have been recorded yet."
_PENALTIES = ("l1", "l2", "group_lasso", "penalty", "activity_penalty")
# Others than those of variables are named after their layer and this.
_SUFFIXES = {
    "activity_penalty": "/activity",
    "added_loss": "/added",
    "data_loss": "/data",
}
_TERMS = (*_PENALTIES, "added_loss", "data_loss")
_PULLS = {
    "penalty_gradient_norm": "penalty\ngradient",
    "data_gradient_norm": "rest of\ngradient",
    "decay_pull": "decay\na step",
}
_ABOUT = "Share: of the sizes of all parts of the loss."
_ABOUT_NORMS = (
    " Gradients: norm of the penalty's, and of all that the optimizer received "
    "beside it, means over the steps."
)
_ABOUT_DECAY = (
    " Decay: norm of what weight decay takes off in one update; it is no part "
    "of the loss."
)


class LossParts(NamedTuple):
    """The loss of `n` epochs, in parts.

    Attributes:
        epochs: Number of each epoch, `(n,)`; of several trainings, in order.
        loss: `(n,)`.
        whole: Data loss, penalties and so on by name, `(n,)` each; they add up
            to the loss.
        penalties: What each variable and each layer's activity adds, `(n,)`
            each, by short name; they add up to the penalties.
    """

    epochs: np.ndarray
    loss: np.ndarray
    whole: dict[str, np.ndarray]
    penalties: dict[str, np.ndarray]


def loss_parts(recording: Recording) -> LossParts:
    """What a `PenaltyReporter` recorded, epoch by epoch."""
    rows = recording.select(layer="", quantity="loss")
    steps = rows.step
    order = np.argsort(steps)

    def values(layer: str, quantity: str) -> np.ndarray:
        selected = recording.select(layer, quantity)
        found = dict(zip(selected.step, selected.value, strict=True))
        return np.array([found.get(step, 0.0) for step in steps[order]])

    penalties = {
        name: np.sum([values(path, q) for q in quantities], axis=0)
        for name, path, quantities in _owners(recording, _PENALTIES)
    }
    return LossParts(
        rows.epoch[order],
        rows.value[order],
        {
            name: part
            for quantity, name in WHOLE.items()
            if (part := values("", quantity)).any() or quantity == "data_loss"
        },
        penalties,
    )


def _owners(
    recording: Recording, quantities: Collection[str]
) -> list[tuple[str, str, list[str]]]:
    """Short name, path and quantities of whatever has one of these."""
    found: dict[tuple[str, str], list[str]] = {}
    for series in recording:
        if series.layer and series.quantity in quantities:
            owner = series.layer, _SUFFIXES.get(series.quantity, "")
            names = found.setdefault(owner, [])
            if series.quantity not in names:
                names.append(series.quantity)
    names = short_names([path + suffix for path, suffix in found])
    return [
        (name, path, has)
        for name, ((path, _), has) in zip(names, found.items(), strict=True)
    ]


def print_penalties(
    recording: Recording, console: Console | None = None
) -> None:
    """Prints `penalty_table`, or one sentence if nothing was recorded.

    Args:
        recording: What a `PenaltyReporter` recorded.
        console: Where to print, by default the standard output.
    """
    console = console or Console()
    table = penalty_table(recording)
    console.print(table if table.columns else _EMPTY)


def penalty_table(recording: Recording) -> Table:
    """The parts of the last epoch's loss: one line a variable or layer.

    The columns, of which those are left out that nothing was recorded for:

    - L1, L2 and other: what the variable's regularizer adds to the loss; lines
      that end in `/activity`, `/added` and `/data` are what a layer's activity
      regularizer, its `add_loss` and an output's own loss add;
    - share: of the line in the sizes of all parts of the loss;
    - penalty gradient and rest of gradient: norm of the regularizer's gradient,
      and of all that the optimizer received beside it;
    - decay a step: norm of what weight decay takes off in one update.

    Args:
        recording: What a `PenaltyReporter` recorded.

    Returns:
        A table without columns if nothing was recorded.
    """
    epoch = last_epoch(recording)
    cells = {
        (series.layer, series.quantity): float(series.values[-1])
        for series in epoch
        if len(series.values)
    }
    if ("", "loss") not in cells:
        return Table(title=Text(_EMPTY))
    size = sum(abs(cells.get(("", quantity), 0.0)) for quantity in WHOLE)
    lines = _owners(epoch, (*_TERMS, *_PULLS))
    present = {
        quantity for _, _, quantities in lines for quantity in quantities
    }
    pulls = [quantity for quantity in _PULLS if quantity in present]
    table = new_table(_title(int(epoch.epoch[-1]), cells), _caption(present))
    headers = [
        header
        for header, shown in (
            ("L1", "l1" in present),
            ("L2", "l2" in present),
            ("other", bool(present.intersection(_TERMS) - {"l1", "l2"})),
        )
        if shown
    ]
    for header in [*headers, "share", *(_PULLS[q] for q in pulls)]:
        table.add_column(
            header, justify="right", vertical="bottom", no_wrap=True
        )
    for name, path, quantities in lines:
        parts = {q: cells[path, q] for q in quantities if q in _TERMS}
        terms = {
            "L1": parts.get("l1"),
            "L2": parts.get("l2"),
            "other": next(
                (parts[q] for q in parts if q not in ("l1", "l2")), None
            ),
        }
        share = sum(map(abs, parts.values())) / size if size else 0.0
        table.add_row(
            Name(name),
            *(_cell(terms[header]) for header in headers),
            Text(f"{share:.1%}") if parts else Text(""),
            *(
                _cell(cells[path, q] if q in quantities else None)
                for q in pulls
            ),
        )
    return table


def _title(epoch: int, cells: dict[tuple[str, str], float]) -> Text:
    parts = [
        f"{name} {cells['', quantity]:.4g}"
        for quantity, name in WHOLE.items()
        if cells.get(("", quantity)) or quantity == "data_loss"
    ]
    return Text(
        f"Epoch {epoch} (from 0): loss {cells['', 'loss']:.4g} = "
        f"{' + '.join(parts)}; share of penalties "
        f"{cells['', 'penalty_share']:.1%}"
    )


def _cell(value: float | None) -> Text:
    if value is None:
        return Text("")
    return Text(f"{value:.1e}" if 0.0 < abs(value) < 1e-3 else f"{value:.3g}")


def _caption(present: Collection[str]) -> Text:
    text = _ABOUT
    if "penalty_gradient_norm" in present:
        text += _ABOUT_NORMS
    if "decay_pull" in present:
        text += _ABOUT_DECAY
    return Text(text)
