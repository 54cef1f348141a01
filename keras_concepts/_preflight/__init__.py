"""What is wrong with model, loss and data, before they are trained."""

import time
import warnings
from typing import Any

import keras

from keras_concepts import _backend
from keras_concepts._batches import check_model
from keras_concepts._preflight.check import Check
from keras_concepts._preflight.given import OWNER, take_in
from keras_concepts._preflight.report import PreflightReport

__all__ = ["PreflightReport", "preflight"]


def preflight(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    validation_data: Any = None,
    validation_split: float = 0.0,
    shuffle: bool = True,
    batch_size: int = 32,
    seconds: float = 5.0,
) -> PreflightReport:
    """Looks for what keeps a model from learning, before it is trained.

    Compares what the last layer makes with what the loss takes and the labels
    are; looks at the scale, NaN and order of the data, at masks that get lost,
    at weights that no gradient reaches or that begin all equal, and at the loss
    of the untrained model. And it tries whether a few dozen steps can learn one
    batch, as any healthy model can.

    The model stays as it is, bit for bit: weights, statistics, optimizer,
    metrics and seeds; so do the global random states. (A model that has not
    been built is built, as `fit` would.) Data are read and not consumed. An
    iterator or a generator, which can be read once, is refused.

    Where several processes train the model on JAX, each calls this, with the
    same data; then `seconds` is not looked at, since their clocks differ.

    Args:
        model: A compiled `keras.Model`. Of one that is not compiled, what needs
            a loss is not checked.
        x: Inputs as for `model.fit`: arrays in any structure. Or batches: a
            `tf.data.Dataset`, `keras.utils.PyDataset`, `DataLoader` or a list
            of batches; the first 64 are looked at.
        y: Labels, if `x` are arrays.
        sample_weight: Weights of the samples, or `None`.
        validation_data: `(x, y)` in arrays, to be compared with the others.
        validation_split: As you will give it to `fit`.
        shuffle: As you will give it to `fit`.
        batch_size: As you will give it to `fit`.
        seconds: Time for learning one batch. A step that takes too long is not
            repeated; `unchecked` says so. The other checks take as long as a
            few steps, compilation included.

    Returns:
        A `PreflightReport`: a list of `Finding`, causes first. `print` it.

    Raises:
        TypeError: `model` is not a `keras.Model`, or `x` is nothing that can be
            read without consuming it.
        ValueError: There are no rows, or labels beside batches that have their
            own; or reading a data set would change the order in which it
            shuffles.

    Example:

    >>> import numpy as np
    >>> model = keras.Sequential(
    ...     [keras.Input((4,)), keras.layers.Dense(3, name="head")]
    ... )
    >>> model.compile("adam", "sparse_categorical_crossentropy")
    >>> x = np.random.default_rng(0).normal(size=(32, 4))
    >>> for finding in preflight(model, x, np.arange(32) % 3):
    ...     if finding.because_of is None:  # a cause, no consequence
    ...         print(finding.rule, finding.variant, finding.severity)
    head_loss_mismatch not_probabilities error
    """
    started = time.monotonic()
    check_model(OWNER, model)
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` of `preflight` must be a `keras.Model`, which has a loss "
            f"and is fitted. Received: a {type(model).__name__}."
        )
    given = take_in(
        model,
        (x, y, sample_weight),
        validation_data,
        validation_split,
        batch_size,
    )
    with (
        _backend.kept_randomness(),
        _backend.names_kept(),
        warnings.catch_warnings(),
    ):
        # Of Keras, which says some of it, and will again in `fit`.
        warnings.simplefilter("ignore")
        check = Check(model, given, bool(shuffle), seconds)
        findings = check.run()
    return PreflightReport(
        findings,
        check.checked,
        check.unchecked,
        time.monotonic() - started,
    )
