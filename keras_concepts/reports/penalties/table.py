"""The parts of an epoch's loss as a table in the terminal."""

from collections.abc import Collection

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.blocks import MAX_ROWS, worst_first
from keras_concepts.reports.drawing.table_style import NameTable, stacked
from keras_concepts.reports.penalties.parts import (
    EMPTY,
    MONITOR,
    PENALTIES,
    WHOLE,
    Line,
    lines,
)
from keras_concepts.reports.report import print_table
from keras_concepts.reports.selection import (
    epoch_name,
    last_epoch,
    one_value,
    rows_of,
)

_TERMS = (*PENALTIES, q.ADDED_LOSS, q.DATA_LOSS)
_OTHER_TERMS = tuple(t for t in _TERMS if t not in (q.L1, q.L2))
_PULLS = (q.PENALTY_GRADIENT_NORM, q.DATA_GRADIENT_NORM, q.DECAY_PULL)
_ORDER = "the largest shares, the largest first, and one or more of each block"
_OTHER, _SHARE = q.OTHER_PENALTY.label, "share"
_ABOUT = {
    _SHARE: "Share: size over the sizes of all parts of the loss.",
    stacked(q.PENALTY_GRADIENT_NORM.label): "Gradients: norm of the penalty's, "
    "and of the rest that the optimizer received, means over the steps.",
    stacked(q.DECAY_PULL.label): "Decay: norm of the change by weight decay "
    "in one update; it is not part of the loss.",
}


def print_penalties(
    recording: Recording,
    console: Console | None = None,
    *,
    max_rows: int | None = MAX_ROWS,
) -> None:
    """Prints `penalty_table`, or one sentence if nothing was recorded.

    Args:
        recording: Recording of a `PenaltyReporter`.
        console: Where to print, by default standard output.
        max_rows: See `penalty_table`.
    """
    print_table(penalty_table(recording, max_rows=max_rows), EMPTY, console)


def penalty_table(
    recording: Recording, *, max_rows: int | None = MAX_ROWS
) -> Table:
    """The parts of the last epoch's loss: one line per variable or layer.

    For a big model only the largest shares are shown, the largest first.

    The columns (those without recorded values are left out):

    - L1, L2 and other: the part of the variable's regularizer in the loss;
      lines that end in `/activity`, `/added` and `/data` are the parts of a
      layer's activity regularizer, its `add_loss` and an output's own loss;
    - share: size of the line over the sizes of all parts of the loss;
    - penalty gradient and rest of gradient: norm of the regularizer's gradient,
      and of the rest that the optimizer received;
    - decay a step: norm of the change by weight decay in one update.

    Args:
        recording: Recording of a `PenaltyReporter`.
        max_rows: Maximum number of rows; `None` for all.

    Returns:
        A table without columns if nothing was recorded.
    """
    rows = last_epoch(rows_of(recording, MONITOR), q.EPOCH_LOSS)
    if not len(rows):
        return Table(title=Text(EMPTY))
    shown = lines(rows, (*_TERMS, *_PULLS))
    names = [line.name for line in shown]
    sizes = [_size(rows, line) or 0.0 for line in shown]
    return NameTable(
        _title(rows),
        names,
        _columns(rows, shown),
        about=_ABOUT,
        optional=[stacked(pull.label) for pull in reversed(_PULLS)],
        rows=worst_first(names, sizes, max_rows, _ORDER),
    )


def _columns(
    rows: Recording, shown: list[Line]
) -> dict[str, list[RenderableType]]:
    def cells(quantities: Collection[str]) -> list[RenderableType]:
        return [_cell(_first(rows, line, quantities)) for line in shown]

    size = sum(map(abs, _whole(rows).values()))
    present = {quantity for line in shown for quantity in line.quantities}
    columns = {
        header: cells(quantities)
        for header, quantities in (
            (q.L1.label, [q.L1]),
            (q.L2.label, [q.L2]),
            (_OTHER, _OTHER_TERMS),
        )
        if present.intersection(quantities)
    }
    columns[_SHARE] = [_share(rows, line, size) for line in shown]
    for pull in _PULLS:
        if pull in present:
            columns[stacked(pull.label)] = cells([pull])
    return columns


def _first(
    rows: Recording, line: Line, quantities: Collection[str]
) -> float | None:
    """Value of the first of these quantities that the line has."""
    found = [name for name in line.quantities if name in quantities]
    return one_value(rows, line.owner, found[0]) if found else None


def _share(rows: Recording, line: Line, size: float) -> Text:
    part = _size(rows, line)
    if part is None:
        return Text("")
    return Text(f"{part / size if size else 0.0:.1%}")


def _size(rows: Recording, line: Line) -> float | None:
    """The size of a line's part of the loss."""
    terms = [name for name in line.quantities if name in _TERMS]
    if not terms:
        return None
    return sum(abs(one_value(rows, line.owner, name)) for name in terms)


def _title(rows: Recording) -> str:
    parts = [
        f"{quantity.label} {value:.4g}"
        for quantity, value in _whole(rows).items()
        if value or quantity == q.DATA_LOSS
    ]
    (epoch,) = {series.epoch for series in rows}
    text = (
        f"Epoch {epoch_name(epoch)}: {q.EPOCH_LOSS.label} "
        f"{one_value(rows, '', q.EPOCH_LOSS):.4g} = {' + '.join(parts)}; "
    )
    if not _whole(rows).get(q.PENALTY):
        return text + "no penalties"
    share = one_value(rows, "", q.PENALTY_SHARE)
    return text + f"{q.PENALTY_SHARE.label} {share:.1%}"


def _whole(rows: Recording) -> dict[q.Quantity, float]:
    """The recorded parts of the whole loss."""
    recorded = rows.select(owner="").quantities
    return {
        quantity: one_value(rows, "", quantity)
        for quantity in WHOLE
        if quantity in recorded
    }


def _cell(value: float | None) -> Text:
    if value is None:
        return Text("")
    return Text(f"{value:.1e}" if 0.0 < abs(value) < 1e-3 else f"{value:.3g}")
