"""Checks of model, loss and data before training."""

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
    """Looks for what would keep a model from learning, before training.

    Checks that the output of the last layer fits the loss and the labels;
    checks the scale, NaN and order of the data, masks that get lost, weights
    that no gradient reaches or that all start equal, and the loss of the
    untrained model. It also tries to learn one batch in a few dozen steps, as
    any healthy model can.

    The model stays unchanged, bit for bit: weights, statistics, optimizer,
    metrics and seeds, and so do the global random states. (An unbuilt model is
    built, as `fit` would.) Data are read but not consumed. Iterators and
    generators, which can be read only once, are refused.

    If several processes train the model on JAX, each must call this with the
    same data; `seconds` is then ignored, since their clocks differ.

    Args:
        model: A compiled `keras.Model`. If it is not compiled, checks that need
            a loss are skipped.
        x: Inputs as for `model.fit`: arrays in any structure. Or batches: a
            `tf.data.Dataset`, `keras.utils.PyDataset`, `DataLoader` or a list
            of batches; the first 64 are checked.
        y: Labels, if `x` holds arrays.
        sample_weight: Weights of the samples, or `None`.
        validation_data: `(x, y)` in arrays, to compare with the training data.
        validation_split: As you will pass it to `fit`.
        shuffle: As you will pass it to `fit`.
        batch_size: As you will pass it to `fit`.
        seconds: Time limit for learning one batch. If a step takes too long,
            no more are taken, and `unchecked` says so. The other checks take
            as long as a few steps, compilation included.

    Returns:
        A `PreflightReport`: a list of `Finding`, causes first. `print` it.

    Raises:
        TypeError: `model` is not a `keras.Model`, or `x` cannot be read without
            consuming it.
        ValueError: There are no rows; or `y` is given with batches, which
            contain their labels; or reading a dataset would change its
            shuffling order.

    Example:

    >>> import numpy as np
    >>> model = keras.Sequential(
    ...     [keras.Input((4,)), keras.layers.Dense(3, name="head")]
    ... )
    >>> model.compile("adam", "sparse_categorical_crossentropy")
    >>> x = np.random.default_rng(0).normal(size=(32, 4))
    >>> for finding in preflight(model, x, np.arange(32) % 3):
    ...     if finding.because_of is None:  # a cause, not a consequence
    ...         print(finding.rule, finding.variant, finding.severity)
    head_loss_mismatch not_probabilities error
    """
    started = time.monotonic()
    check_model(OWNER, model)
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` of `preflight` must be a `keras.Model`, as used with "
            f"`fit`. Received: a {type(model).__name__}."
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
        # Keras' own warnings about the same faults, which `fit` will repeat.
        warnings.simplefilter("ignore")
        check = Check(model, given, bool(shuffle), seconds)
        findings = check.run()
    return PreflightReport(
        findings,
        check.checked,
        check.unchecked,
        time.monotonic() - started,
    )
