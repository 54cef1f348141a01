"""Runs every component under a strategy of TensorFlow, and prints a table.

    python on_tensorflow.py mirrored 2 FOLDER
    python on_tensorflow.py worker 0 FOLDER PORT PORT

Each row is `right` where the component gives what it gives on one device, or
`share` where it says that it measures shares of a batch, or what is wrong.
"""

import contextlib
import faulthandler
import io
import json
import os
import pathlib
import sys
import traceback

faulthandler.enable()
ENGINE, NUMBER, *REST = sys.argv[1:]
if ENGINE == "worker":
    workers = [f"127.0.0.1:{port}" for port in REST[1:]]
    os.environ["TF_CONFIG"] = json.dumps(
        {
            "cluster": {"worker": workers},
            "task": {"type": "worker", "index": int(NUMBER)},
        }
    )

import tensorflow as tf  # noqa: E402, after its environment is set

if ENGINE == "worker":
    ring = tf.distribute.experimental.CommunicationImplementation.RING
    # A server that is asked to, must be started before anything else.
    STRATEGY = tf.distribute.MultiWorkerMirroredStrategy(
        communication_options=tf.distribute.experimental.CommunicationOptions(
            implementation=ring
        )
    )
else:
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * int(NUMBER),
    )
    STRATEGY = tf.distribute.MirroredStrategy(
        [f"CPU:{i}" for i in range(int(NUMBER))]
    )

import keras  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

import keras_concepts as kc  # noqa: E402
from keras_concepts import callbacks  # noqa: E402
from keras_concepts.instruments import GradientTap  # noqa: E402

REPLICAS = STRATEGY.num_replicas_in_sync
BATCH = 16
random = np.random.default_rng(0)
X = random.normal(1.0, 2.0, size=(72, 6)).astype("float32")
Y = X[:, :3].argmax(axis=1).astype("int32")
# The last batch is smaller, but has a row for each replica.
assert len(X) % BATCH == 8
WEIGHTS = {
    "hidden": [random.normal(size=(6, 8), scale=0.4), np.zeros(8)],
    "head": [random.normal(size=(8, 3), scale=0.4), np.zeros(3)],
}


def work_around_keras():
    """Replaces two functions of Keras that fail in several processes.

    See keras-team/keras issue 20585.
    """
    from keras.src.backend.tensorflow import trainer

    def build(model, iterator=None, data_batch=None):
        with model.distribute_strategy.scope():
            model._symbolic_build(data_batch=(tf.zeros((8, 6)), tf.zeros(8)))

    def first(values, strategy, reduction):
        return keras.tree.map_structure(
            lambda v: (
                strategy.experimental_local_results(v)[0]
                if hasattr(v, "values")
                else v
            ),
            values,
        )

    trainer.TensorFlowTrainer._maybe_symbolic_build = build
    trainer.reduce_per_replica = first


def trained(
    watchers=(),
    *,
    inside=True,
    norm=keras.layers.BatchNormalization,
    synchronized=True,
    head="softmax",
    x=X,
    **options,
):
    """A model after two epochs, and what `fit` has logged."""
    keras.utils.set_random_seed(0)
    with STRATEGY.scope() if inside else contextlib.nullcontext():
        layers = [
            keras.Input((6,)),
            norm(synchronized=synchronized and inside, name="norm"),
            keras.layers.Dense(
                8, "relu", kernel_regularizer="l2", name="hidden"
            ),
            keras.layers.Dense(3, head, name="head"),
        ]
        if norm is not keras.layers.BatchNormalization:
            layers.insert(-1, kc.layers.ActivationProbe("relu", name="probe"))
        if not synchronized and inside:
            layers.insert(-1, keras.layers.Dropout(0.5))
        model = keras.Sequential(layers, name="model")
        for name, weights in WEIGHTS.items():
            model.get_layer(name).set_weights(weights)
        model.compile(
            keras.optimizers.SGD(0.1, momentum=0.9, **options),
            "sparse_categorical_crossentropy",
            metrics=[
                kc.metrics.F1Score("macro", name="f1"),
                kc.metrics.MatthewsCorrelation(name="mcc"),
                kc.metrics.CalibrationError(name="ece"),
            ],
        )
    history = model.fit(
        x,
        Y,
        batch_size=BATCH,
        epochs=2,
        shuffle=False,
        verbose=0,
        callbacks=list(watchers),
    )
    return model, history.history


# Replicas sum in another order, in float32, and the weights drift apart: after
# two epochs the predictions of four by 3e-4.
RTOL = 1e-4 if REPLICAS <= 2 else 1e-3


def same(a, b, **options):
    np.testing.assert_allclose(b, a, rtol=RTOL, atol=1e-6, **options)


def same_rows(alone, other, but=()):
    """Whether two recordings hold the same numbers."""
    names = [str(x) for x in alone.quantities if x not in but]
    others = [str(x) for x in other.quantities if x not in but]
    assert names == others, f"{names} {others}"
    for name in names:
        a, b = (each.select(quantity=name) for each in (alone, other))
        assert a.owner.tolist() == b.owner.tolist(), name
        assert a.step.tolist() == b.step.tolist(), name
        assert a.index.tolist() == b.index.tolist(), name
        same(a.value, b.value, err_msg=name)


def weights_of(model):
    return [
        keras.ops.convert_to_numpy(weight)
        for layer in model.layers
        if layer.name != "probe"
        for weight in layer.weights
    ]


def monitors(record_to=None):
    return [
        callbacks.GradientMonitor(record_to=record_to),
        callbacks.PenaltyReporter(record_to=record_to),
        callbacks.BatchNormShiftMonitor((X, Y)),
        callbacks.SignalMonitor((X, Y), training=False),
        callbacks.NonFiniteGuard(sink=lambda text: None),
    ]


class Components:
    """One method for each row of the table; it gives what to print."""

    def __init__(self, folder):
        self.folder = folder
        norm = self.norm = kc.layers.MonitoredBatchNormalization
        self.file = str(folder / "recording.jsonl")
        self.alone = monitors()
        self.model, self.logs = trained(self.alone, inside=False, norm=norm)
        self.watchers = monitors(self.file)
        self.other, self.other_logs = trained(self.watchers, norm=norm)

    def metrics(self):
        for name in ("f1", "mcc"):  # of counts
            assert self.logs[name] == self.other_logs[name], name
        for name in ("loss", "ece"):
            same(self.logs[name], self.other_logs[name])
        return "right"

    def _monitor(self, number):
        alone, other = (
            each[number].recording for each in (self.alone, self.watchers)
        )
        assert other.facts["replicas"] == REPLICAS
        assert other.facts["shares"] == []
        but = ("log", "learning_rate")  # which the first monitor records
        same_rows(alone.select(), other.select(), but=but)
        return "right"

    def gradient_monitor(self):
        """Before clipping, which Keras does to each share of a gradient."""
        clipped = callbacks.GradientMonitor()
        _ = trained([clipped], norm=self.norm, clipnorm=0.01)
        for name in ("gradient_norm", "gradient_rms", "gradient_max"):
            a, b = (
                each.recording.select(quantity=name, epoch=0)
                for each in (self.alone[0], clipped)
            )
            same(a.value[a.step == 0], b.value[b.step == 0], err_msg=name)
        return self._monitor(0)

    def gradient_tap(self):
        """In a custom loop."""
        with STRATEGY.scope():
            optimizer = keras.optimizers.SGD()
        tap = GradientTap(optimizer, model=self.other)
        with pytest.raises(ValueError, match=f"of {REPLICAS} replicas"), tap:
            pass
        return "refused"

    def penalty_reporter(self):
        return self._monitor(1)

    def batch_norm_shift_monitor_synchronized(self):
        return self._monitor(2)

    def signal_monitor(self):
        return self._monitor(3)

    def non_finite_guard(self):
        """A NaN in the share of the last replica, seen in its second step."""
        x = X.copy()
        x[2 * BATCH - 1, 2] = np.nan
        guard = callbacks.NonFiniteGuard(sink=lambda text: None)
        _ = trained([guard], x=x, synchronized=False)
        found = guard.found
        assert (found.step, found.kind, found.layer) == (1, "input", "x")
        assert "1 NaN and 0 infinite in the inputs x" in found.message
        return self._monitor(4)

    def non_finite_guard_before_update(self):
        x = X.copy()
        x[2 * BATCH - 1, 2] = np.nan
        guard = callbacks.NonFiniteGuard(
            before_update=True, sink=lambda text: None
        )
        model, _ = trained([guard], x=x, synchronized=False)
        assert guard.found.step == 1
        assert all(np.isfinite(w).all() for w in weights_of(model))
        # The optimizer's count too: the first step is all that is left.
        steps = keras.ops.convert_to_numpy(model.optimizer.iterations)
        assert steps == 1
        return "right"

    def batch_norm_shift_monitor(self):
        monitor = callbacks.BatchNormShiftMonitor(every=5)
        model, _ = trained([monitor], synchronized=False)
        layer = model.get_layer("norm")
        rows = monitor.recording
        assert rows.facts["shares"] == [layer.path]
        [epoch, _] = sorted({each.epoch for each in rows.select(layer.path)})
        found = rows.select(layer.path, "mean_shift", epoch=epoch)
        same(self._shift_of_shares(X[:BATCH]), found.value)
        text = io.StringIO()
        from rich.console import Console

        monitor.summary(Console(file=text, width=200))
        assert f"the shares of {REPLICAS} replicas" in text.getvalue()
        return "share"

    def _shift_of_shares(self, batch):
        """Shift of the initial moving statistics, 0 and 1."""
        shares = np.split(batch.astype("float64"), REPLICAS)
        return np.mean(
            [-x.mean(axis=0) / np.sqrt(x.var(axis=0) + 1e-3) for x in shares],
            axis=0,
        )

    def monitored_batch_normalization_synchronized(self):
        a, b = (
            each.get_layer("norm").statistics()
            for each in (self.model, self.other)
        )
        assert a.batches == b.batches == 10
        same(a.mean_shift, b.mean_shift)
        same(a.log_variance_ratio, b.log_variance_ratio)
        return "right"

    def activation_probe(self):
        a, b = (
            each.get_layer("probe").statistics()
            for each in (self.model, self.other)
        )
        if ENGINE == "worker":
            assert (b.entries * 2 == a.entries).all()
            return "share"
        for name in a._fields:
            same(getattr(a, name), getattr(b, name), err_msg=name)
        path = str(self.folder / "model.keras")
        self.other.save(path)
        for scope in (contextlib.nullcontext(), STRATEGY.scope()):
            with scope:
                loaded = keras.saving.load_model(path)
            entries = loaded.get_layer("probe").statistics().entries
            assert (entries == a.entries).all()
        return "right"

    def weights(self):
        """To the last bit the same as without anything that measures."""
        plain, logs = trained()
        for a, b in zip(weights_of(plain), weights_of(self.other), strict=True):
            np.testing.assert_array_equal(a, b)
        for name in ("loss", "f1", "mcc", "ece"):
            assert logs[name] == self.other_logs[name], name
        return "right"

    def training_doctor(self):
        found = []
        path = self.folder / f"report-{NUMBER}.html"
        for inside in (False, True):
            doctor = callbacks.TrainingDoctor(
                time_budget=None,
                sink=lambda text: None,
                report_to=path if inside else None,
            )
            # Logits for a loss that takes probabilities: it must find that.
            _ = trained([doctor], inside=inside, head="linear")
            found.append(doctor)
        alone, other = found
        names = [[f"{x.rule} {x.owner}" for x in d.findings] for d in found]
        assert names[0] == names[1] != [], names
        shares = [x for x in other.unchecked if "the other processes" in x]
        assert len(shares) == (ENGINE == "worker")
        assert alone.unchecked == [
            x for x in other.unchecked if x not in shares
        ]
        assert alone.checked == other.checked
        but = ("log", "seconds")
        same_rows(alone.recording.select(), other.recording.select(), but=but)
        is_main = ENGINE != "worker" or NUMBER == "0"
        assert path.exists() == is_main
        return "right"

    def watch(self):
        found = []
        for inside in (False, True):
            with kc.watch(on_finding=lambda finding: None) as seen:
                _ = trained(inside=inside, head="linear")
            found.append({f"{x.rule} {x.owner}" for x in seen.findings})
            if ENGINE == "worker" and inside:
                text = " ".join(seen.doctors[-1].unchecked)
                assert "must run the same steps" in text
                assert "the data of the other processes" in text
        assert found[0] == found[1] != set(), found
        return "right"

    def preflight(self):
        found = []
        for scope in (contextlib.nullcontext(), STRATEGY.scope()):
            with scope:
                model = keras.Sequential(
                    [keras.Input((6,)), keras.layers.Dense(3)]
                )
                model.layers[0].set_weights([np.ones((6, 3)), np.zeros(3)])
                model.compile("sgd", "sparse_categorical_crossentropy")
                findings = kc.preflight(model, X, Y)
            found.append([f"{x.rule} {x.evidence}" for x in findings])
        assert found[0] == found[1] != []
        return "right"

    def mc_predict(self):
        found = []
        for scope in (contextlib.nullcontext(), STRATEGY.scope()):
            with scope:
                model = keras.Sequential(
                    [
                        keras.Input((6,)),
                        keras.layers.Dropout(0.5, seed=1),
                        keras.layers.Dense(3, "softmax"),
                    ]
                )
                model.layers[-1].set_weights([np.eye(6)[:, :3], np.zeros(3)])
                found.append(kc.mc_predict(model, X, samples=4, seed=1))
        for a, b in zip(*found, strict=True):
            same(a, b)
        return "right"

    def recalibrate_batch_norm(self):
        kc.recalibrate_batch_norm(self.other, X, BATCH)
        norm = self.other.get_layer("norm")
        mean, variance = (
            keras.ops.convert_to_numpy(each)
            for each in (norm.moving_mean, norm.moving_variance)
        )
        same(X.mean(axis=0), mean)
        same(X.var(axis=0), variance)
        return "right"

    def files(self):
        """Written by one process, each row once."""
        rows = kc.Recording.load(self.file)
        [run] = rows.runs
        assert len(run.monitors) == 2
        norms = rows.select("", "gradient_norm")
        assert len(norms.step) == len(set(norms.step))
        own = self.watchers[0].recording.select("", "gradient_norm")
        assert norms.step.tolist() == own.step.tolist()
        return "right"


def rows(components):
    """What each method of `components` gives, or why it failed."""
    for name in vars(Components):
        if name.startswith("_"):
            continue
        try:
            yield name, getattr(components, name)()
        except Exception as error:
            traceback.print_exc()
            said = " ".join(str(error).split())[:200]
            yield name, f"wrong: {type(error).__name__}: {said}"


def fit_as_keras_does():
    """How `fit` fails in several processes, with a monitor and without."""
    for watchers in ([], [callbacks.GradientMonitor()]):
        try:
            _ = trained(watchers)
        except Exception as error:
            yield type(error).__name__
        else:
            yield "nothing"


def main():
    folder = pathlib.Path(REST[0])
    if ENGINE == "worker":
        plain, watched = fit_as_keras_does()
        assert plain == watched
        sys.stderr.write(f"`fit` of Keras alone: {plain}\n")
        work_around_keras()
    for name, what in rows(Components(folder)):
        sys.stdout.write(f"{name}: {what}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
    # The threads of the server would keep the process.
    os._exit(0)
