import dataclasses

import pytest

from keras_concepts import quantities as q
from keras_concepts.reports.tracked import (
    AllFindings,
    NewFindings,
    NewRows,
    cleaned,
    headline,
    worst,
)
from keras_concepts.rules import Finding

DEAD = Finding("dead_units", "warning", "net/a", (1, 12), (2, 20))


def test_rows_are_new_once(record_course):
    rows, recording = NewRows(), record_course([(0.5,)])
    assert rows.of(recording) == list(recording)
    assert rows.of(recording) == []
    recording.append(1, "loss", q.LOG, 20, 0.25)
    assert [each.values.item() for each in rows.of(recording)] == [0.25]
    another = record_course([(0.5,)])
    assert len(rows.of(another)) == len(list(another))
    assert rows.of(recording) == []


def test_findings_of_earlier_runs_are_kept(record_course):
    first, second = record_course([(0.5,)]), record_course([(0.5,)])
    found = AllFindings()
    assert found.with_those_of(first, [DEAD]) == [DEAD]
    assert found.with_those_of(second, []) == [DEAD]
    assert found.with_those_of(second, [DEAD]) == [DEAD, DEAD]
    gone = dataclasses.replace(DEAD, resolved=(3, 40))
    assert found.with_those_of(first, [gone]) == [gone, DEAD]
    del first
    assert found.with_those_of(second, []) == [gone]


class TestNewFindings:
    def test_each_change_is_told_once(self):
        new = NewFindings()
        assert new.of([DEAD], 20) == [(20, DEAD)]
        moved = dataclasses.replace(DEAD, owner="net/b")
        assert new.of([moved], 30) == []
        gone = dataclasses.replace(DEAD, resolved=(3, 40))
        assert new.of([gone], 40) == [(40, gone)]
        assert new.of([gone], 50) == []
        assert new.of([DEAD], 60) == [(60, DEAD)]

    def test_what_came_and_went_is_told_twice(self):
        gone = dataclasses.replace(DEAD, resolved=(3, 40))
        assert NewFindings().of([gone], 90) == [(20, DEAD), (40, gone)]

    def test_two_of_a_rule_are_two(self):
        other = dataclasses.replace(DEAD, owner="net/b")
        new = NewFindings()
        assert new.of([DEAD, other], 20) == [(20, DEAD), (20, other)]
        assert new.of([other, DEAD], 30) == []


def test_worst_is_of_what_holds():
    gone = dataclasses.replace(DEAD, severity="error", resolved=(3, 40))
    assert worst([gone, DEAD]) == "warning"
    assert worst([gone]) == worst([]) == "none"
    assert headline([gone, DEAD]) == "1 problem found."


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("doctor/loss", "doctor/loss"),
        ("doctor/a b", "doctor/a_b_"),
        ("../up", "__/up_"),
        ("a//b", "a/b_"),
        ("/root", "root_"),
        ("x" * 50, "x" * 33 + "_"),
    ],
)
def test_names_are_cleaned(name, clean):
    found = cleaned(name, r"[^\w/.]", 40)
    assert found.startswith(clean[:33])
    assert len(found) <= 40
    assert ".." not in found
    if name == clean:
        assert found == name


def test_cleaned_names_stay_different():
    names = ["a b", "a_b", "a-b", "a\ud800b", "a//b", "a/b", "x" * 99, "x" * 98]
    assert len({cleaned(name, r"[^\w/]", 40) for name in names}) == len(names)
