"""Every component on JAX: 4 devices of one process, or 2 processes with 2 each.

    python on_jax.py COMPONENTS                    4 devices
    python on_jax.py COMPONENTS ADDRESS NUMBER     process NUMBER of 2

COMPONENTS are names with semicolons between them, or "all". Needs in the
environment KERAS_BACKEND and as many devices as that
(`XLA_FLAGS=--xla_force_host_platform_device_count=4`). Prints a line of JSON for
each: distribution, component, what came of it, seconds.
"""

import json
import sys
import time

import components
import jax
import keras

NAMES, *RANK = sys.argv[1:]
if RANK:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
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
        line = json.dumps([name, component, came, seconds])
        _ = sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
