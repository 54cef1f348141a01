import numpy as np
import pytest

from keras_concepts import quantities as q
from keras_concepts.rules import generalisation as rules
from rule_facts import (
    STEPS,
    add,
    binary,
    classes,
    findings,
    found,
    head,
    log,
    numbers,
    regression,
    run,
)

FALLING = [0.9, 0.7, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 0.08, 0.05]


def recording(validation, training=FALLING, target=None, epochs=10):
    """A regression whose best constant has a loss of 1."""
    target = numbers() if target is None else target
    made = run([regression()], [], [target], training, epochs=epochs)
    return log(made, "val_loss", validation)


def risen(by, epochs=10):
    """A validation loss with its least after epoch 3."""
    return ([0.9, 0.7, 0.5] + [0.5 + by] * 7)[:epochs]


MORE, LESS = 1.01 * rules.RISE, 0.99 * rules.RISE


class TestOverfitting:
    @pytest.mark.parametrize(
        ("validation", "expected"),
        [
            (risen(MORE), ["rise"]),
            (risen(LESS), []),
            # A confident classifier whose few mistakes cost more and more.
            (risen(0.05), []),
            (risen(0.0), []),
            ([*risen(MORE)[:8], 0.5, 0.5], []),
            ([0.9, 0.7, 0.5, *[0.5 + MORE] * 2, *[0.5] * 5], []),
            # Once it was clear, half as far is enough.
            ([*risen(MORE)[:9], 0.5 + 0.6 * MORE], ["rise"]),
            ([*risen(MORE)[:9], 0.5 + 0.4 * MORE], []),
            ([np.nan] * 10, []),
        ],
    )
    def test_rise(self, validation, expected):
        assert found("overfitting", recording(validation)) == expected

    def test_three_epochs_in_a_row(self):
        for count in (2, 3):
            made = recording(risen(MORE, 3 + count), FALLING[: 3 + count])
            expected = ["rise"] if count >= rules._CHECKS else []
            assert found("overfitting", made) == expected

    def test_since_its_least(self):
        (finding,) = findings("overfitting", recording(risen(MORE)))
        assert finding.since == (2, 3 * STEPS)

    def test_where_the_training_loss_rises_too(self):
        training = [0.9, 0.7, 0.5, *[0.6] * 7]
        assert found("overfitting", recording(risen(MORE), training)) == []

    def test_a_rise_of_a_few_percent(self):
        """Prechelt's limit, of a loss that is large itself."""
        for factor, expected in ((0.99, []), (1.01, ["rise"])):
            least = 100.0
            by = factor * rules.LOSS_OF_GENERALIZATION / 100.0 * least
            made = recording([least] * 3 + [least + by] * 7)
            kept = [v for v in found("overfitting", made) if v == "rise"]
            # Far above the constant predictor's loss it is unrelated, too.
            assert kept in (expected, [])

    def test_without_the_constant_predictor(self):
        made = recording(risen(MORE), target=numbers(constant_loss=None))
        assert found("overfitting", made) == []

    def test_validation_in_every_second_epoch(self):
        made = recording(risen(MORE)[:5])
        assert found("overfitting", made) == []


class TestUnrelated:
    @pytest.mark.parametrize(
        ("validation", "remembered", "planned", "expected"),
        [
            (0.99, 0.6, 10, ["unrelated"]),
            (0.97, 0.6, 10, []),
            (0.99, 0.99 * rules._MUCH, 100, []),
            (0.99, 1.01 * rules._MUCH, 100, ["unrelated"]),
            (0.99, 0.99 * rules._SOME, 10, []),
            (0.99, 1.01 * rules._SOME, 10, ["unrelated"]),
            (3.0, 0.6, 10, ["unrelated"]),
        ],
    )
    def test_never_below_a_constant(
        self, validation, remembered, planned, expected
    ):
        losses = [1.0 - remembered] * 10
        made = recording([validation] * 10, losses, epochs=planned)
        assert found("overfitting", made) == expected

    def test_one_epoch_below_it_is_enough(self):
        made = recording([0.9, *[1.1] * 9], [0.4] * 10)
        assert found("overfitting", made) == []

    def test_since(self):
        made = recording([2.0] * 10, [0.9, 0.8, *[0.4] * 8])
        (finding,) = findings("overfitting", made)
        assert finding.since == (1, 2 * STEPS)


def with_accuracy(values, losses, target=None, given=None, key="accuracy"):
    target = classes() if target is None else target
    given = head() if given is None else given
    return log(run([given], [], [target], losses), key, values)


LEARNED, NOT_LEARNED = [1.1] * 10, [1.2] * 10  # half of ln 10 is 1.151


class TestMetric:
    @pytest.mark.parametrize(
        ("accuracy", "losses", "expected"),
        [
            (0.149, LEARNED, [""]),
            (0.151, LEARNED, []),
            (0.0, LEARNED, [""]),
            (0.1, NOT_LEARNED, []),
        ],
    )
    def test_accuracy_of_a_constant(self, accuracy, losses, expected):
        made = with_accuracy([accuracy] * 10, losses)
        assert found("metric_disagrees", made) == expected

    @pytest.mark.parametrize(("most", "expected"), [(0.89, [""]), (0.91, [])])
    def test_heavy_imbalance(self, most, expected):
        shares = [most] + [(1.0 - most) / 9] * 9
        target = classes(shares=shares, constant_loss=0.5)
        made = with_accuracy([most] * 10, [0.1] * 10, target)
        assert found("metric_disagrees", made) == expected

    def test_three_epochs(self):
        made = with_accuracy([0.9] * 8 + [0.1] * 2, LEARNED)
        assert found("metric_disagrees", made) == []
        made = with_accuracy([0.9] * 7 + [0.1] * 3, LEARNED)
        (finding,) = findings("metric_disagrees", made)
        assert (finding.owner, finding.since) == ("accuracy", (7, 80))

    def test_accuracy_of_a_regression(self):
        made = with_accuracy(
            [0.0] * 10, [0.1] * 10, numbers(), regression(), "binary_accuracy"
        )
        [finding] = findings("metric_disagrees", made)
        assert "numbers" in finding.why
        assert "class" not in " ".join(map(str, finding.evidence))

    def test_an_error_of_an_acceleration(self):
        made = with_accuracy(
            [0.0] * 10, [0.1] * 10, numbers(), regression(), "acceleration"
        )
        assert found("metric_disagrees", made) == []

    def test_labels_of_unknown_shares(self):
        made = with_accuracy([0.1] * 10, LEARNED, classes(shares=None))
        assert found("metric_disagrees", made) == []

    def test_a_train_step_that_logs_no_loss(self):
        made = with_accuracy([0.1] * 10, [])
        assert found("metric_disagrees", made) == []

    def test_several_heads(self):
        made = run([head(), head(output="b")], [], [classes()], LEARNED)
        _ = log(made, "accuracy", [0.1] * 10)
        assert found("metric_disagrees", made) == []


class TestOverstatedAccuracy:
    @staticmethod
    def of(logged, seen, key="binary_accuracy", counts=(25.0,) * 10):
        made = of_entries([key], len(logged))
        _ = log(made, key, logged)
        _ = add(made, q.PROBE_CLASS_COUNT, [list(counts)] * 11)
        return add(made, q.PROBE_ACCURACY, [0.1, *seen])

    @pytest.mark.parametrize(
        ("logged", "seen", "expected"),
        [
            ([0.9] * 10, [0.1] * 10, ["overstated"]),
            ([0.9] * 4, [0.1] * 4, []),
            ([0.9] * 10, [0.21] * 10, []),
            ([0.9] * 10, [0.1] * 8 + [0.3] + [0.1], []),
            ([0.45] * 10, [0.1] * 10, ["overstated"]),
            ([0.39] * 10, [0.1] * 10, []),
        ],
    )
    def test_thresholds(self, logged, seen, expected):
        assert found("metric_disagrees", self.of(logged, seen)) == expected

    def test_one_of_the_first_classes_is_enough(self):
        made = self.of([0.9] * 10, [0.1] * 10, "top_k_categorical_accuracy")
        assert found("metric_disagrees", made) == []

    def test_the_accuracy_of_classes(self):
        made = self.of([0.9] * 10, [0.1] * 10, "sparse_categorical_accuracy")
        assert found("metric_disagrees", made) == []

    @pytest.mark.parametrize(
        ("loss", "expected"), [(0.44, ["overstated"]), (0.46, [])]
    )
    def test_a_model_that_works_otherwise_at_inference(self, loss, expected):
        """Batch normalization before its moving statistics have settled."""
        made = self.of([0.9] * 10, [0.1] * 10)
        _ = add(made, q.PROBE_LOSS, [0.3] * 11)
        _ = add(made, q.PROBE_INFERENCE_LOSS, [loss] * 11)
        assert found("metric_disagrees", made) == expected

    def test_advice_for_class_numbers(self):
        made = self.of([0.9] * 10, [0.1] * 10)
        [finding] = findings("metric_disagrees", made)
        assert "`categorical_accuracy`" in finding.advice
        assert "entry" in finding.why
        made.facts["data"]["targets"][0]["form"] = "sparse"
        [finding] = findings("metric_disagrees", made)
        assert "sparse_categorical_accuracy" in finding.advice
        assert "entry" not in finding.why

    def test_most_are_of_one_class(self):
        counts = (160.0,) + (10.0,) * 9
        made = self.of([0.99] * 10, [0.64] * 10, counts=counts)
        assert found("metric_disagrees", made) == ["overstated"]


def of_entries(metrics, epochs):
    """One-hot labels with an answer for each class, which learn nothing."""
    return run(
        [binary(units=10, shape=[None, 10], metrics=metrics)],
        [],
        [classes(form="multi_label", shape=[10], constant_loss=0.325)],
        [0.325] * epochs,
    )
