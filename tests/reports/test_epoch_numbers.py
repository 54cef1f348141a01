import numpy as np

from keras_concepts import quantities as q
from keras_concepts.recording import Recording
from keras_concepts.reports.epoch_numbers import epoch_numbers


def _numbers(recording, **options):
    return epoch_numbers(recording, list(recording), **options)


class TestEpochNumbers:
    def test_what_is_logged_and_measured_of_the_run(self, record_course):
        recording = record_course([(0.5, 0.75), (0.25, 0.5)])
        recording.append(1, "", q.GRADIENT_NORM, [11, 12], [1.0, 2.0])
        first, second = _numbers(recording)
        assert first == (1, 10, {"loss": 0.5, "val_loss": 0.75})
        norm = {"gradient_norm": 1.5}
        assert second == (2, 20, {"loss": 0.25, "val_loss": 0.5} | norm)

    def test_before_training_is_where_the_run_begins(self, record_course):
        recording = record_course([(0.5,)], facts={"first_epoch": 3})
        recording.append(-1, "", q.PROBE_LOSS, 0, 2.0)
        assert _numbers(recording)[0] == (3, 0, {"probe_loss": 2.0})

    def test_a_broken_step_shows_in_the_mean(self):
        recording = Recording()
        recording.append(0, "", q.GRADIENT_NORM, [0, 1], [1.0, np.inf])
        assert _numbers(recording)[0].values == {"gradient_norm": np.inf}

    def test_the_worst_layer(self):
        recording = Recording(monitor="SignalMonitor")
        kernels = [
            {"path": path, "role": q.WEIGHT, "trainable": True}
            for path in ("a/kernel", "b/kernel")
        ]
        bias = {"path": "b/bias", "role": q.VECTOR, "trainable": True}
        recording.record_facts({"variables": [*kernels, bias]})
        for layer, dead, error in (("a", 8, 1e-4), ("b", 4, 1.0)):
            for quantity, value in (
                (q.UNITS, 16),
                (q.ZERO_ACTIVATION_UNITS, dead),
                (q.SATURATED_UNITS, 0),
                (q.ERROR_ATTENUATION, error),
            ):
                recording.append(0, layer, quantity, 5, value)
        for path, moved in (("a/kernel", 1), ("b/kernel", 3), ("b/bias", 9)):
            recording.append(0, path, q.EPOCH_UPDATE_RMS, 5, moved)
            recording.append(0, path, q.EPOCH_WEIGHT_RMS, 5, 4)
        assert _numbers(recording)[0].values == {
            "dead_share": 0.5,
            "saturated_share": 0.0,
            "error_attenuation": 1e-4,
            "largest_update_ratio": 0.75,
        }

    def test_layers_are_given_if_asked_for(self, everything):
        few = [set(each.values) for each in _numbers(everything)]
        all_of_them = _numbers(everything, layers=True)
        assert max(map(len, few)) < 25
        assert not [name for names in few for name in names if "/" in name]
        for some, each in zip(few, all_of_them, strict=True):
            more = {name for name in each.values if name not in some}
            assert all(name.startswith("layers/") for name in more)
        names = set().union(*(each.values for each in all_of_them))
        assert "layers/gradient_rms/model.a.kernel" in names
        # No name is a folder in which another one lies.
        assert not [n for n in names for m in names if m.startswith(f"{n}/")]

    def test_runs_follow_each_other(self, everything):
        numbers = _numbers(everything)
        steps = [each.step for each in numbers]
        assert steps == sorted(steps)
