import io

import numpy as np
from rich.console import Console

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports import (
    non_finite_table,
    plot_non_finite,
    print_non_finite,
    report_of,
)


def _text(recording):
    console = Console(file=io.StringIO(), width=100)
    print_non_finite(recording, console)
    return console.file.getvalue()


def test_epochs_and_that_all_was_finite(record_checks):
    lines = _text(record_checks([0.5, 0.25])).splitlines()
    assert lines[0].strip() == (
        "Loss, gradients and weights were finite at every step."
    )
    assert [line.split() for line in lines[-2:]] == [
        ["1", "10", "0", "0.5"],
        ["2", "10", "0", "0.25"],
    ]


def test_first_fault_of_the_last_run(record_checks, joined):
    runs = [
        record_checks(
            [1.0, np.nan],
            run=run,
            first_step=20 * run,
            fault=(20 * run + 13, owner, quantity, count),
        )
        for run, (owner, quantity, count) in enumerate(
            [("x", q.NON_FINITE_INPUT, 128), ("", q.NON_FINITE_LOSS, 1)]
        )
    ]
    both = joined(*runs[::-1])
    assert str(non_finite_table(both).title) == (
        "First non-finite value at step 33 (epoch 2, batch 4): the loss is "
        "NaN or infinite."
    )
    title = " ".join(plot_non_finite(both).get_suptitle().split())
    assert "step 13" in title
    assert "128 NaN or infinite entries in the input `x`. First" in title
    assert "step 33" in title


def test_a_fault_before_the_end_of_the_first_epoch(record_checks, joined):
    fault = (3, "d/kernel", q.NON_FINITE_GRADIENT, 2)
    sentence = "First non-finite value at step 3 (epoch 1, batch 4): 2 NaN or"
    broken = record_checks([], fault=fault)
    text = _text(broken)
    assert text.startswith(sentence)
    assert text.splitlines()[-1].strip() == "No epoch of this run has ended."
    assert sentence in report_of("NonFiniteGuard").html(broken)
    later = (23, *fault[1:])
    broken = record_checks([], run=1, first_step=20, fault=later)
    text = _text(joined(record_checks([0.5, 0.25]), broken))
    assert text.startswith("First non-finite value at step 23 (epoch 1, batch")
    assert "0.25" not in text


def test_rows_of_other_monitors_do_not_disturb(
    record_checks, record, joined, everything
):
    guard = record_checks([9.0, 8.0])
    batches = {q.BATCH_LOSS: np.arange(20.0)}
    gradients = record({"a/kernel": [1.0] * 20}, whole_model=batches)
    assert _text(joined(gradients, guard)) == _text(guard)
    axes = plot_non_finite(joined(gradients, guard)).axes[0]
    assert axes.lines[0].get_xdata().tolist() == [9, 19]
    assert "step 33" in _text(everything)


def test_an_epoch_without_a_loss_is_shown(record_checks):
    recording = record_checks([0.5])
    recording.append(1, "", q.CHECKED_STEPS, 19, 10)
    assert _text(recording).splitlines()[-1].split() == [
        "2",
        "10",
        "nan",
        "nan",
    ]


def test_curves_and_a_line_at_the_fault(record_checks, joined):
    runs = [
        record_checks(
            [1.0, np.nan],
            run=run,
            first_step=20 * run,
            fault=(20 * run + 13, "d/kernel", q.NON_FINITE_WEIGHT, 2),
        )
        for run in (0, 1)
    ]
    figure = plot_non_finite(joined(*runs))
    lines = figure.axes[0].lines
    assert [line.get_xdata()[0] for line in lines] == [9, 29, 13, 33]
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["first non-finite value"]


def test_no_finite_loss_is_said(record_checks):
    figure = plot_non_finite(
        record_checks([np.nan], fault=(3, "x", q.NON_FINITE_INPUT, 1))
    )
    (text,) = figure.axes[0].texts
    assert text.get_text() == "no epoch ended with a finite loss"
    low, high = figure.axes[0].get_xlim()
    assert low < 0 < 3 < 9 < high


def test_nothing_recorded():
    sentence = "No steps have been checked yet."
    assert _text(Recording()) == f"{sentence}\n"
    assert plot_non_finite(Recording()).get_suptitle() == sentence
