"""Charts of how far back the gradients of recurrent layers reach."""

import numpy as np

from keras_concepts import quantities as q
from keras_concepts.reports.doctor.epochs import Epochs
from keras_concepts.reports.drawing.names import layer_names
from keras_concepts.reports.html.chart import Chart, shown
from keras_concepts.reports.html.heatmap import Cells, heatmap_chart
from keras_concepts.reports.html.lines import line_chart
from keras_concepts.rules import Training
from keras_concepts.rules.training import Curve

_MOST_LAYERS = 4
# Smaller values share one colour: they are too small to learn from.
_LEAST_SHARE = 1e-4


def memory_charts(t: Training, epochs: Epochs) -> list[Chart]:
    """The memory horizon of the layers, and the gradient through time of each.

    Args:
        t: The whole run.
        epochs: Epochs of the run.
    """
    horizons = t.curves(q.MEMORY_HORIZON)
    states = t.curves(q.STATE_ERROR_RMS)
    owners = [*dict.fromkeys([*horizons, *states])]
    names = dict(zip(owners, layer_names(owners), strict=True))
    charts = []
    if horizons:
        kept = [*horizons.items()][: _MOST_LAYERS + 2]
        charts.append(
            line_chart(
                "memory-horizon",
                "Memory horizon",
                {names[owner]: curve for owner, curve in kept},
                epochs,
                label="steps back with more than 1 % of the gradient",
            )
        )
    for number, (owner, curve) in enumerate(states.items()):
        if number == _MOST_LAYERS:
            break
        cells = _lags(curve, epochs)
        horizon = horizons.get(owner)
        caption = (
            "Gradient of the state this many steps back, as a share of the "
            "largest at that time."
        )
        if horizon is not None:
            caption += (
                " At the end more than 1 %, the white mark beside the colours, "
                f"reaches {shown(horizon.values[-1])} steps back, of "
                f"{len(cells.names) - 1} possible."
            )
        charts.append(
            heatmap_chart(
                f"memory-{number}",
                f"Gradient through time in {names[owner]}",
                caption,
                cells,
                epochs,
                mark=0.01,
            )
        )
    return charts


def _lags(curve: Curve, epochs: Epochs) -> Cells:
    """A row for each number of steps back."""
    lags = np.unique(curve.indices)
    by_lag = {
        str(lag): Curve(*(column[curve.indices == lag] for column in curve))
        for lag in lags
    }
    names = [
        f"{lag} step{'' if lag == 1 else 's'} back" for lag in lags.tolist()
    ]
    cells = Cells.of(by_lag, names, epochs)
    largest = np.fmax.reduce(cells.values, axis=0, initial=0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = cells.values / largest
    raised = np.where(shares > 0.0, np.maximum(shares, _LEAST_SHARE), shares)
    return cells._replace(values=raised)
