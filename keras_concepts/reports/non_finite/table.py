"""The checks of a `NonFiniteGuard`, as a table in the terminal."""

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports.drawing.blocks import MAX_ROWS, last_rows
from keras_concepts.reports.drawing.table_style import NameTable
from keras_concepts.reports.non_finite.faults import (
    ALL_FINITE,
    EMPTY,
    MONITOR,
    faults,
)
from keras_concepts.reports.report import print_table
from keras_concepts.reports.selection import (
    epoch_name,
    epochs_of,
    over_epochs,
    rows_of,
)

_COLUMNS = (
    (q.CHECKED_STEPS.label, q.CHECKED_STEPS, ".0f"),
    (q.SKIPPED_STEPS.label, q.SKIPPED_STEPS, ".0f"),
    ("last loss", q.BATCH_LOSS, ".4g"),
)


def print_non_finite(
    recording: Recording,
    console: Console | None = None,
    *,
    max_rows: int | None = MAX_ROWS,
) -> None:
    """Prints `non_finite_table`, or one sentence if nothing was recorded.

    Args:
        recording: Recording of a `NonFiniteGuard`.
        console: Where to print, by default standard output.
        max_rows: See `non_finite_table`.
    """
    print_table(non_finite_table(recording, max_rows=max_rows), EMPTY, console)


def non_finite_table(
    recording: Recording, *, max_rows: int | None = MAX_ROWS
) -> Table:
    """Each epoch of the last run: steps checked and skipped, and the last loss.

    The title names the first NaN or infinity of the run. A run that ended in
    its first epoch has no line.

    Args:
        recording: Recording of a `NonFiniteGuard`.
        max_rows: Maximum number of epochs, the last ones; `None` for all.

    Returns:
        A table without columns if nothing was recorded.
    """
    rows = rows_of(recording, MONITOR)
    epochs, found = epochs_of(rows, q.CHECKED_STEPS), faults(rows)
    if not epochs and not found:
        return Table(title=Text(EMPTY))
    # A fault is recorded at once, an epoch at its end.
    last_run = max(run for run, *_ in [*epochs, *found])
    epochs = [epoch for epoch in epochs if epoch[0] == last_run]
    found = [fault for fault in found if fault.run == last_run]
    columns: dict[str, list[RenderableType]] = {
        header: [
            Text(format(value, form))
            for value in over_epochs(rows, quantity, [""], epochs)[0]
        ]
        for header, quantity, form in _COLUMNS
    }
    return NameTable(
        str(found[0]) if found else ALL_FINITE,
        [epoch_name(epoch) for _, epoch in epochs],
        columns,
        about={} if epochs else {"epoch": "No epoch of this run has ended."},
        first="epoch",
        rows=last_rows(len(epochs), max_rows, "epochs"),
    )
