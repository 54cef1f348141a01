import dataclasses
import io
import re

import pytest
from rich.console import Console

from keras_concepts import quantities as q
from keras_concepts._documentation import SITE
from keras_concepts.recording import Recording
from keras_concepts.reports import (
    doctor_table,
    print_doctor,
    print_findings,
    report_of,
)
from keras_concepts.reports.doctor.verdict import verdict_of
from keras_concepts.rules import Evidence, Finding, Measured

NUMBER = Measured("RMS of the input", 143.2, 10.0)
DEAD = Measured("share of dead units", 57 / 64, 0.5)
LEFT = Measured("samples", 1024.0)
UNSCALED = {
    "name": "unscaled_input",
    "severity": "error",
    "why": "Inputs of hundreds make the outputs of the first layer so large "
    "that its units die or saturate.",
    "page": "doctor.md#unscaled_input",
    "evidence": Evidence(
        "x",
        (0, 0),
        (NUMBER,),
        "Scale the inputs to 0 to 1 before they enter the model.",
        'keras.layers.Rescaling(1 / 255, name="scale")',
    ),
}
DEAD_UNITS = {
    "name": "dead_units",
    "evidence": Evidence("m/dense", (1, 20), (LEFT, DEAD), "Use another."),
    "steps": (30, 1e9),
}
OSCILLATING = {
    "name": "validation_overlap",
    "evidence": Evidence("", (1, 20), (), "Lower the learning rate."),
    "steps": (20, 40),
}
MEMORY = {"name": "short_memory", "needs": "a recurrent layer"}
OVERFITTING = {"name": "overfitting", "needs": "validation data"}
OVERLAP = {"name": "sorted_labels", "needs": "validation data"}


def _text(print_to, what, width=80):
    console = Console(file=io.StringIO(), width=width)
    print_to(what, console)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_a_cause_with_its_consequences_is_one_problem(
    width, record_course, judged_by
):
    judged_by(DEAD_UNITS, UNSCALED)
    text = _text(print_doctor, record_course([(2.0,)] * 6), width)
    assert max(map(len, text.splitlines())) <= min(width, 100)
    assert " ".join(text.split()) == (
        "1 problem found in 6 epochs. "
        "1. Error: unscaled_input in x, before training "
        "Why Inputs of hundreds make the outputs of the first layer so large "
        "that its units die or saturate. "
        "Measured RMS of the input 143 (threshold 10) "
        "Change Scale the inputs to 0 to 1 before they enter the model. "
        'keras.layers.Rescaling(1 / 255, name="scale") '
        "Leads to dead_units in m/dense, since epoch 2: share of dead units "
        "0.891 (threshold 0.5) "
        "https://keras-concepts.github.io/keras-concepts/doctor/#unscaled_input"
    )


def test_numbers_and_when_it_was_noticed(record_course, judged_by):
    judged_by(DEAD_UNITS)
    text = " ".join(_text(print_doctor, record_course([(2.0,)] * 6)).split())
    assert (
        "1. Warning: dead_units in m/dense, since epoch 2 (noticed in" in text
    )
    assert "(noticed in epoch 3) Why It matters." in text
    assert "samples 1,024; share of dead units 0.891 (threshold 0.5)" in text


def test_what_holds_no_longer_is_said_at_the_end(record_course, judged_by):
    judged_by(OSCILLATING)
    text = _text(print_doctor, record_course([(2.0,)] * 6))
    assert text.splitlines()[0] == "No problem found in 6 epochs."
    assert "No longer: validation_overlap from epoch 2 to 5.\n" in text
    assert "Lower" not in text


def test_nothing_wrong_says_what_was_checked(record_course, judged_by):
    dropout = {"name": "heavy_dropout", "needs": "dropout", "meant": False}
    judged_by({"name": "dead_units"}, dropout, MEMORY, OVERFITTING, OVERLAP)
    facts = {
        "epochs": 10,
        "data": {"missing": ["`x`: it can be read only once."]},
        "missing": ["could not use its probe"],
    }
    recording = record_course([(2.0,)] * 2, facts=facts)
    assert _text(print_doctor, recording).splitlines() == [
        "No problem found in 2 of 10 epochs.",
        "Checked: dead_units.",
        "Not checked: short_memory (needs a recurrent layer); overfitting, "
        "sorted_labels ",
        "(needs validation data).",
        "Not known: `x`: it can be read only once; could not use its probe.",
    ]


@pytest.mark.parametrize(
    ("losses", "facts", "when"),
    [
        ([], {}, "before the first epoch ended"),
        ([], {"is_preflight": True}, "before training"),
        ([(2.0,)], {}, "in 1 epoch"),
        ([(2.0,)], {"epochs": 3}, "in 1 of 3 epochs"),
        ([None, None], {}, "in 2 epochs"),
    ],
)
def test_says_what_was_judged(losses, facts, when, record_course, judged_by):
    judged_by(UNSCALED)
    text = _text(print_doctor, record_course(losses, facts=facts))
    assert text.splitlines()[0] == f"1 problem found {when}."


def test_the_worst_comes_first_and_notes_are_counted_apart(
    record_course, judged_by
):
    note = {**DEAD_UNITS, "name": "lost_mask", "severity": "info"}
    judged_by(note, {**DEAD_UNITS, "name": "sorted_labels"}, UNSCALED)
    recording = record_course([(2.0,)] * 6)
    lines = _text(print_doctor, recording).splitlines()
    assert lines[0] == "2 problems and 1 note found in 6 epochs."
    found = [line.split(" in ")[0] for line in lines if line[:1].isdigit()][1:]
    assert found == [
        "1. Error: unscaled_input",
        "2. Warning: sorted_labels",
        "3. Note: lost_mask",
    ]
    console = Console(file=io.StringIO(), width=80)
    report_of("TrainingDoctor").print(recording, console, max_rows=1)
    shorter = console.file.getvalue()
    assert "sorted_labels" not in shorter
    assert "2 of 3 problems are left out. Pass max_rows=None" in shorter
    with pytest.raises(ValueError, match="max_rows"):
        _ = doctor_table(recording, max_rows=0)


def test_a_problem_is_open_while_a_consequence_holds():
    cause = Finding("unscaled_input", "error", "x", (0, 0), (0, 0), (3, 30))
    effect = Finding(
        *("dead_units", "warning", "d", (1, 20), (2, 30)),
        because_of="unscaled_input",
    )
    assert not verdict_of([cause]).problems
    assert [f.rule for f in verdict_of([cause]).withdrawn] == ["unscaled_input"]
    [problem] = verdict_of([cause, effect]).problems
    assert problem.severity == "warning"
    assert problem.findings == [cause, effect]


def test_a_terminal_can_open_the_page():
    finding = Finding(
        *("batch_norm_shift", "warning", "bn", (0, 0), (0, 0)),
        page="monitors/batch_norm_shift_monitor.md",
    )
    file = io.StringIO()
    console = Console(file=file, width=60, force_terminal=True)
    print_findings([finding], console)
    links = re.findall(r"\x1b]8;[^;]*;(h[^\x1b]*)\x1b", file.getvalue())
    assert len(links) > 1  # a long address is folded
    assert set(links) == {f"{SITE}monitors/batch_norm_shift_monitor/"}
    hostile = dataclasses.replace(finding, page="javascript://\x1balert(1)")
    text = _text(print_findings, [hostile])
    assert "javascript://\\x1balert(1)" in text


def test_findings_alone():
    finding = Finding(
        *("head_loss_mismatch", "error", "probs", (0, 0), (0, 0)),
        advice="Remove [the] softmax.",
        page="https://keras.io/api",
        variant="softmax",
    )
    text = " ".join(_text(print_findings, [finding]).split())
    assert text == (
        "1 problem found. 1. Error: head_loss_mismatch (softmax) in probs, "
        "before training Change Remove [the] softmax. https://keras.io/api"
    )
    assert _text(print_findings, []) == "No problem found.\n"


def test_only_the_last_run_is_judged(record_course, joined, judged_by):
    judged_by({**DEAD_UNITS, "steps": (0, 60)})
    first = record_course([(2.0,)] * 6)
    second = record_course([(2.0,)] * 2, run=1, first_step=70)
    judged = _text(print_doctor, joined(second, first))
    assert judged.splitlines()[0] == "No problem found in 2 epochs."


def test_recordings_of_other_monitors_are_judged_too(record, judged_by):
    judged_by({**DEAD_UNITS, "steps": (0, 1e9)})
    text = _text(print_doctor, record({"a/kernel": [1.0] * 20}))
    assert text.startswith("1 problem found in 2 epochs.")


def test_in_a_notebook(record_course, judged_by):
    judged_by(UNSCALED, DEAD_UNITS)
    html = report_of("TrainingDoctor").html(record_course([(2.0,)] * 6))
    text = " ".join(re.sub("<.*?>", "", html).split())
    assert "Error unscaled_input in x, before training" in text
    assert "so large that its units die or saturate." in text
    assert '<img alt="1 problem found in 6 epochs."' in html


def test_names_of_layers_cannot_hide_text(record_course, judged_by):
    evidence = Evidence("\x1b[8m[red]", (0, 0), (), "Rename it.")
    judged_by({"name": "dead_units", "evidence": evidence})
    text = _text(print_doctor, record_course([(2.0,)]))
    assert "dead_units in \\x1b[8m[red]" in text


@pytest.mark.parametrize("width", [40, 80, 120])
def test_nothing_is_cut(width, record_course, judged_by):
    owner = "model/" + "block_of_many_layers/" * 8 + "dense"
    number = Measured("of" + "x" * 150, 1.0, 2.0)
    evidence = Evidence(owner, (1, 20), (number,), "a" * 130, "c" * 130)
    for rules in ((UNSCALED,), ()):
        judged_by(*rules, {"name": "dead_units", "evidence": evidence})
        text = _text(print_doctor, record_course([(2.0,)] * 6), width)
        assert "…" not in text
        whole = "".join(text.split())
        assert owner in whole
        assert number.name in whole
        assert bool(rules) != ("c" * 130 in whole)


def test_nothing_recorded():
    sentence = "No training run has been checked yet."
    assert _text(print_doctor, Recording()) == f"{sentence}\n"
    other = Recording(monitor="GradientMonitor")
    other.append(0, "a/kernel", q.GRADIENT_RMS, 0, 1.0)
    assert doctor_table(other).columns
