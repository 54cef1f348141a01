import numpy as np
import pytest

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports.doctor.verdict import verdict_of
from keras_concepts.reports.html.layers import layer_table
from keras_concepts.rules import Finding, Training


def _table(recording, *findings):
    return layer_table(Training.of(recording), verdict_of(findings))


def _finding(owner, severity="warning"):
    return Finding("dead_units", severity, owner, (0, 0), (0, 0))


@pytest.fixture
def signals(record_signals):
    usual = {q.ERROR_RMS: 1.0}
    return record_signals(
        {
            "usual": usual,
            "tiny": {q.ERROR_RMS: 1e-6},
            "other": usual,
            "dead": usual | {q.ZERO_ACTIVATION_UNITS: 64},
            "broken": {q.ERROR_RMS: np.inf},
            "named": usual,
        }
    )


def _names(table):
    return [row[0] for row in table.rows]


def test_the_worst_first(signals):
    table = _table(signals, _finding("model/named"))
    assert _names(table)[:4] == ["named", "broken", "tiny", "dead"]
    by_name = {row[0]: row for row in table.rows}
    column = [*table.header].index
    assert by_name["named"][column("found")] == "dead_units"
    assert by_name["tiny"][column("error RMS")] == "1e-6"
    assert by_name["broken"][column("error RMS")] == "infinite"
    assert by_name["dead"][column("dead")] == "100\u00a0%"


def test_errors_before_warnings(signals):
    table = _table(
        signals, _finding("model/usual"), _finding("model/other", "error")
    )
    assert _names(table)[:2] == ["other", "usual"]


def test_gradients_belong_to_layers(record):
    recording = record({"a/kernel": np.full(20, 0.5), "a/bias": np.ones(20)})
    recording.record_facts(
        {
            "layers": [{"path": "model/a", "class": "Dense", "parameters": 6}],
            "variables": [
                {
                    "path": f"model/a/{name}",
                    "layer": "model/a",
                    "role": role,
                    "shape": [2],
                }
                for name, role in (("kernel", q.WEIGHT), ("bias", q.VECTOR))
            ],
        }
    )
    [row] = _table(recording).rows
    assert row == ["a", "Dense", "6", "–", "0.5"]


def test_nothing_measured():
    assert _table(Recording()) is None
