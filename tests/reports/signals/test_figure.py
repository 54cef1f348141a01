import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgba

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports import plot_memory, plot_signals
from keras_concepts.reports.drawing.heatmap import MISSING, NONFINITE, ZERO
from pictures import check_layout, colours, meshes


def _kinds(axes):
    """What the colour of each cell means."""
    seen = colours(axes)
    marks = {"zero": ZERO, "nonfinite": NONFINITE, "missing": MISSING}
    kinds = np.full(seen.shape[:2], "value", dtype=object)
    for kind, colour in marks.items():
        kinds[(seen == to_rgba(colour)).all(axis=-1)] = kind
    return kinds.tolist()


def _labels(ticks):
    return [tick.get_text() for tick in ticks]


def _fading(lags, far, horizon=7):
    """Falls by a power of ten every `far` steps."""
    rms = 0.01 * 10.0 ** (-np.arange(lags) / far)
    return {q.STATE_ERROR_RMS: rms, q.MEMORY_HORIZON: horizon}


def test_error_signals_and_activations_are_logarithmic(record_signals):
    figure = plot_signals(
        record_signals(
            {
                "a": {q.ERROR_RMS: 1e-6, q.ACTIVATION_STD: 0.1},
                "b": {q.ERROR_RMS: 1e-3, q.ACTIVATION_STD: 10.0},
            }
        )
    )
    errors, activations, *bars = figure.axes
    for axes, rows in (
        (errors, [1e-6, 1e-3]),
        (activations, [0.1, 10.0]),
    ):
        (mesh,) = meshes(axes)
        np.testing.assert_allclose(
            mesh.get_array(), np.repeat(np.transpose([rows]), 3, axis=1)
        )
        bottom, top = axes.get_ylim()
        assert bottom > top
        assert _labels(axes.get_xticklabels()) == ["start", "1", "2"]
    assert _labels(errors.get_yticklabels()) == ["a", "b"]
    assert len(bars) == 2
    assert [axes.get_title(loc="left") for axes in (errors, activations)] == [
        "error signal, RMS dL/da",
        "activation, standard deviation",
    ]
    assert figure.get_suptitle() == (
        r"The first layer's error signal is $1.0\times10^{-3}$ times the "
        r"last layer's at first, $1.0\times10^{-3}$ at the end"
    )


def test_headline_follows_the_measurements(record_signals):
    layers = {"a": {q.ERROR_RMS: 0.0}, "b": {}}
    one = plot_signals(record_signals(layers, measured=1))
    assert one.get_suptitle() == "No error signal reaches the first layer"
    layers["a"] = {q.ERROR_RMS: np.nan}
    nothing = {"a": {q.ERROR_RMS: 0.0}, "b": {q.ERROR_RMS: 0.0}}
    silent = plot_signals(record_signals(nothing))
    assert silent.get_suptitle().startswith("All error signals are exactly 0")
    broken = plot_signals(record_signals(layers))
    assert broken.get_suptitle().startswith("Error signals and")
    none = plot_signals(record_signals({"a": {}, "b": {}}, errors=False))
    assert none.get_suptitle() == "Activations of each layer"
    assert len(none.axes) == 2  # and its colour bar
    assert plot_signals(record_signals({"a": {}}), "Mine").get_suptitle() == (
        "Mine"
    )


def test_zero_nonfinite_and_missing_have_colours_of_their_own(
    record_signals, joined
):
    layers = {"a": {q.ERROR_RMS: 0.0}, "b": {q.ERROR_RMS: np.inf}, "c": {}}
    recording = record_signals(layers, measured=1)
    later = record_signals({**layers, "d": {}}, measured=1, run=1)
    figure = plot_signals(joined(recording, later))
    assert _kinds(figure.axes[0]) == [
        ["zero"] * 2,
        ["nonfinite"] * 2,
        ["value"] * 2,
        ["missing", "value"],
    ]
    (legend,) = figure.legends
    assert _labels(legend.get_texts()) == ["NaN or infinite", "not recorded"]


def test_memory_is_a_share_of_the_largest(record_signals):
    rms = np.array([2e-3, 2e-2, 2e-4, 2e-7, 0.0])
    lstm = {q.STATE_ERROR_RMS: rms, q.MEMORY_HORIZON: 3}
    figure = plot_memory(record_signals({"lstm": lstm, "dense": {}}))
    axes, bar = figure.axes
    (mesh,) = meshes(axes)
    shares = np.broadcast_to([[0.1], [1.0], [0.01], [1e-4]], (4, 3))
    np.testing.assert_allclose(mesh.get_array()[:-1], shares)
    assert _kinds(axes) == [["value"] * 3] * 4 + [["zero"] * 3]
    bottom, top = axes.get_ylim()
    assert (
        bottom == -0.5 < top == pytest.approx(4.6)
    )  # the last step that was read is below
    assert bar.get_ylabel() == "gradient through time,\nshare of the largest"
    assert axes.get_title("left") == "lstm"


def test_horizon_is_a_line_above_as_many_steps(record_signals, joined):
    short, long = (
        record_signals({"gru": _fading(40, far, horizon)}, measured=1, run=run)
        for run, (far, horizon) in enumerate([(5, 10), (50, 40)])
    )
    figure = plot_memory(joined(short, long))
    (line,) = figure.axes[0].patches
    values, edges, _ = line.get_data()
    assert values.tolist() == [9.5, 39.5]
    assert edges.tolist() == [-0.5, 0.5, 1.5]
    (text,) = _labels(figure.legends[0].get_texts())
    assert text.startswith("memory horizon")


def test_runs_are_divided_and_begin_with_start(everything):
    figure = plot_signals(everything)
    for axes in (axes for axes in figure.axes if axes.get_title("left")):
        labels = _labels(axes.get_xticklabels())
        assert labels == ["start", "1", "2"] * 2
        edges = [
            x.get_xdata()[0] for x in axes.lines if len(x.get_xdata()) == 2
        ]
        assert edges == [2.5]


def test_memory_stands_below_the_layers(record_signals):
    layers = {"lstm": _fading(20, 4), "gru": _fading(20, 9), "out": {}}
    figure = plot_signals(record_signals(layers))
    titles = [axes.get_title("left") for axes in figure.axes]
    assert [t for t in titles if t] == [
        "error signal, RMS dL/da",
        "activation, standard deviation",
        "lstm",
        "gru",
    ]
    figure.canvas.draw()
    heights = [
        axes.get_window_extent().y0
        for axes in figure.axes
        if axes.get_title("left")
    ]
    assert max(heights[2:]) < min(heights[:2])


def _deep(record_signals, layers, recurrent, **options):
    spec = {
        f"encoder_{i}/attention/query_projection": {
            q.ERROR_RMS: 10.0 ** (i - layers),
            q.ACTIVATION_STD: 1.5**i,
            **(_fading(50, 3 * i + 3) if i < recurrent else {}),
        }
        for i in range(layers)
    }
    return record_signals(spec, **options)


@pytest.mark.parametrize(
    ("layers", "recurrent", "measured"), [(1, 1, 1), (14, 5, 13), (200, 0, 40)]
)
def test_all_texts_are_inside_and_apart(
    record_signals, monkeypatch, layers, recurrent, measured
):
    recording = _deep(record_signals, layers, recurrent, measured=measured)
    step = 10 * measured
    path = "model/encoder_0/attention/query_projection"
    for quantity, value in {q.ERROR_RMS: np.nan, q.ACTIVATION_STD: 0.0}.items():
        recording.append(measured - 1, path, quantity, step, value)
    check_layout(plot_signals(recording), monkeypatch)
    if recurrent:
        check_layout(plot_memory(recording), monkeypatch)


def test_a_thousand_steps(record_signals):
    figure = plot_memory(record_signals({"lstm": _fading(1000, 100)}))
    figure.canvas.draw()
    (mesh,) = meshes(figure.axes[0])
    assert mesh.get_array().shape == (1000, 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1e-300])
def test_nothing_but_one_value(record_signals, value):
    layer = {q.ERROR_RMS: value, q.ACTIVATION_STD: value}
    layer |= {q.STATE_ERROR_RMS: [value] * 3, q.MEMORY_HORIZON: 0}
    recording = record_signals({"a": layer, "b": layer}, measured=1)
    plot_signals(recording).canvas.draw()
    plot_memory(recording).canvas.draw()


def test_empty_recording_is_one_sentence(record_signals):
    figure = plot_signals(Recording())
    assert figure.get_suptitle() == "No signals have been recorded yet."
    figure.canvas.draw()
    for recording in (Recording(), record_signals({"dense": {}})):
        figure = plot_memory(recording)
        assert figure.get_suptitle().startswith("No gradients through time")


def test_settings_of_pyplot_stay(record_signals):
    before = dict(mpl.rcParams)
    figure = plot_signals(record_signals({"a": _fading(5, 1)}))
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert dict(mpl.rcParams) == before
