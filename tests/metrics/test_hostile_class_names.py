"""Names of classes show as they are, in tables and figures."""

import io
import warnings

import numpy as np
import pytest

from keras_concepts.metrics import ClassificationReport, ConfusionMatrix

NAMES = [
    ["US$_net_$", "5$", r"\$a\b", "[red]x"],
    ["a\ud800", "\x1b[31mred", "a\x00\r\n", "\u202eb"],
    ["<b>", "{0} %s", " ", "x" * 2000],
]


@pytest.mark.parametrize("names", NAMES, ids=["dollars", "control", "other"])
def test_names_are_text(names):
    labels = np.arange(4)
    matrix = ConfusionMatrix(class_names=names)
    matrix.update_state(labels, np.eye(4))
    with warnings.catch_warnings():
        # Of the last names, which leave no place for the figure.
        warnings.filterwarnings("ignore", "constrained_layout|.*Glyph")
        matrix.plot(io.BytesIO())
    report = ClassificationReport(names)
    report.update_state(labels, np.eye(4))
    table = report.table()
    assert "\x1b" not in table
    assert "\x00" not in table
    assert "\u202e" not in table
    _ = table.encode()
    scores = ClassificationReport(names, class_scores=["f1", "recall"])
    scores.update_state(labels, np.eye(4))
    # The keys of logs are what the user named.
    assert f"report_{names[0]}_recall" in scores.result()
