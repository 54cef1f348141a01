"""`summed_over_processes` on one process; `distribution/` has several."""

import keras
import numpy as np
import pytest

import keras_concepts as kc


def test_one_process_is_all():
    score = kc.metrics.F1Score("macro", num_classes=3)
    score.update_state(np.array([0, 1, 2, 2]), np.eye(3)[[0, 1, 2, 1]])
    before = float(score.result())
    with kc.summed_over_processes(score, keras.metrics.Mean()):
        assert float(score.result()) == before
    assert float(score.result()) == before


def test_what_is_no_metric_or_no_sum_is_refused():
    with (
        pytest.raises(TypeError, match=r"must be `keras\.Metric` objects"),
        kc.summed_over_processes("f1"),
    ):
        pass

    class Largest(keras.Metric):
        def __init__(self):
            super().__init__()
            self.add_variable((), "zeros", aggregation="mean", name="largest")

    with (
        pytest.raises(ValueError, match=r"must hold sums.*'mean'"),
        kc.summed_over_processes(Largest()),
    ):
        pass
