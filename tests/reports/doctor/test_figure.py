import dataclasses

import numpy as np
import pytest

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports import plot_doctor, report_of
from keras_concepts.reports.doctor.curves import curve_of
from keras_concepts.reports.doctor.epochs import Epochs
from keras_concepts.rules import Evidence, Finding, Measured, Training
from pictures import check_layout

SPREAD = Measured(q.PREDICTION_SPREAD.label, 0.001, 0.01)
CONSTANT = {
    "name": "constant_predictions",
    "evidence": Evidence("", (1, 20), (SPREAD,), "Scale the inputs."),
    "steps": (30, 1e9),
}
UNSCALED = {
    "name": "unscaled_input",
    "severity": "error",
    "evidence": Evidence("x", (0, 0), (Measured("RMS", 143.2, 10.0),), "Do."),
}
FACTS = {
    "heads": [{"output": "", "loss_weight": None}],
    "data": {"targets": [{"output": "", "constant_loss": 2.0}]},
}
VALUES = [0.5, 0.1, 0.005, 0.001, 0.001]


def _labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.fixture
def course(record_course):
    losses = [(2.5, 2.6), (2.4, 2.5), (2.4, 2.4), (2.3, 2.4)]
    return record_course(losses, spread=VALUES, facts=FACTS)


def test_losses_spans_and_evidence(course, judged_by, monkeypatch):
    judged_by(CONSTANT)
    figure = plot_doctor(course)
    losses, spans, evidence = figure.axes
    training, validation, constant = losses.lines
    assert training.get_xdata().tolist() == [1, 2, 3, 4]
    assert training.get_ydata().tolist() == [2.5, 2.4, 2.4, 2.3]
    assert validation.get_ydata().tolist() == [2.6, 2.5, 2.4, 2.4]
    assert set(constant.get_ydata()) == {2.0}
    [bar] = spans.patches
    assert (bar.get_x(), bar.get_width()) == (2.0, 2.0)
    curve, threshold, noticed = evidence.lines
    assert curve.get_xdata().tolist() == [0, 1, 2, 3, 4]
    assert curve.get_ydata().tolist() == VALUES
    assert set(threshold.get_ydata()) == {0.01}
    assert set(noticed.get_xdata()) == {3.0}
    assert evidence.get_title(loc="left") == "1. constant_predictions"
    assert evidence.get_yscale() == "log"
    assert _labels(figure) == [
        "training loss",
        "validation loss",
        "loss of the best constant prediction",
        "noticed",
        "threshold",
        "while it holds",
    ]
    assert figure.get_suptitle() == "1 problem found in 4 epochs."
    check_layout(figure, monkeypatch)


def test_penalties_are_taken_off_the_loss(course, judged_by):
    judged_by()
    for epoch in range(-1, 4):
        step = 10 * (epoch + 1)
        course.append(epoch, "", q.WEIGHT_PENALTY, step, 0.5)
    figure = plot_doctor(course)
    np.testing.assert_allclose(
        figure.axes[0].lines[0].get_ydata(), [2.0, 1.9, 1.9, 1.8]
    )
    assert _labels(figure)[0] == "training loss, without penalties"


def test_consequences_are_drawn_where_the_cause_is_no_curve(course, judged_by):
    judged_by(UNSCALED, CONSTANT)
    figure = plot_doctor(course)
    assert len(figure.axes) == 3
    title = figure.axes[2].get_title(loc="left")
    assert title == "1. leads to constant_predictions"
    [text] = figure.axes[1].texts
    assert text.get_text() == (
        "1. Error: unscaled_input in x: RMS 143 (threshold 10)"
    )


def test_nothing_wrong_is_the_loss_alone_and_what_was_checked(
    course, judged_by
):
    judged_by(
        {"name": "dead_units"},
        {"name": "overfitting", "needs": "validation data"},
    )
    figure = plot_doctor(course)
    [axes] = figure.axes
    checked, unchecked = axes.get_title(loc="left").splitlines()
    assert checked == "Checked: dead_units."
    assert unchecked == "Not checked: overfitting (needs validation data)."
    assert figure.get_suptitle() == "No problem found in 4 epochs."


@pytest.mark.parametrize("epochs", [0, 1, 3, 50])
def test_fits_at_any_length_and_with_many_findings(
    epochs, record_course, judged_by, monkeypatch
):
    spread = np.geomspace(1.0, 1e-5, epochs + 1)
    names = "sorted_labels", "overfitting", "lost_mask", "validation_overlap"
    evidence = CONSTANT["evidence"]
    long = Measured("a long description of what has been measured", 1.0, 2.0)
    many = Evidence(
        "m/" + "a_long_name_of_a_layer/" * 4, (0, 0), (long,) * 3, ""
    )
    judged_by(
        UNSCALED,
        {"name": "constant_predictions", "evidence": evidence},
        *({"name": name, "evidence": many} for name in names),
        *(
            {"name": f"{name}_2", "evidence": evidence, "severity": "info"}
            for name in names
        ),
    )
    facts = FACTS | {"data": {**FACTS["data"], "missing": ["`y`: lost " * 20]}}
    losses = [(2.0 + 1 / (e + 1), 2.5) for e in range(epochs)]
    recording = record_course(losses, spread=spread, facts=facts)
    figure = plot_doctor(recording)
    assert "The worst 6 are drawn." in figure.get_suptitle()
    check_layout(figure, monkeypatch)


def test_a_loss_that_is_not_finite(record_course, judged_by, monkeypatch):
    judged_by(UNSCALED)
    losses = [(2.0, 2.0), (np.nan, np.inf), (np.nan, np.nan)]
    figure = plot_doctor(record_course(losses, facts=FACTS))
    assert "first loss that is not finite" in _labels(figure)
    assert set(figure.axes[0].lines[-1].get_xdata()) == {2.0}
    check_layout(figure, monkeypatch)
    broken = plot_doctor(record_course([(np.nan,)] * 2))
    texts = [text.get_text() for text in broken.axes[0].texts]
    assert texts == ["no epoch ended with a finite loss"]


def test_epochs_of_a_run_that_was_resumed(record_course, judged_by):
    facts = {"first_epoch": 4, "first_step": 100}
    recording = Recording(monitor="TrainingDoctor")
    recording.record_facts(facts)
    for epoch, step in ((4, 120), (5, 160)):
        recording.append(epoch, "loss", q.LOG, step, 1.0, monitor=q.FIT)
    epochs = Epochs.of(Training.of(recording))
    np.testing.assert_allclose(
        epochs.after(np.array([100, 110, 120, 150, 160])),
        [4.0, 4.5, 5.0, 5.75, 6.0],
    )


def _training(*rows, facts=None):
    recording = Recording(monitor="TrainingDoctor")
    recording.record_facts(facts or {})
    for owner, quantity, steps, values, *index in rows:
        recording.append(
            0, owner, quantity, steps, values, index=index[0] if index else None
        )
    return Training.of(recording)


def _finding(rule, owner, *evidence):
    return Finding(
        rule, "warning", owner, (0, 0), (0, 0), evidence=tuple(evidence)
    )


def test_shares_are_of_the_units_at_that_time():
    t = _training(
        ("d", q.ZERO_ACTIVATION_UNITS, [0, 10, 20], [16, 32, 60]),
        ("d", q.UNITS, [0, 20], [64, 80]),
    )
    shown = curve_of(
        _finding("dead_units", "d", Measured("share of dead units", 0.5, 0.4)),
        t,
    )
    assert shown.curve.values.tolist() == [0.25, 0.5, 0.75]
    assert shown.threshold == 0.4


def test_a_threshold_of_something_else_is_not_drawn():
    rows = ("", q.GRADIENT_NORM, [0, 1], [1.0, 100.0])
    finding = _finding("exploding_gradient", "", Measured("z", 7.0, 6.0))
    assert curve_of(finding, _training(rows)).threshold is None
    text = _finding("exploding_gradient", "", Measured("kind", "NaN", 6.0))
    assert curve_of(text, _training(rows)).threshold is None


def test_of_the_run_the_median_of_the_kernels():
    kernels = [
        {"path": f"m/{name}/kernel", "layer": f"m/{name}", "role": "weight"}
        for name in "abc"
    ]
    rows = []
    for kernel, update in zip(kernels, (0.1, 0.4, 3.0), strict=True):
        kernel["trainable"] = True
        path = kernel["path"]
        rows.append((path, q.UPDATE_RMS, [0, 5], [update, update]))
        # Of what has shrunk the first size counts, of what has grown the last.
        rows.append((path, q.WEIGHT_RMS, [0, 5], [2.0, 1.0]))
        rows.append((path, q.DISTANCE_RMS, [0, 5], [0.0, update]))
        rows.append((path, q.EPOCH_WEIGHT_RMS, [0, 5], [1.0, 2.0]))
    t = _training(*rows, facts={"variables": kernels})
    name = "RMS update over RMS weight in a step"
    number = Measured(name, 0.19, 0.1)
    high = Finding(
        *("update_ratio", "warning", "", (0, 0), (0, 0)),
        evidence=(number,),
        variant="high",
    )
    shown = curve_of(high, t)
    assert shown.curve.values.tolist() == [0.2, 0.2]
    assert shown.threshold == 0.1
    low = dataclasses.replace(high, variant="low")
    shown = curve_of(low, t)
    assert shown.curve.values.tolist() == [0.0, 1.5]
    assert shown.threshold is None


def test_numbers_that_follow_from_several_quantities():
    heads = [{"output": "out", "layer": "m/out"}]
    targets = [{"output": "out", "constant_loss": 3.0}]
    t = _training(
        ("", q.PROBE_LOSS, [0, 10], [2.0, 1.0]),
        ("", q.PROBE_INFERENCE_LOSS, [0, 10, 20], [2.0, 4.0, 5.0]),
        ("", q.WEIGHT_PENALTY, [0, 10], [1.0, 9.0]),
        ("accuracy", q.LOG, [10], [0.25]),
        ("out", q.PREDICTION_SPREAD, [0, 10], [0.1, 0.0]),
        facts={"heads": heads, "data": {"targets": targets}},
    )
    gap = curve_of(_finding("batch_norm_shift", "m/bn"), t)
    assert gap.curve.values.tolist() == [0.0, 3.0]
    share = curve_of(_finding("penalty_dominates", ""), t)
    assert share.curve.values.tolist() == [0.25, 0.75]
    number = Measured("accuracy", 0.25)
    logged = curve_of(_finding("metric_disagrees", "accuracy", number), t)
    assert logged.label == "accuracy"
    output = curve_of(_finding("constant_predictions", "m/out"), t)
    assert output.curve.values.tolist() == [0.1, 0.0]


def test_evidence_that_bears_the_name_of_a_quantity_is_drawn_first():
    t = _training(
        ("", q.GRADIENT_NORM, [0, 1], [1.0, 100.0]),
        ("d/kernel", q.WEIGHT_RMS, [0, 1], [0.5, 0.25]),
    )
    number = Measured("RMS weight", 0.25, 0.3)
    shown = curve_of(_finding("exploding_gradient", "d/kernel", number), t)
    assert shown.label == "RMS weight"
    assert shown.threshold == 0.3


def test_the_weights_of_a_layer_and_the_layer_of_a_weight():
    facts = {
        "variables": [
            {"path": "m/d/bias", "layer": "m/d", "role": "vector"},
            {"path": "m/d/kernel", "layer": "m/d", "role": "weight"},
        ]
    }
    t = _training(
        ("m/d/bias", q.DISTANCE_RMS, 1, 0.0),
        ("m/d/kernel", q.DISTANCE_RMS, 1, 0.5),
        ("m/d", q.ERROR_ATTENUATION, 1, 0.25),
        facts=facts,
    )
    shown = curve_of(_finding("untrained_variable", "m/d"), t)
    assert shown.curve.values.tolist() == [0.5]
    shown = curve_of(_finding("vanishing_gradient", "m/d/kernel"), t)
    assert shown.curve.values.tolist() == [0.25]


def test_of_an_indexed_quantity_the_largest():
    t = _training(
        ("", q.PREDICTED_SHARE, 0, [0.25, 0.75], [0, 1]),
        ("", q.PREDICTED_SHARE, 10, [1.0, 0.0], [0, 1]),
    )
    shown = curve_of(_finding("class_collapse", ""), t)
    assert shown.label == "largest share of predictions"
    assert shown.curve.values.tolist() == [0.75, 1.0]


def test_what_is_no_curve_has_none(course):
    t = Training.of(course)
    assert curve_of(_finding("lost_mask", "m/pool"), t) is None
    assert curve_of(_finding("dead_units", "m/dense"), t) is None


def test_nothing_recorded():
    sentence = "No training run has been checked yet."
    assert plot_doctor(Recording()).get_suptitle() == sentence
    report = report_of("TrainingDoctor (2)")
    assert report is report_of("TrainingDoctor")
