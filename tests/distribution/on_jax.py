"""Every component on JAX: 4 devices of one process, or 2 processes with 2 each.

    python on_jax.py WAYS COMPONENTS                         4 devices
    python on_jax.py WAYS COMPONENTS ADDRESS NUMBER FOLDER   process of 2

WAYS of distribution and COMPONENTS are names with semicolons between them, or
"all". The environment holds KERAS_BACKEND and as many devices as that, by
`XLA_FLAGS=--xla_force_host_platform_device_count=4`. Prints a line of JSON for
each: distribution, component, what came of it, seconds.
"""

import json
import pathlib
import sys
import time

import components
import jax
import keras

import keras_concepts as kc

WAYS, NAMES, *RANK = sys.argv[1:]
if RANK:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # On processors, JAX runs what is under way on two devices in any order: two
    # sums over all processes may then wait for each other for ever.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    keras.distribution.initialize(RANK[0], 2, int(RANK[1]))


def model_parallel(*shape):
    """Shares of batches and of variables; `(1, 4)` has all of a batch."""
    mesh = keras.distribution.DeviceMesh(
        shape, ["batch", "model"], keras.distribution.list_devices()
    )
    layout = keras.distribution.LayoutMap(mesh)
    layout[".*hidden/kernel"] = (None, "model")
    layout[".*hidden/bias"] = ("model",)
    layout[".*inner/gamma"] = ("model",)
    layout[".*head/kernel"] = ("model", None)
    return keras.distribution.ModelParallel(
        layout_map=layout, batch_dim_name="batch"
    )


# Each with the number of shares that processes have of a batch.
distributions = {
    "DataParallel": (keras.distribution.DataParallel(), None),
    "ModelParallel 2 x 2": (model_parallel(2, 2), None),
}
if RANK:  # no process has a whole variable
    distributions["ModelParallel 1 x 4"] = (model_parallel(1, 4), 1)


def own_loop(job):
    """A custom loop with `GradientTap`, compiled for all devices."""
    model = components.make_model()
    optimizer = model.optimizer
    optimizer.build(model.trainable_variables)

    @jax.jit
    def step(values, state):
        return optimizer.stateless_apply(state, values, values)

    with kc.instruments.GradientTap(optimizer, model=model) as tap:
        _ = step(
            [variable.value for variable in model.trainable_variables],
            [variable.value for variable in optimizer.variables],
        )
    return {"values": tap.read().values}


def different(function):
    """Each process passes other arrays, which none of them may use."""

    def component(job):
        x, y = components.data()
        return function(x + job.process, y)

    return component


def report(*what):
    _ = sys.stdout.write(f"{json.dumps(what)}\n")
    sys.stdout.flush()


def written(job, folder):
    """Which files there are after each process was told to write them."""
    monitors = [
        kc.callbacks.TrainingDoctor(
            record_to=folder / "doctor.jsonl",
            report_to=folder / "report.html",
            sink=lambda text: None,
        ),
        kc.callbacks.GradientMonitor(record_to=folder / "gradients.jsonl"),
    ]
    if job.process:
        for monitor in monitors:
            monitor.record_to = folder / "other" / "recording.jsonl"
        monitors[0].report_to = folder / "other.html"
    job.fit(components.make_model(), monitors)
    # Both have written what they write.
    jax.experimental.multihost_utils.sync_global_devices("written")
    return sorted(path.name for path in folder.iterdir())


OTHERS = {
    "GradientTap": own_loop,
    "another probe": different(
        lambda *probe: components.Job().fit(
            components.make_model(), [kc.callbacks.SignalMonitor(probe)]
        )
    ),
    "mc_predict of others": different(
        lambda x, y: kc.mc_predict(components.make_model(dropout=0.5), x)
    ),
    "recalibrate_batch_norm of others": different(
        lambda x, y: kc.recalibrate_batch_norm(components.make_model(), x)
    ),
    "preflight of others": different(
        lambda x, y: kc.preflight(components.make_model(), x, y)
    ),
}
if WAYS != "all":
    distributions = {way: distributions[way] for way in WAYS.split(";")}
chosen = components.COMPONENTS
if NAMES != "all":
    chosen = {name: chosen[name] for name in NAMES.split(";")}
for component, function in chosen.items():
    alone = components.run(function, components.Job())
    for name, (distribution, parts) in distributions.items():
        distribution.auto_shard_dataset = False
        job = components.Job(
            distribution.scope,
            jax.process_index(),
            jax.process_count(),
            parts,
        )
        begin = time.time()
        found = components.run(function, job)
        came = components.compared(alone, found)
        seconds = round(time.time() - begin, 1)
        report(name, component, came, seconds)
if RANK:
    name, (distribution, parts) = [*distributions.items()][-1]
    job = components.Job(
        distribution.scope, jax.process_index(), jax.process_count(), parts
    )
    for component, function in OTHERS.items():
        report(name, component, str(components.run(function, job)), 0.0)
    with distribution.scope():
        report(name, "written", written(job, pathlib.Path(RANK[2])), 0.0)
