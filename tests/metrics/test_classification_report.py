"""The report's numbers and its table are scikit-learn's."""

import keras
import numpy as np
import pytest
from sklearn.metrics import classification_report

from keras_concepts.metrics import ClassificationReport

random = np.random.default_rng(0)
NAMES = ["cat", "dog", "a longer name than others"]
LABELS = random.integers(0, 3, 60)
SCORES = random.random((60, 3))
SEVERAL = random.random((60, 3)) > 0.6
WEIGHTS = random.integers(1, 9, 60) / 4


@pytest.mark.parametrize("digits", [2, 4])
def test_table(digits):
    report = ClassificationReport(NAMES)
    for part in (slice(0, 25), slice(25, 60)):
        report.update_state(LABELS[part], SCORES[part])
    expected = classification_report(
        LABELS,
        SCORES.argmax(1),
        target_names=NAMES,
        digits=digits,
    )
    assert report.table(digits) == expected


def test_table_of_several_classes_a_row():
    report = ClassificationReport(threshold=0.5)
    report.update_state(SEVERAL, SCORES)
    expected = classification_report(SEVERAL, SCORES > 0.5, zero_division=0)
    lines = expected.splitlines(keepends=True)
    assert report.table() == "".join(
        line for line in lines if "samples avg" not in line
    )


def test_table_of_some_classes():
    report = ClassificationReport(["dog", "cat"], class_ids=[1, 0])
    report.update_state(LABELS, SCORES)
    expected = classification_report(
        LABELS,
        SCORES.argmax(1),
        labels=[1, 0],
        target_names=["dog", "cat"],
    )
    assert report.table() == expected


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_numbers(weights):
    report = ClassificationReport(
        NAMES, class_scores=("precision", "recall", "f1")
    )
    report.update_state(LABELS, SCORES, weights)
    found = {key: float(value) for key, value in report.result().items()}
    expected = classification_report(
        LABELS,
        SCORES.argmax(1),
        target_names=NAMES,
        sample_weight=weights,
        output_dict=True,
    )
    names = {"precision": "precision", "recall": "recall", "f1": "f1-score"}
    wanted = {
        "report_accuracy": expected["accuracy"],
        "report_weighted_f1": expected["weighted avg"]["f1-score"],
    }
    for ours, theirs in names.items():
        wanted[f"report_macro_{ours}"] = expected["macro avg"][theirs]
        for name in NAMES:
            wanted[f"report_{name}_{ours}"] = expected[name][theirs]
    assert found == pytest.approx(wanted, rel=1e-5)


def test_key_where_a_row_may_have_several_classes():
    report = ClassificationReport(threshold=0.5, name="r")
    report.update_state(SEVERAL, SCORES)
    expected = classification_report(
        SEVERAL, SCORES > 0.5, output_dict=True, zero_division=0
    )
    found = keras.ops.convert_to_numpy(report.result()["r_micro_f1"])
    assert found == pytest.approx(expected["micro avg"]["f1-score"])
    assert "r_accuracy" not in report.result()


def test_errors():
    with pytest.raises(ValueError, match="each of the 3 classes"):
        ClassificationReport(["cat", "dog"]).update_state(LABELS, SCORES)
    with pytest.raises(ValueError, match="each of the 4 classes"):
        ClassificationReport(["cat", "dog"], num_classes=4)
    with pytest.raises(ValueError, match="class_scores='accuracy'"):
        ClassificationReport(class_scores=["accuracy"])
    with pytest.raises(ValueError, match=r"threshold=1\.5"):
        ClassificationReport(threshold=1.5)
