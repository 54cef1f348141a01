"""Every component in PyTorch's `DistributedDataParallel`, on 2 gloo processes.

    python on_torch.py PORT RANK FOLDER

The training loop is that of Keras' guide "Multi-GPU distributed training with
PyTorch". Prints a line of JSON for each: component, what came of it.
"""

import json
import os
import pathlib
import sys

import components
import keras
import numpy as np
import torch
import torch.distributed

import keras_concepts as kc

PORT, RANK, FOLDER = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
PROCESSES = 2


class Distributed(components.Job):
    def wrap(self, model):
        return torch.nn.parallel.DistributedDataParallel(model)


job = Distributed(process=RANK, processes=PROCESSES)


def batches(job):
    """This process's share of each global batch, in tensors."""
    x, y = map(job.own, components.data())
    size = components.BATCH // job.parts
    for start in range(0, len(x), size):
        part = slice(start, start + size)
        yield torch.tensor(x[part]), torch.tensor(y[part]).long()


def plain_model():
    """Without what takes statistics of each process's batch."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((components.FEATURES,)),
            keras.layers.Dense(8, "relu", name="hidden"),
            keras.layers.Dense(components.CLASSES, name="head"),
        ],
        name="model",
    )
    random = np.random.default_rng(1)
    for variable in model.weights:
        variable.assign(random.normal(size=variable.shape, scale=0.5))
    return model


def train(model, optimizer, batches):
    loss_of = torch.nn.CrossEntropyLoss()
    for x, y in batches:
        loss = loss_of(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


class KerasOptimizer:
    """A Keras optimizer behind the methods that the guide's loop calls."""

    def __init__(self, model):
        self.model = model
        self.optimizer = keras.optimizers.SGD(0.1, momentum=0.9)

    def zero_grad(self):
        self.model.zero_grad()

    def step(self):
        variables = self.model.trainable_variables
        with torch.no_grad():
            self.optimizer.apply(
                [variable.value.grad for variable in variables], variables
            )


def tapped(make_optimizer):
    def component(job):
        model = plain_model()
        optimizer = make_optimizer(model)
        trained = job.wrap(model)
        watched = getattr(optimizer, "optimizer", optimizer)
        with kc.instruments.GradientTap(watched, model=model) as tap:
            train(trained, optimizer, batches(job))
        samples = tap.read()
        weights = [w.value.detach().numpy() for w in model.weights]
        return {
            "applied": samples.applied,
            "values": samples.values,
            "global_norm": samples.global_norm,
            "peaks": np.concatenate([*samples.unit_peaks.values()]),
            **{f"weight {i}": weight for i, weight in enumerate(weights)},
        }

    return component


def metric(name):
    def component(job):
        [counted] = components.make_metrics([name])
        for x, y in batches(job):
            probabilities = torch.softmax(x[:, : components.CLASSES], 1)
            counted.update_state(y, probabilities)
        before = [np.array(v.value) for v in counted.variables]
        with kc.summed_over_processes(counted):
            result = counted.result()
        for old, variable in zip(before, counted.variables, strict=True):
            np.testing.assert_array_equal(old, variable.value)
        if not isinstance(result, dict):
            result = {"result": result}
        return {f"{key} {name}": np.asarray(x) for key, x in result.items()}

    return component


def layers(job):
    """Each process's layers have seen its share of each batch."""
    model = components.make_model()
    trained = job.wrap(model)
    for x, _ in batches(job):
        _ = trained(x, training=True)
    numbers = {}
    for name in ("norm", "probe"):
        statistics = model.get_layer(name).statistics()
        numbers |= statistics._asdict()
    return numbers


def beside(function):
    """What is done with the model inside the wrapper, on each process."""

    def component(job):
        model = components.make_model(dropout=0.5)
        wrapped = job.wrap(model)
        return function(getattr(wrapped, "module", wrapped))

    return component


def mc_predict(model):
    return kc.mc_predict(model, components.data()[0], 8, seed=1)._asdict()


def recalibrate_batch_norm(model):
    kc.recalibrate_batch_norm(model, components.data()[0], 16)
    return {"mean": model.get_layer("norm").moving_mean.numpy()}


def preflight(model):
    found = kc.preflight(model, *components.data())
    return {"findings": [each.rule for each in found]}


def signals(model):
    found = kc.instruments.forward_probe(model, *components.data())
    return {each.layer: each.error.numpy() for each in found.layers}


COMPONENTS = {
    "GradientTap, torch.optim.SGD": tapped(
        lambda model: torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    ),
    "GradientTap, torch.optim.Adam": tapped(
        lambda model: torch.optim.Adam(model.parameters(), 1e-3)
    ),
    "GradientTap, Keras optimizer": tapped(KerasOptimizer),
    **{name: metric(name) for name in components.METRICS},
    "layers": layers,
    "mc_predict": beside(mc_predict),
    "recalibrate_batch_norm": beside(recalibrate_batch_norm),
    "preflight": beside(preflight),
    "forward_probe": beside(signals),
}


def refusals():
    """The errors for the wrapper, which is not a Keras model."""
    wrapped = torch.nn.parallel.DistributedDataParallel(plain_model())
    x, y = components.data()
    optimizer = torch.optim.SGD(wrapped.parameters(), 0.1)
    for name, function in {
        "mc_predict": lambda: kc.mc_predict(wrapped, x),
        "recalibrate_batch_norm": lambda: kc.recalibrate_batch_norm(wrapped, x),
        "preflight": lambda: kc.preflight(wrapped, x, y),
        "check_masks": lambda: kc.check_masks(wrapped, x),
        "check_gradients": lambda: kc.check_gradients(wrapped, x),
        "forward_probe": lambda: kc.instruments.forward_probe(wrapped, x),
        "sparsity": lambda: kc.sparsity(wrapped),
        "strip_probes": lambda: kc.strip_probes(wrapped),
        "GradientTap": lambda: kc.instruments.GradientTap(
            optimizer, model=wrapped
        ),
    }.items():
        try:
            yield f"{name}(wrapper)", str(function())
        except TypeError as error:
            yield f"{name}(wrapper)", f"TypeError: {error}"


def uneven():
    """A process without a batch makes no sum, and no process waits for it."""
    [score] = components.make_metrics(["F1Score"])
    if RANK == 0:
        score.update_state([0, 1, 2], np.eye(3))
    try:
        with kc.summed_over_processes(score):
            return "summed"
    except ValueError as error:
        return str(error)


def written():
    """Which files there are after each process was told to write them."""
    monitors = [
        kc.callbacks.TrainingDoctor(
            record_to=FOLDER / "doctor.jsonl",
            report_to=FOLDER / "report.html",
            sink=lambda text: None,
        ),
        kc.callbacks.GradientMonitor(record_to=FOLDER / "gradients.jsonl"),
    ]
    if RANK == 1:  # it writes nothing, even where the others cannot
        for monitor in monitors:
            monitor.record_to = FOLDER / "other" / "recording.jsonl"
        monitors[0].report_to = FOLDER / "other.html"
    job.fit(components.make_model(), monitors)
    torch.distributed.barrier()
    return sorted(path.name for path in FOLDER.iterdir())


def say(*what):
    _ = sys.stdout.write(f"{json.dumps(what)}\n")
    sys.stdout.flush()


# Before there is a process group.
alone, share = (
    {name: components.run(each, job) for name, each in COMPONENTS.items()}
    for job in (
        components.Job(),
        components.Job(process=RANK, processes=PROCESSES),
    )
)
os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": PORT}
torch.distributed.init_process_group("gloo", rank=RANK, world_size=PROCESSES)
try:
    for name, function in COMPONENTS.items():
        found = components.run(function, job)
        say(name, components.compared(alone[name], found, share[name]))
    for name, text in refusals():
        say(name, text)
    say("uneven", uneven())
    say("written", written())
    torch.distributed.barrier()  # no process leaves before the others
finally:
    torch.distributed.destroy_process_group()
