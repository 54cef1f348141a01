"""What watching gradients costs: whole epochs of `fit`, with and without.

    KERAS_BACKEND=jax python benchmarks/gradient_overhead.py [--quick]

In one process, each epoch of a watched `fit` is followed by an epoch of a plain
one, and compared with the plain epochs before and after it. So load from
elsewhere on the machine hits both, and nothing is compiled inside what is
compared: the first epoch of each `fit` is reported apart. The row "plain again"
is not watched: it shows the noise, and no other row can be read more finely
than that.

Processor time stands beside the clock, since it does not count the waiting for
a core that others use.
"""

import argparse
import ctypes
import gc
import importlib.util
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

TARGET = 0.05
NAMES = {
    "mlp": "fully connected, 0.8 million weights",
    "cnn": "convolutional",
    "gru": "embedding and GRU",
}
WAYS = {
    "every step": "every step measured",
    "recompute": "gradients computed again in a callback",
}


def limit_threads(count: int) -> None:
    """Fixes the cores used, before a backend is imported and counts them."""
    os.environ["OMP_NUM_THREADS"] = str(count)
    os.environ["MKL_NUM_THREADS"] = str(count)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-count:])


def keep_freed_memory() -> None:
    """Stops glibc from giving memory back to the system after each step.

    Whether it does depends on how blocks happen to lie.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        mmap_threshold, trim_threshold = -3, -1
        libc.mallopt(mmap_threshold, 2**25)
        libc.mallopt(trim_threshold, 2**30)


def flush_denormals() -> None:
    """Lets torch flush denormal numbers to zero, as TensorFlow and JAX do.

    Adam's moments of dead units get there after some hundred steps, and each
    step then takes twice as long.
    """
    if BACKEND == "torch":
        import torch

        torch.set_flush_denormal(True)


def parse_arguments(
    doc: str | None = __doc__, models: Sequence[str] = ("mlp", "cnn", "gru")
) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(doc or "").split("\n")[0])
    parser.add_argument("--rounds", type=int, help="timed epochs of each run")
    if models:
        parser.add_argument("--models", nargs="+", choices=models)
    parser.add_argument("--steps", type=int, help="steps of an epoch")
    parser.add_argument("--quick", action="store_true", help="small and short")
    parser.add_argument("--threads", type=int, default=1, help="cores to use")
    parser.add_argument("--keep", action="store_true", help="see results/")
    return parser.parse_args()


if __name__ == "__main__":
    limit_threads(parse_arguments().threads)
    keep_freed_memory()

import keras
import numpy as np
from keras import layers
from results import Cells, keep
from rich.console import Console
from rich.table import Table

from keras_concepts.callbacks import GradientMonitor

BACKEND = keras.backend.backend()


class Case(NamedTuple):
    """A model and the data of one epoch."""

    build: Callable[[], list[Any]]
    inputs: Callable[[np.random.Generator, int], np.ndarray]
    classes: int
    steps: int
    batch_size: int


def mlp() -> list[Any]:
    widths = [512, 512, 256]
    return [
        keras.Input((784,)),
        *[layers.Dense(width, "relu") for width in widths],
        layers.Dense(10, "softmax"),
    ]


def cnn() -> list[Any]:
    return [
        keras.Input((28, 28, 1)),
        layers.Conv2D(8, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(16, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(64, "relu"),
        layers.Dense(10, "softmax"),
    ]


def gru() -> list[Any]:
    return [
        keras.Input((LENGTH,), dtype="int32"),
        layers.Embedding(10_000, 64),
        layers.GRU(64),
        layers.Dense(2, "softmax"),
    ]


def _images(*shape: int) -> Callable[[np.random.Generator, int], np.ndarray]:
    return lambda random, n: random.random((n, *shape), np.float32)


def _words(length: int) -> Callable[[np.random.Generator, int], np.ndarray]:
    # Words as frequent as in a text: a few come again and again.
    return lambda random, n: (
        np.minimum(random.zipf(1.2, (n, length)), 10_000) - 1
    ).astype("int32")


# Without a compiler, a recurrent layer runs its steps one by one.
LENGTH = {"torch": 20, "tensorflow": 40}.get(BACKEND, 60)

# Epochs are as long as in real training runs (MNIST: 469 batches of 128), since
# the monitor measures a number of steps per epoch, not a share of them.
CASES = {
    "mlp": Case(mlp, _images(784), 10, 469, 128),
    "cnn": Case(cnn, _images(28, 28, 1), 10, 300, 64),
    "gru": Case(gru, _words(LENGTH), 2, 250, 32),
}


class RecomputeGradients(keras.callbacks.Callback):
    """The usual way to do it oneself: differentiate each batch once more."""

    def __init__(self, x: np.ndarray, y: np.ndarray, batch_size: int) -> None:
        super().__init__()
        self.x, self.y, self.batch_size = x, y, batch_size
        self.norms: list[np.ndarray] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self._pending: list[Any] = []
        self._gradient_norms = gradient_norms_function(self.model)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        part = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
        self._pending.append(self._gradient_norms(self.x[part], self.y[part]))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        norms = [keras.ops.convert_to_numpy(row) for row in self._pending]
        self.norms.append(np.stack(norms))
        self._pending.clear()


def gradient_norms_function(model: Any) -> Callable[..., Any]:
    """The norm of each variable's gradient, compiled where that is usual."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        @tf.function(jit_compile=model.jit_compile)
        def gradient_norms(x: Any, y: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = model.loss(y, model(x, training=True))
            gradients = tape.gradient(loss, model.trainable_variables)
            return tf.stack([tf.norm(g) for g in gradients])

        return gradient_norms

    if BACKEND == "jax":
        import jax
        import jax.numpy as jnp

        def loss_of(variables: Any, others: Any, x: Any, y: Any) -> Any:
            predicted, _ = model.stateless_call(
                variables, others, x, training=True
            )
            return model.loss(y, predicted)

        @jax.jit
        def norms_of(variables: Any, others: Any, x: Any, y: Any) -> Any:
            gradients = jax.grad(loss_of)(variables, others, x, y)
            return jnp.stack([jnp.linalg.norm(g.ravel()) for g in gradients])

        def gradient_norms(x: Any, y: Any) -> Any:
            model.jax_state_sync()
            return norms_of(
                [v.value for v in model.trainable_variables],
                [v.value for v in model.non_trainable_variables],
                x,
                y,
            )

        return gradient_norms

    import torch

    def gradient_norms(x: Any, y: Any) -> Any:
        loss = model.loss(torch.from_numpy(y), model(x, training=True))
        variables = [v.value for v in model.trainable_variables]
        gradients = torch.autograd.grad(loss, variables)
        return torch.stack([torch.linalg.norm(g) for g in gradients])

    return gradient_norms


def has_tensorboard_callback() -> bool:
    """`keras.callbacks.TensorBoard` needs both packages."""
    needed = ("tensorflow", "tensorboard")
    return all(importlib.util.find_spec(name) for name in needed)


def variants(
    x: np.ndarray, y: np.ndarray, batch_size: int, folder: str
) -> dict[str, list[Any]]:
    """The callbacks of each way of watching."""
    ways = {
        "plain again": [],
        "monitor": [GradientMonitor()],
        "every step": [GradientMonitor(max_samples=None)],
        "recompute": [RecomputeGradients(x, y, batch_size)],
    }
    if has_tensorboard_callback():
        ways["TensorBoard"] = [
            keras.callbacks.TensorBoard(folder, histogram_freq=1)
        ]
    return ways


class Stopwatch:
    """Seconds on the clock and of the processor, epoch by epoch.

    Args:
        between: Called after each epoch, and not timed.
    """

    def __init__(self, between: Callable[[], Any] = lambda: None) -> None:
        self.seconds: list[np.ndarray] = []
        self._between = between

    def around(self, callbacks: list[Any]) -> list[Any]:
        """The callbacks, with what they do in an epoch inside its time."""
        return [
            keras.callbacks.LambdaCallback(on_epoch_begin=self._begin),
            *callbacks,
            keras.callbacks.LambdaCallback(on_epoch_end=self._end),
        ]

    def _begin(self, epoch: int, logs: Any = None) -> None:
        gc.collect()
        self._start = self._now()

    def _end(self, epoch: int, logs: Any = None) -> None:
        self.seconds.append(self._now() - self._start)
        self._between()

    @staticmethod
    def _now() -> np.ndarray:
        return np.array([time.perf_counter(), time.process_time()])


class Result(NamedTuple):
    """How long the epochs of one way of watching took.

    Attributes:
        first: Seconds of the epoch that compiled.
        seconds: Of the others, `(epochs, 2)`: clock and processor.
        ratios: To the plain epochs before and after, `(epochs, 2)`.
    """

    first: float
    seconds: np.ndarray
    ratios: np.ndarray


def compiled_model(case: Case) -> Any:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(case.build())
    model.compile(
        "adam",
        keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
    )
    return model


def data_arguments(
    x: np.ndarray, y: np.ndarray, batch_size: int
) -> dict[str, Any]:
    """Arguments for `fit`."""
    if BACKEND != "tensorflow":
        return {"x": x, "y": y, "batch_size": batch_size}
    import tensorflow as tf

    # Autotuning makes each new epoch wait for a thread that sleeps, up to
    # seconds if other epochs came in between.
    options = tf.data.Options()
    options.autotune.enabled = False
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size)
    return {"x": batches.with_options(options)}


def measure(case: Case, rounds: int) -> dict[str, Result]:
    """Times each way of watching against plain epochs before and after it."""
    random = np.random.default_rng(0)
    count = case.steps * case.batch_size
    x = case.inputs(random, count)
    y = random.integers(0, case.classes, count)
    data = data_arguments(x, y, case.batch_size)

    results = {}
    plain_seconds, plain_first = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, callbacks in variants(x, y, case.batch_size, folder).items():
            again = name in ("plain again", "monitor")
            plain, watched = side_by_side(
                case, data, callbacks, rounds if again else max(1, rounds // 3)
            )
            results[name] = Result(
                watched[0, 0],
                watched[1:],
                watched[1:] / ((plain[1:-1] + plain[2:]) / 2),
            )
            plain_first.append(plain[0, 0])
            plain_seconds.append(plain[1:])
    plain = np.concatenate(plain_seconds)
    return {
        "plain": Result(float(np.mean(plain_first)), plain, plain / plain),
        **results,
    }


def side_by_side(
    case: Case, data: dict[str, Any], callbacks: list[Any], rounds: int
) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of the epochs of two training runs that take turns.

    Both start from the same weights and so are at the same ones all the way.

    Returns:
        A row of `Stopwatch.seconds` for each of `2 + rounds` plain epochs and
        of the `1 + rounds` watched ones between them.
    """
    plain = Stopwatch()
    plain_model = compiled_model(case)

    # A second `fit` of a model reuses what the first one compiled.
    def plain_epoch() -> None:
        plain_model.fit(
            **data, shuffle=False, verbose=0, callbacks=plain.around([])
        )

    plain_epoch()
    watched = Stopwatch(between=plain_epoch)
    compiled_model(case).fit(
        **data,
        epochs=1 + rounds,
        shuffle=False,
        verbose=0,
        callbacks=watched.around(callbacks),
    )
    return np.array(plain.seconds), np.array(watched.seconds)


def spread(ratios: np.ndarray) -> str:
    """Median and, in brackets, smallest and largest."""
    return rf"{np.median(ratios):.3f} \[{ratios.min():.2f}, {ratios.max():.2f}]"


def add_rows(table: Table, model: str, results: dict[str, Result]) -> None:
    for name, result in results.items():
        median = np.median(result.seconds[:, 0])
        plain = name == "plain"
        table.add_row(
            model,
            name,
            str(len(result.seconds)),
            f"{1e3 * median:.0f}",
            "1" if plain else spread(result.ratios[:, 0]),
            "1" if plain else spread(result.ratios[:, 1]),
            f"{result.first - median:.1f}",
        )
    table.add_section()


def cells(name: str, results: dict[str, Result]) -> Cells:
    """What docs/cost.md shows of a model: ratios of the clock."""
    ratio = {way: np.median(r.ratios[:, 0]) for way, r in results.items()}
    shown = {
        NAMES[name]: f"{ratio['monitor']:.2f} ({ratio['plain again']:.2f})"
    }
    if name == "mlp":
        for way, words in WAYS.items():
            shown[f"{NAMES[name]}, {words}"] = f"{ratio[way]:.2f}"
    return {row: {BACKEND: text} for row, text in shown.items()}


def verdict(model: str, ratios: np.ndarray) -> str:
    low, cost, high = np.quantile(ratios[:, 0] - 1, [0.25, 0.5, 0.75])
    if low <= TARGET < high:
        word = "undecided"
    else:
        word = "within" if cost <= TARGET else "above"
    return (
        f"{model} {cost:+.1%} (quartiles {low:+.1%}, {high:+.1%}; processor "
        f"{np.median(ratios[:, 1]) - 1:+.1%}): {word}"
    )


def print_facts(console: Console, threads: int) -> None:
    versions = [f"Keras {keras.version()}"]
    for name in (BACKEND, "numpy"):
        versions.append(f"{name} {sys.modules[name].__version__}")
    console.print(
        f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, "
        f"{threads} of them used, load {os.getloadavg()[0]:.1f}, "
        f"Python {platform.python_version()}, {', '.join(versions)}"
    )


def main(arguments: argparse.Namespace) -> None:
    flush_denormals()
    models = arguments.models or (["mlp"] if arguments.quick else list(CASES))
    rounds = arguments.rounds or (1 if arguments.quick else 3)
    started = time.perf_counter()

    console = Console(width=100)
    print_facts(console, arguments.threads)
    table = Table("model", "watched by", title=f"fit on {BACKEND}")
    for header in ("epochs", "ms an epoch", "clock", "processor", "1st, +s"):
        table.add_column(header, justify="right")
    verdicts = []
    for name in models:
        case = CASES[name]
        if arguments.quick:
            case = case._replace(steps=40, batch_size=32)
        if arguments.steps:
            case = case._replace(steps=arguments.steps)
        results = measure(case, rounds)
        add_rows(table, name, results)
        verdicts.append(verdict(name, results["monitor"].ratios))
        if arguments.keep:
            table_name = "short_epochs" if arguments.steps else "epochs"
            keep("gradient_overhead", table_name, cells(name, results))
    console.print(table)
    console.print(
        "Clock and processor time are ratios to the plain epochs before and "
        "after: median [smallest, largest]. 1st: what the compiling epoch "
        "took longer than the others.",
        markup=False,
    )
    if not has_tensorboard_callback():
        console.print(
            "Left out: keras.callbacks.TensorBoard needs tensorflow and "
            "tensorboard."
        )
    console.print(f"Took {time.perf_counter() - started:.0f} s.")
    if arguments.quick:
        verdicts = ["not judged, epochs are too short (--quick)"]
    console.print(
        f"GradientMonitor(), target {TARGET:.0%}: " + "; ".join(verdicts),
        soft_wrap=True,
    )


if __name__ == "__main__":
    main(parse_arguments())
