import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import (
    balanced_accuracy_score,
    r2_score,
    recall_score,
    roc_auc_score,
)

from keras_concepts import quantities as q
from keras_concepts.instruments.agreement import agreement_rows
from keras_concepts.instruments.predictions import (
    equal_columns,
    prediction_rows,
)

RANDOM = np.random.default_rng(0)
OWN = {"kind": "other"}
SOFTMAX = {"kind": "multiclass"}
CLASSES = RANDOM.integers(0, 4, 60)
SCORES = RANDOM.normal(size=(60, 4)) + 1.5 * np.eye(4)[CLASSES]
NUMBERS = np.round(RANDOM.normal(size=(60, 1)), 1)
GUESSES = np.round(NUMBERS + RANDOM.normal(size=(60, 1)), 1)


class TestClasses:
    @pytest.mark.parametrize("head", [OWN, SOFTMAX])
    @pytest.mark.parametrize(
        "target", [CLASSES, CLASSES[:, None], np.eye(4)[CLASSES]]
    )
    def test_of_scikit_learn(self, head, target):
        rows = agreement_rows(SCORES, target, head)
        best = SCORES.argmax(axis=1)
        assert rows[q.PROBE_BALANCED_ACCURACY] == pytest.approx(
            balanced_accuracy_score(CLASSES, best)
        )
        assert rows[q.PROBE_RECALL] == pytest.approx(
            recall_score(CLASSES, best, average=None)
        )
        assert rows[q.PROBE_CLASS_COUNT].tolist() == [
            (c == CLASSES).sum() for c in range(4)
        ]

    def test_a_class_that_does_not_occur(self):
        some = CLASSES != 2
        rows = agreement_rows(SCORES[some], CLASSES[some], SOFTMAX)
        recalls = rows[q.PROBE_RECALL][[0, 1, 3]]
        assert rows[q.PROBE_BALANCED_ACCURACY] == pytest.approx(recalls.mean())

    def test_the_nearest_mean_without_the_sample_itself(self):
        right = []
        for i in range(60):
            others = np.arange(60) != i
            means = [
                SCORES[others & (c == CLASSES)].mean(axis=0) for c in range(4)
            ]
            distances = [np.linalg.norm(SCORES[i] - m) for m in means]
            right.append(np.argmin(distances) == CLASSES[i])
        expected = np.mean(
            [np.mean(np.array(right)[c == CLASSES]) for c in range(4)]
        )
        rows = agreement_rows(SCORES, CLASSES, OWN)
        assert rows[q.PROBE_SEPARATION] == pytest.approx(expected)

    def test_of_each_step(self):
        target = CLASSES.reshape(20, 3)
        rows = agreement_rows(SCORES.reshape(20, 3, 4), target, SOFTMAX)
        expected = balanced_accuracy_score(CLASSES, SCORES.argmax(axis=1))
        assert rows[q.PROBE_BALANCED_ACCURACY] == pytest.approx(expected)

    @pytest.mark.parametrize(
        "target",
        [
            np.minimum(CLASSES, 2),  # an embedding, perhaps
            CLASSES + 1,
            CLASSES - 0.5,
            NUMBERS[:, 0],
            np.array(["a"] * 60),
        ],
    )
    def test_labels_of_something_else(self, target):
        assert agreement_rows(SCORES, target, OWN) == {}


class TestNumbers:
    @pytest.mark.parametrize("target", [NUMBERS, NUMBERS[:, 0]])
    def test_of_scikit_learn_and_scipy(self, target):
        rows = agreement_rows(GUESSES, target, OWN)
        assert rows[q.PROBE_EXPLAINED] == pytest.approx(
            r2_score(NUMBERS, GUESSES)
        )
        assert rows[q.PROBE_RANK_CORRELATION] == pytest.approx(
            spearmanr(NUMBERS, GUESSES).statistic
        )

    def test_of_several_units(self):
        target = np.hstack([NUMBERS, NUMBERS**2, -NUMBERS])
        predicted = np.hstack([GUESSES] * 3)
        rows = agreement_rows(predicted, target, OWN)
        expected = [spearmanr(t, GUESSES[:, 0]).statistic for t in target.T]
        assert rows[q.PROBE_RANK_CORRELATION] == pytest.approx(
            np.mean(expected)
        )

    def test_answers_are_ranked_by_the_area_under_the_curve(self):
        answers = (NUMBERS > 0.5).astype(float)
        rows = agreement_rows(GUESSES, answers, OWN)
        area = roc_auc_score(answers, GUESSES)
        assert rows[q.PROBE_RANK_CORRELATION] == pytest.approx(2 * area - 1)

    def test_few_answers_of_a_kind_say_nothing(self):
        answers = np.zeros((60, 1))
        answers[:4] = 1.0
        rows = agreement_rows(GUESSES, answers, OWN)
        assert q.PROBE_RANK_CORRELATION not in rows

    def test_constant_predictions_rank_nothing(self):
        rows = agreement_rows(np.zeros((60, 1)), NUMBERS, OWN)
        assert rows[q.PROBE_RANK_CORRELATION] == 0.0

    @pytest.mark.parametrize(
        ("predicted", "target"),
        [
            (np.hstack([GUESSES, GUESSES]), NUMBERS),  # mean and variance
            (GUESSES, np.zeros((60, 1))),  # a stand-in
            (np.full((60, 1), np.nan), NUMBERS),
            (GUESSES, np.where(NUMBERS > 0, NUMBERS, np.inf)),
        ],
    )
    def test_what_cannot_be_compared(self, predicted, target):
        assert agreement_rows(predicted, target, OWN) == {}


def test_recall_of_two_classes_from_one_unit():
    answers = (NUMBERS > 0.5).astype(float)
    for head, limit in (
        ({"kind": "binary", "from_logits": False}, 0.5),
        ({"kind": "binary", "from_logits": True}, 0.0),
    ):
        rows = agreement_rows(GUESSES, answers, head)
        assert rows[q.PROBE_RECALL] == pytest.approx(
            recall_score(answers, limit < GUESSES, average=None)
        )


def test_accuracy_where_each_class_has_an_answer():
    rows = prediction_rows(SCORES, np.eye(4)[CLASSES], {"kind": "binary"})
    assert rows[q.PROBE_ACCURACY] == np.mean(SCORES.argmax(axis=1) == CLASSES)
    several = np.eye(4)[CLASSES] + np.eye(4)[0]
    rows = prediction_rows(SCORES, several > 0, {"kind": "binary"})
    assert q.PROBE_ACCURACY not in rows


@pytest.mark.parametrize(
    ("apart", "expected"), [(0.0, 1), (5e-4, 1), (2e-3, 0)]
)
def test_units_that_rounding_parts_are_equal(apart, expected):
    kernel = np.full((5, 2), 0.7)
    kernel[:, 1] += 0.7 * apart
    assert equal_columns(kernel) == expected
