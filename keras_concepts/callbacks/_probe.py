"""A batch that a monitor passes through the model apart from training."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from keras_concepts import _backend
from keras_concepts._batches import as_fed, check_agreed
from keras_concepts.instruments.model_loss import NoLossError


def fed_probe(owner: str, model: Any, probe: Any) -> tuple[Any, Any, Any]:
    """`(x, y, sample_weight)` as tensors, with `None` for what was not given.

    Args:
        owner: Name of the monitor.
        model: Its model.
        probe: The value given for the probe.

    Raises:
        ValueError: The model cannot be called, or the arrays are of different
            lengths or empty.
    """
    if not _backend.has_call(model):
        raise ValueError(
            f"`probe` of `{owner}` needs a model that can be called. Received: "
            f"model {model.name!r}, a {type(model).__name__} without a `call` "
            "method. Give it one, or leave out what needs the probe."
        )
    with probe_errors(owner):
        x, y, weight = [*as_fed(list(probe)), None, None][:3]
        lengths = {
            int(tensor.shape[0]) if len(tensor.shape) else None
            for tensor in keras.tree.flatten([x, y, weight])
            if tensor is not None
        }
    if len(lengths) != 1 or lengths & {0, None}:
        raise ValueError(
            f"`probe` of `{owner}` must hold arrays of one length of at least "
            f"1. Received: lengths {sorted(map(str, lengths))}."
        )
    check_agreed(owner, "probe", model, [x, y, weight])
    return x, y, weight


@contextlib.contextmanager
def probe_errors(owner: str) -> Iterator[None]:
    """Reports what fails inside the with-block as an error of the probe."""
    try:
        yield
    except NoLossError:
        raise
    except Exception as error:
        # Keras and TensorFlow append long texts: the first lines are enough.
        lines = [line.strip() for line in str(error).splitlines()]
        said = " ".join(line for line in lines if line)[:300]
        raise ValueError(
            f"`probe` of `{owner}` must be a batch as `fit` takes it, with "
            "inputs and labels like those of the training data. Received: one "
            f"that the model cannot use ({type(error).__name__}: {said})."
        ) from error
