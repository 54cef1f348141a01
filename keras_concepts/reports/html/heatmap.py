"""Heatmaps of layers over a training run, for a page."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from keras_concepts.reports.doctor.epochs import Epochs
from keras_concepts.reports.drawing.figure_style import TICK_SIZE
from keras_concepts.reports.drawing.grid import Grid, colour_span
from keras_concepts.reports.drawing.heatmap import (
    NONFINITE,
    ZERO,
    label_layers,
)
from keras_concepts.reports.html.chart import (
    BOTTOM,
    CHARACTER,
    Chart,
    Key,
    Numbers,
    chart_of,
    power_label,
    shown,
    thinned,
)
from keras_concepts.reports.html.svg import WIDTH, new_figure
from keras_concepts.rules.training import Curve

# Columns of the picture, and shades of its colours: fewer make a smaller file.
COLUMNS, _SHADES = 160, 64
# All values smaller than the largest by more than this have one colour.
_RANGE = 1e-12
_ROW, _LOWEST, _HIGHEST = 15.0, 44.0, 300.0  # points
_TOP, _BAR, _BAR_ROOM = 10.0, 9.0, 60.0
_TICK = 22.0  # points for a tick of the colour bar
_LONGEST_NAME = 17
_WHITE = "#fffffe"  # also in dark pages
_MOST_ROWS, _MOST_COLUMNS = 40, 6


class Cells(NamedTuple):
    """One quantity of many owners over time.

    Attributes:
        names: Names of the rows, as shown.
        places: Position of each measurement, in epochs, `(n,)`.
        values: `(rows, n)`, NaN where there is none.
        nonfinite: Whether a NaN or an infinity was measured, `(rows, n)`.
    """

    names: Sequence[str]
    places: np.ndarray
    values: np.ndarray
    nonfinite: np.ndarray

    @classmethod
    def of(
        cls,
        curves: Mapping[str, Curve],
        names: Sequence[str],
        epochs: Epochs,
    ) -> Self:
        """Cells from curves measured at the same or at different steps.

        Args:
            curves: One or more curves by owner.
            names: Names of the owners, as shown.
            epochs: Epochs of the run.
        """
        steps = np.unique(np.concatenate([c.steps for c in curves.values()]))
        values = np.full((len(curves), len(steps)), np.nan)
        nonfinite = np.zeros(values.shape, bool)
        for row, curve in enumerate(curves.values()):
            columns = np.searchsorted(steps, curve.steps)
            values[row, columns] = curve.values
            nonfinite[row, columns] = ~np.isfinite(curve.values)
        places = np.asarray(epochs.after(steps))
        values[~np.isfinite(values)] = np.nan
        return cls(names, places, values, nonfinite)

    def rows(self, kept: Sequence[int] | np.ndarray) -> Self:
        """Some of the rows."""
        return self._replace(
            names=[self.names[row] for row in kept],
            values=self.values[kept],
            nonfinite=self.nonfinite[kept],
        )

    @property
    def last(self) -> np.ndarray:
        """The last finite value of each row, NaN if there is none."""
        known = np.isfinite(self.values)
        at = known.shape[1] - 1 - np.argmax(known[:, ::-1], axis=1)
        return self.values[np.arange(len(at)), at]

    def columns(self, first: float, last: float) -> tuple[Any, Any]:
        """Values, and which are not finite, in `COLUMNS` equal columns.

        A column with several measurements holds the median, one without any the
        nearest; before the first and after the last only as far as the longest
        gap.
        """
        width = (last - first) / COLUMNS
        at = np.clip((self.places - first) / width, 0, COLUMNS - 1).astype(int)
        starts = np.flatnonzero(np.diff(at, prepend=-1))
        if len(starts) == len(at):
            values, nonfinite = self.values, self.nonfinite
        else:
            parts = np.split(np.ma.masked_invalid(self.values), starts[1:], 1)
            medians = [np.ma.median(part, axis=1) for part in parts]
            values = np.ma.stack(medians, axis=1).filled(np.nan)
            nonfinite = np.logical_or.reduceat(self.nonfinite, starts, axis=1)
        places = self.places[starts]
        middles = (places[1:] + places[:-1]) / 2.0
        centres = first + width * (np.arange(COLUMNS) + 0.5)
        nearest = np.searchsorted(middles, centres)
        gaps = np.diff(places)
        reach = float(gaps.max()) if len(gaps) else 0.5
        reach = max(reach, width)
        beyond = (centres < places[0] - reach) | (centres > places[-1] + reach)
        values = np.where(beyond, np.nan, values[:, nearest])
        return values, nonfinite[:, nearest] & ~beyond


def heatmap_chart(
    name: str,
    title: str,
    caption: str,
    cells: Cells,
    epochs: Epochs,
    *,
    share: bool = False,
    mark: float | None = None,
    absent: str = "not measured",
) -> Chart:
    """Rows over the epochs of a run, the first on top.

    Args:
        name: See `Chart`.
        title: See `Chart`.
        caption: See `Chart`.
        cells: At least one row and one measurement.
        epochs: Epochs of the run.
        share: Whether values are shares from 0 to 1, rather than sizes on a
            logarithmic scale.
        mark: A value that the colour bar marks.
        absent: What a cell without a value means.
    """
    rows = len(cells.names)
    height = float(np.clip(_ROW * rows, _LOWEST, _HIGHEST))
    figure = new_figure(height + _TOP + BOTTOM)
    axes, bar = figure.add_subplot(), figure.add_subplot()
    first, last = epochs.ends[0], max(epochs.ends[-1], epochs.ends[0] + 1.0)
    values, nonfinite = cells.columns(first, last)
    span = _span(values, share)
    axes.imshow(
        _painted(values, nonfinite, span, share),
        aspect="auto",
        interpolation="none",
        extent=(first, last, rows - 0.5, -0.5),
    )
    axes.set_facecolor("0.85")
    _mark_narrow(axes, nonfinite, first, last)
    label_layers(axes, cells.names, height / 72.0, longest=_LONGEST_NAME)
    axes.tick_params(labelsize=TICK_SIZE)
    axes.xaxis.get_major_locator().set_params(
        integer=True, min_n_ticks=1, nbins=6
    )
    axes.set_xlabel("epochs of training", size=TICK_SIZE)
    labels = [label.get_text() for label in axes.get_yticklabels()]
    left = 12.0 + CHARACTER * max(map(len, labels), default=0)
    _place(axes, left, WIDTH - _BAR_ROOM, height)
    _place(bar, WIDTH - _BAR_ROOM + 8.0, WIDTH - _BAR_ROOM + 8.0 + _BAR, height)
    if share or (values > 0.0).any():
        _draw_bar(bar, span, share, mark, max(2, int(height / _TICK)))
    else:
        bar.set_axis_off()
    chart = chart_of(figure, name, title, caption, {}, _numbers(cells, epochs))
    return chart.with_legend(_legend(values, nonfinite, share, absent))


def _place(axes: Any, left: float, right: float, height: float) -> None:
    whole = height + _TOP + BOTTOM
    axes.set_position(
        (
            left / WIDTH,
            BOTTOM / whole,
            (right - left) / WIDTH,
            height / whole,
        )
    )


def _span(values: np.ndarray, share: bool) -> tuple[float, float]:
    if share:
        return 0.0, 1.0
    edges = np.arange(values.shape[1] + 1)
    low, high = colour_span([Grid(edges, values, np.isnan(values))])
    return max(low, high * _RANGE), high


def _painted(
    values: np.ndarray,
    nonfinite: np.ndarray,
    span: tuple[float, float],
    share: bool,
) -> np.ndarray:
    """Colours, transparent where there is no value."""
    from matplotlib import colormaps
    from matplotlib.colors import to_rgba

    low, high = span
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = values
        if not share:
            scaled = np.log(values / low) / np.log(high / low)
    scaled = np.nan_to_num(np.clip(scaled, 0.0, 1.0))
    shades = np.round(scaled * (_SHADES - 1)) / (_SHADES - 1)
    colours = colormaps["viridis"](shades, bytes=True)
    if not share:
        colours[values == 0.0] = _bytes(to_rgba(ZERO))
    colours[np.isnan(values)] = 0
    colours[nonfinite] = _bytes(to_rgba(NONFINITE))
    return colours


def _bytes(colour: Any) -> np.ndarray:
    return np.round(255 * np.array(colour)).astype(np.uint8)


def _draw_bar(
    axes: Any,
    span: tuple[float, float],
    share: bool,
    mark: float | None,
    most: int,
) -> None:
    from matplotlib import colormaps
    from matplotlib.ticker import LogLocator

    low, high = span
    shades = np.linspace(1.0, 0.0, _SHADES)[:, None]
    colours = colormaps["viridis"](shades, bytes=True)
    bottom, top = (low, high) if share else (np.log10(low), np.log10(high))
    axes.imshow(
        colours,
        aspect="auto",
        interpolation="none",
        extent=(0.0, 1.0, bottom, top),
    )
    axes.set_xticks([])
    axes.yaxis.tick_right()
    if share:
        ticks, labels = [0.0, 0.5, 1.0], ["0 %", "50 %", "100 %"]
        axes.set_yticks(ticks, labels)
    else:
        subs = (1.0, 2.0, 5.0) if high / low < 100.0 else (1.0,)
        found = LogLocator(subs=subs, numticks=most).tick_values(low, high)
        found = [tick for tick in found if low <= tick <= high]
        found = [found[i] for i in thinned(len(found), most)]
        axes.set_yticks(np.log10(found), [power_label(each) for each in found])
    axes.tick_params(labelsize=TICK_SIZE, pad=2, length=3)
    if mark is not None and low < mark < high:
        axes.axhline(mark if share else np.log10(mark), color=_WHITE, lw=2)


def _mark_narrow(
    axes: Any, nonfinite: np.ndarray, first: float, last: float
) -> None:
    """Points at non-finite columns, if these are few."""
    columns = np.flatnonzero(nonfinite.any(axis=0))
    if 0 < len(columns) < COLUMNS / 40:
        place = first + (last - first) * (columns.mean() + 0.5) / COLUMNS
        axes.plot([place], [0.0], "v", color=NONFINITE, mec="white", ms=9)


def _legend(
    values: np.ndarray, nonfinite: np.ndarray, share: bool, absent: str
) -> list[Key]:
    keys = []
    if nonfinite.any():
        keys.append(Key("NaN or infinite", "cell-bad", "area"))
    if not share and (values == 0.0).any():
        keys.append(Key("exactly 0", "cell-zero", "area"))
    if (np.isnan(values) & ~nonfinite).any():
        keys.append(Key(absent, "line", "area"))
    return keys


def _numbers(cells: Cells, epochs: Epochs) -> Numbers:
    """Some of the cells as a table."""
    columns = thinned(len(cells.places), _MOST_COLUMNS)
    rows = thinned(len(cells.names), _MOST_ROWS)
    header = ["row", *(f"epoch {shown(cells.places[c])}" for c in columns)]
    table = [
        [
            cells.names[row],
            *(
                "not finite"
                if cells.nonfinite[row, column]
                else _cell(cells.values[row, column])
                for column in columns
            ),
        ]
        for row in rows
    ]
    notes = []
    if len(rows) < len(cells.names):
        notes.append(f"{len(rows)} of {len(cells.names)} rows are shown.")
    if len(columns) < len(cells.places):
        notes.append(
            f"{len(columns)} of {len(cells.places)} measurements are shown."
        )
    return Numbers(header, table, " ".join(notes))


def _cell(value: float) -> str:
    return "–" if np.isnan(value) else shown(value)
