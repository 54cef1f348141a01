import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import LogNorm, to_rgba

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports import plot_gradient_stacks, plot_gradients
from keras_concepts.reports.drawing.grid import colour_span
from keras_concepts.reports.drawing.heatmap import MISSING, NONFINITE, ZERO
from keras_concepts.reports.gradients.binning import step_grid
from keras_concepts.reports.gradients.history import gradient_history
from pictures import check_layout, colours, meshes


def _deep(record, layers, steps=30, name="layer_{}", **options):
    decay = 10.0 ** -np.arange(layers)[::-1]
    return record(
        {
            f"{name.format(i)}/kernel": np.full(steps, decay[i])
            for i in range(layers)
        },
        **options,
    )


def test_heatmap_is_logarithmic_with_the_first_layer_on_top(decades):
    heatmap = plot_gradients(decades).axes[0]
    mesh = meshes(heatmap)[0]
    np.testing.assert_allclose(
        mesh.get_array(), np.repeat([[1e-6], [1e-3], [1.0]], 20, axis=1)
    )
    assert isinstance(mesh.norm, LogNorm)
    bottom, top = heatmap.get_ylim()
    assert bottom > top
    assert [t.get_text() for t in heatmap.get_yticklabels()] == ["a", "b", "c"]
    np.testing.assert_array_equal(heatmap.get_yticks(), [0, 1, 2])
    np.testing.assert_array_equal(
        mesh.get_coordinates()[0, :, 0], np.arange(21) - 0.5
    )


def test_curves_are_the_first_and_the_last_layer(decades):
    figure = plot_gradients(decades)
    curves = figure.axes[1]
    first, last = [line for line in curves.lines if len(line.get_xdata())]
    np.testing.assert_allclose(first.get_ydata(), np.full(20, 1e-6))
    np.testing.assert_allclose(last.get_ydata(), np.ones(20))
    np.testing.assert_array_equal(first.get_xdata(), np.arange(20))
    assert curves.get_yscale() == "log"
    assert curves.get_xlim() == figure.axes[0].get_xlim()
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["first layer: a", "last layer: c"]


def test_curves_of_many_steps_show_medians_and_a_band(record):
    rms = np.tile([1.0, 10.0, 1000.0], 150)
    curves = plot_gradients(record({"a/kernel": rms})).axes[1]
    line = curves.lines[0]
    assert np.unique(line.get_ydata()).tolist() == [10.0]
    assert line.get_xdata()[:2].tolist() == [1.0, 4.0]
    (band,) = curves.collections
    low, high = np.percentile([1.0, 10.0, 1000.0], [10, 90])
    heights = np.unique(band.get_paths()[0].vertices[:, 1])
    np.testing.assert_allclose(heights, [low, high])


def test_title_tells_the_attenuation(decades):
    assert plot_gradients(decades).get_suptitle() == (
        r"The first layer's gradient is $1.0\times10^{-6}$ times the last "
        r"layer's"
    )
    assert plot_gradients(decades, "Mine").get_suptitle() == "Mine"


def test_epochs_are_ticked_where_they_begin(record):
    figure = plot_gradients(record({"a/kernel": np.ones(25)}))
    (top,) = figure.axes[0].child_axes
    assert top.get_xticks(minor=True).tolist() == [9.5, 19.5]
    assert [t.get_text() for t in top.get_xticklabels()] == ["1", "2", "3"]
    np.testing.assert_array_equal(top.get_xticks(), [4.5, 14.5, 22.0])


def test_runs_follow_each_other_and_are_divided(everything):
    heatmap, curves, *_ = plot_gradients(everything).axes
    assert meshes(heatmap)[0].get_array().shape == (3, 40)
    (top,) = heatmap.child_axes
    labels = [t.get_text() for t in top.get_xticklabels()]
    assert labels == ["1", "2", "1", "2"]
    for axes in (heatmap, curves):
        edges = [
            x.get_xdata()[0] for x in axes.lines if len(x.get_xdata()) == 2
        ]
        assert edges == [19.5]
    first = curves.lines[0].get_ydata()
    np.testing.assert_allclose(first, np.repeat([1e-3, 1e-4], 20))


def test_runs_that_were_recorded_at_once_stand_side_by_side(record, joined):
    runs = [record({"a/kernel": [10.0**-run] * 5}, run=run) for run in (0, 1)]
    heatmap, curves, *_ = plot_gradients(joined(*runs)).axes
    values = meshes(heatmap)[0].get_array()
    np.testing.assert_allclose(values, [[1.0] * 5 + [0.1] * 5])
    assert curves.lines[0].get_xdata().tolist() == list(range(10))
    assert curves.get_xlabel() == "training step, runs side by side"


def test_no_column_holds_steps_of_two_runs(record, joined):
    runs = [
        record({"a/kernel": [value] * 1_001}, run=run)
        for run, value in enumerate((1.0, 3.0))
    ]
    shown = step_grid(gradient_history(joined(*runs)))
    assert np.unique(shown.values).tolist() == [1.0, 3.0]
    curves = plot_gradients(joined(*runs)).axes[1]
    assert np.unique(curves.lines[0].get_ydata()).tolist() == [1.0, 3.0]


def test_curves_of_two_models_are_those_of_the_last_run(record, joined):
    first, second = (
        record(
            {"a/kernel": [ratio] * 4, "b/kernel": [1.0] * 4},
            run=run,
            first_step=4 * run,
            prefix=f"{model}/",
        )
        for run, (model, ratio) in enumerate([("one", 1e-3), ("other", 0.01)])
    )
    figure = plot_gradients(joined(first, second))
    heatmap, curves, *_ = figure.axes
    assert meshes(heatmap)[0].get_array().shape == (4, 8)
    low, _, high, _ = [x for x in curves.lines if len(x.get_xdata()) == 4]
    assert low.get_xdata().tolist() == [4, 5, 6, 7]
    np.testing.assert_allclose(low.get_ydata(), [0.01] * 4)
    np.testing.assert_allclose(high.get_ydata(), [1.0] * 4)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:2] == [
        "first layer: other/a (last run)",
        "last layer: other/b (last run)",
    ]
    title = figure.get_suptitle()
    assert title.startswith("In the last run, the first layer's gradient is")
    stacks = plot_gradient_stacks({"both": joined(first, second)})
    share = stacks.axes[0].get_title("right")
    assert share == "median first / last: 0.01 (last run)"


def test_zero_nonfinite_and_missing_have_colours_of_their_own(record):
    recording = record(
        {
            "a/kernel": [1e-3, 0.0, 1.0, 1.0],
            "b/kernel": [1e-9, 1.0, np.nan, np.inf],
        }
    )
    recording.append(
        0, "model/c/kernel", q.GRADIENT_RMS, range(4), [np.nan] * 4
    )
    recording.append(
        0, "model/c/kernel", q.GRADIENT_NONFINITE, range(4), [np.nan] * 4
    )
    figure = plot_gradients(recording)
    seen = colours(figure.axes[0])
    marks = {"zero": ZERO, "nonfinite": NONFINITE, "missing": MISSING}
    kinds = np.full(seen.shape[:2], "value", dtype=object)
    for kind, colour in marks.items():
        kinds[(seen == to_rgba(colour)).all(axis=-1)] = kind
    assert kinds.tolist() == [
        ["value", "zero", "value", "value"],
        ["value", "value", "nonfinite", "nonfinite"],
        ["missing"] * 4,
    ]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[-2:] == ["NaN or infinite", "no gradient"]
    # The colour bar shows where the zero is.
    assert "0" in [text.get_text() for text in figure.axes[-1].texts]


def test_single_nonfinite_step_among_many_is_pointed_at(record):
    rms = np.ones(5000)
    rms[4321] = np.nan
    figure = plot_gradients(record({"a/kernel": rms}, steps_per_epoch=500))
    (marker,) = [x for x in figure.axes[0].lines if x.get_marker() == "v"]
    assert abs(marker.get_xdata()[0] - 4321) < 7
    assert "not finite in 1 of 5000 steps" in figure.get_suptitle()


def test_many_steps_are_binned_by_their_median(record):
    rms = np.ones(20_000)
    rms[::25] = 1e6  # one outlier a column
    rms[7_777] = np.nan
    shown = step_grid(
        gradient_history(record({"a/kernel": rms}, steps_per_epoch=5_000))
    )
    assert shown.values.shape[1] <= 1_000
    assert np.unique(shown.values).tolist() == [1.0]
    (column,) = np.flatnonzero(shown.nonfinite[0])
    assert shown.edges[column] < 7_777 < shown.edges[column + 1]
    assert shown.edges[[0, -1]].tolist() == [-0.5, 19_999.5]


def test_sampled_steps_reach_half_way_to_the_next(record):
    recording = Recording(monitor="GradientMonitor")
    recording.append(0, "a/kernel", q.GRADIENT_RMS, [0, 10, 30], [1, 1, 1])
    shown = step_grid(gradient_history(recording))
    assert shown.edges.tolist() == [-5.0, 5.0, 20.0, 35.0]


def test_colours_never_span_less_than_a_power_of_ten(record):
    shown = step_grid(gradient_history(record({"a/kernel": [0.99, 1.0, 1.01]})))
    low, high = colour_span([shown])
    assert high / low == pytest.approx(10.0)
    assert low * high == pytest.approx(1.0, rel=0.02)


def test_stacks_share_one_colour_scale(record):
    figure = plot_gradient_stacks(
        {
            "small": record({"a/kernel": [1e-8, 1e-7], "b/kernel": [1e-6] * 2}),
            "large": record({"a/kernel": [1e1, 1e2], "b/kernel": [1e3] * 2}),
        }
    )
    *panels, bar = figure.axes
    assert len(panels) == 2
    for axes in panels:
        np.testing.assert_allclose(meshes(axes)[0].get_clim(), (1e-8, 1e3))
    assert bar.get_ylabel() == "RMS gradient"
    titles = [axes.get_title("left").strip() for axes in panels]
    assert titles == ["small", "large"]
    shares = [axes.get_title("right") for axes in panels]
    assert shares[0] == "median first / last: 0.055"
    names = [[t.get_text() for t in axes.get_yticklabels()] for axes in panels]
    assert names == [["a", "b"], []]


def test_stacks_whose_layers_correspond_but_differ_in_name(record):
    figure = plot_gradient_stacks(
        {
            "1": record({"dense/kernel": [1.0], "dense_1/kernel": [1.0]}),
            "2": record({"dense_2/kernel": [1.0], "dense_3/kernel": [1.0]}),
        }
    )
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert labels == ["1", "2"]


def test_stacks_of_different_depth_keep_their_names(record):
    figure = plot_gradient_stacks(
        {"1": _deep(record, 2), "2": _deep(record, 3), "none": Recording()}
    )
    names = [
        [t.get_text() for t in axes.get_yticklabels()]
        for axes in figure.axes[:2]
    ]
    assert names == [["layer_0", "layer_1"], ["layer_0", "layer_1", "layer_2"]]
    assert len(figure.axes) == 3


def test_stacks_of_nothing():
    with pytest.raises(ValueError, match="at least one recording"):
        plot_gradient_stacks({})
    figure = plot_gradient_stacks({"a": Recording()})
    assert "No gradients" in figure.get_suptitle()


@pytest.mark.parametrize("layers", [1, 13, 60])
@pytest.mark.parametrize(
    "name", ["{}", "encoder_{}/attention/query_projection"]
)
def test_all_texts_are_inside_and_apart(record, monkeypatch, layers, name):
    recording = _deep(record, layers, name=name)
    first, last = [f"model/{name.format(i)}/kernel" for i in (0, layers - 1)]
    recording.append(9, first, q.GRADIENT_RMS, 30, 0.0)
    recording.append(9, last, q.GRADIENT_RMS, 31, np.nan)
    check_layout(plot_gradients(recording), monkeypatch)
    both = {"a": recording, "b": _deep(record, 2)}
    check_layout(plot_gradient_stacks(both), monkeypatch)


@pytest.mark.parametrize("epochs", [12, 100, 1200])
def test_numbers_on_the_axes_are_apart(record, monkeypatch, epochs):
    recording = Recording(monitor="GradientMonitor")
    for series in _deep(record, 5, steps=epochs, steps_per_epoch=1):
        steps = series.steps * 997
        recording.append(
            series.epoch, series.owner, series.quantity, steps, series.values
        )
    check_layout(plot_gradients(recording), monkeypatch)
    three = dict.fromkeys("abc", recording)
    check_layout(plot_gradient_stacks(three), monkeypatch)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1e-38])
@pytest.mark.parametrize("steps", [1, 2, 30])
def test_nothing_but_one_value(record, value, steps):
    recording = record(
        {"a/kernel": [value] * steps, "b/kernel": [value] * steps}
    )
    plot_gradients(recording).canvas.draw()
    plot_gradient_stacks({"a": recording}).canvas.draw()


def test_empty_recording_is_one_sentence():
    figure = plot_gradients(Recording())
    assert figure.get_suptitle() == "No gradients have been recorded yet."
    figure.canvas.draw()


def test_notebook_shows_a_picture_and_settings_stay(decades):
    before = dict(mpl.rcParams)
    figure = plot_gradients(decades)
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert dict(mpl.rcParams) == before


def test_missing_matplotlib_is_named(decades, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"keras-concepts\[plot\]"):
        plot_gradients(decades)
