"""Every component, on one device and distributed, for the scripts beside it.

A component is a function from a `Job` to numbers by name. `table` runs each in
both ways and gives a row for each: `right`, or what is wrong, or the sentence
with which it was refused.
"""

import contextlib
import os
import traceback
import warnings

import keras
import numpy as np

import keras_concepts as kc

ROWS, FEATURES, CLASSES, BATCH, EPOCHS = 64, 12, 3, 16, 2
# Devices sum in another order, in float32.
TOLERANCE = 1e-4


class Job:
    """Where components run.

    Args:
        scope: Gives the context in which models are made and trained.
        process: Number of this process.
        processes: How many run the same program.
        data_parts: Into how many shares the processes divide a batch.
    """

    def __init__(
        self,
        scope=contextlib.nullcontext,
        process=0,
        processes=1,
        data_parts=None,
    ):
        self.scope = scope
        self.process = process
        self.processes = processes
        self.parts = processes if data_parts is None else data_parts

    def wrap(self, model):
        """What trains the model."""
        return model

    def own(self, array):
        """Of each global batch the rows that this process gives to `fit`."""
        part = self.process * self.parts // self.processes
        shape = array.shape[1:]
        batches = array.reshape(-1, self.parts, BATCH // self.parts, *shape)
        return np.ascontiguousarray(batches[:, part]).reshape(-1, *shape)

    def fit(self, model, callbacks=(), x=None, y=None, **options):
        all_x, all_y = data()
        return model.fit(
            self.own(all_x if x is None else x),
            self.own(all_y if y is None else y),
            batch_size=BATCH // self.parts,
            epochs=EPOCHS,
            shuffle=False,
            verbose=0,
            callbacks=list(callbacks),
            **options,
        )


def data():
    """Rows of three classes, of which a linear model learns a part."""
    random = np.random.default_rng(0)
    x = random.normal(1.0, 2.0, size=(ROWS, FEATURES)).astype("float32")
    return x, x[:, :CLASSES].argmax(axis=1).astype("int32")


def make_model(metrics=(), dropout=0.0, head="softmax", rate=0.1):
    """With the layers of the package, and the same weights everywhere."""
    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((FEATURES,)),
        kc.layers.MonitoredBatchNormalization(name="norm"),
        keras.layers.Dense(
            8,
            "relu",
            kernel_regularizer=kc.regularizers.L2(0.01),
            name="hidden",
        ),
        kc.layers.ActivationProbe("relu", name="probe"),
        kc.layers.MonitoredBatchNormalization(name="inner"),
        keras.layers.Dense(CLASSES, head, name="head"),
    ]
    if dropout:
        drop = kc.layers.MonteCarloDropout(dropout, seed=1, name="dropout")
        layers.insert(-1, drop)
    made = keras.Sequential(layers, name="model")
    random = np.random.default_rng(1)
    for name in ("hidden", "head"):
        for weight in made.get_layer(name).weights:
            weight.assign(random.normal(size=weight.shape, scale=0.5))
    made.compile(
        keras.optimizers.SGD(rate, momentum=0.9),
        "sparse_categorical_crossentropy",
        metrics=list(metrics),
    )
    return made


def recorded(recording, *, but=()):
    """What monitors recorded, an array of each owner and quantity."""
    numbers = {}
    for rows in recording:
        name = f"{rows.owner} {rows.quantity}".strip()
        if rows.quantity not in but:
            numbers.setdefault(name, []).append(
                np.stack([rows.steps, rows.index, rows.values])
            )
    return {name: np.hstack(each) for name, each in numbers.items()}


def _findings(findings):
    return {"findings": [f"{each.rule} {each.owner}" for each in findings]}


METRICS = {
    "F1Score": {"average": "macro"},
    "FBetaScore": {"average": "weighted", "beta": 2.0},
    "Precision": {"average": "macro"},
    "Recall": {"average": "micro"},
    "ClassificationReport": {},
    "ConfusionMatrix": {},
    "MatthewsCorrelation": {},
    "CohenKappa": {},
    "BalancedAccuracy": {},
    "CalibrationError": {},
    "BrierScore": {},
    "BestThresholdFBeta": {"class_id": 1},
}
# Of counts; that of sums of probabilities is the same but for rounding.
EXACT = tuple(METRICS.keys() - {"CalibrationError", "BrierScore"})


def make_metrics(names):
    return [
        getattr(kc.metrics, name)(name=name, **METRICS[name]) for name in names
    ]


def _scored(*names):
    """Metrics in `fit` and in `evaluate`."""

    def component(job):
        model = make_model(make_metrics(names))
        numbers = {"fit": job.fit(model).history}
        x, y = map(job.own, data())
        numbers["evaluate"] = model.evaluate(
            x, y, BATCH // job.parts, verbose=0, return_dict=True
        )
        return {
            f"{where} {name}": np.asarray(value)
            for where, values in numbers.items()
            for name, value in values.items()
        }

    return component


def _watched(monitor):
    def component(job):
        made = monitor()
        job.fit(make_model(), [made])
        return recorded(made.recording)

    return component


def together(job):
    """Everything that one `fit` can have."""
    monitors = [
        kc.callbacks.GradientMonitor(),
        kc.callbacks.SignalMonitor(data()),
        kc.callbacks.PenaltyReporter(),
        kc.callbacks.BatchNormShiftMonitor(data()),
        kc.callbacks.NonFiniteGuard(),
    ]
    model = make_model(make_metrics(["F1Score"]))
    history = job.fit(model, monitors).history
    numbers = {f"fit {name}": np.asarray(x) for name, x in history.items()}
    for monitor in monitors:
        name = type(monitor).__name__
        numbers |= {
            f"{name} {key}": value
            for key, value in recorded(monitor.recording).items()
        }
    return numbers | {
        f"weight {i}": keras.ops.convert_to_numpy(probe)
        for i, probe in enumerate(model.get_layer("norm").weights)
    }


def layers(job):
    """What `MonitoredBatchNormalization` and `ActivationProbe` measure."""
    model = make_model()
    job.fit(model)
    numbers = {}
    for name in ("norm", "probe", "inner"):
        for field, value in (
            model.get_layer(name).statistics()._asdict().items()
        ):
            numbers[f"{name} {field}"] = np.asarray(value)
    return numbers


def doctor(job):
    seen = kc.callbacks.TrainingDoctor(
        data(), time_budget=None, sink=lambda text: None
    )
    # A fault: outputs of several sigmoids, which are no distribution.
    job.fit(make_model(head="sigmoid"), [seen])
    return {**recorded(seen.recording), **_findings(seen.findings)}


def watch(job):
    """With a probe that it takes from the data, from all processes."""
    with kc.watch(on_finding=lambda finding: None, time_budget=None) as seen:
        job.fit(make_model(head="sigmoid"))
    return {**recorded(seen.recording), **_findings(seen.findings)}


def doctor_in_time(job):
    """The processes do the same, regardless of their clocks."""
    seen = kc.callbacks.TrainingDoctor(sink=lambda text: None)
    job.fit(make_model(head="sigmoid"), [seen])
    return _findings(seen.findings)


def mc_predict(job):
    model = make_model(dropout=0.5)
    prediction = kc.mc_predict(model, data()[0], samples=8, seed=1)
    return prediction._asdict()


def recalibrate_batch_norm(job):
    model = make_model()
    kc.recalibrate_batch_norm(model, data()[0], 16)
    return {
        f"{layer} {name}": keras.ops.convert_to_numpy(
            getattr(model.get_layer(layer), name)
        )
        for layer in ("norm", "inner")
        for name in ("moving_mean", "moving_variance")
    }


def preflight(job):
    found = kc.preflight(make_model(head=None), *data())
    return {**_findings(found), "unchecked": found.unchecked}


COMPONENTS = {
    "together": together,
    "metrics": _scored(*METRICS),
    "F1Score": _scored("F1Score"),
    "GradientMonitor": _watched(kc.callbacks.GradientMonitor),
    "SignalMonitor": _watched(lambda: kc.callbacks.SignalMonitor(data())),
    "PenaltyReporter": _watched(kc.callbacks.PenaltyReporter),
    "BatchNormShiftMonitor": _watched(
        lambda: kc.callbacks.BatchNormShiftMonitor(data())
    ),
    "NonFiniteGuard": _watched(kc.callbacks.NonFiniteGuard),
    "TrainingDoctor": doctor,
    "watch": watch,
    "TrainingDoctor, time_budget": doctor_in_time,
    "layers": layers,
    "mc_predict": mc_predict,
    "recalibrate_batch_norm": recalibrate_batch_norm,
    "preflight": preflight,
}


def differences(alone, other):
    """Which numbers differ, one sentence for each."""
    if alone.keys() != other.keys():
        yield f"only one has {sorted(alone.keys() ^ other.keys())}"
    for name in alone.keys() & other.keys():
        a, b = alone[name], other[name]
        if isinstance(a, list):
            if a != b:
                yield f"{name}: {a} and {b}"
            continue
        a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
        if name.split()[-1].startswith(EXACT) and not np.array_equal(a, b):
            yield f"{name}: {a} and {b}"
        if a.shape != b.shape:
            yield f"{name}: shapes {a.shape} and {b.shape}"
        elif not np.allclose(a, b, rtol=TOLERANCE, atol=1e-6, equal_nan=True):
            worst = np.nanargmax(np.abs(a - b) / (np.abs(a) + 1e-6))
            yield f"{name}: {a.flat[worst]:.7g} and {b.flat[worst]:.7g}"


def run(component, job):
    """Numbers by name, or the sentence with which it was refused."""
    with warnings.catch_warnings(), job.scope():
        warnings.simplefilter("ignore")
        try:
            return component(job)
        except Exception as error:
            if os.environ.get("SHOW"):
                traceback.print_exc()
            return f"{type(error).__name__}: {error}"


def compared(alone, found, share=None):
    """`right`, or what differs, or the sentence of the refusal.

    Args:
        alone: Numbers of one device.
        found: Those to be judged.
        share: Those of one device that was given the rows of this process only.
    """
    if isinstance(alone, str):
        return f"ALONE {alone}"
    if isinstance(found, str):
        return found
    wrong = sorted(differences(alone, found))
    if wrong and share is not None and not [*differences(share, found)]:
        return "share"
    return f"WRONG {'; '.join(wrong)}" if wrong else "right"
