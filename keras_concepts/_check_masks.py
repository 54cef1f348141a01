"""Does the mask of a padded batch arrive where it is needed?"""

import contextlib
import dataclasses
import warnings
from collections.abc import Iterator
from typing import Any

from keras_concepts import _backend
from keras_concepts._batches import check_model, dense_inputs
from keras_concepts._shown_as_text import show_text
from keras_concepts.instruments.masks.mask_finding import MaskFinding
from keras_concepts.instruments.masks.mask_trace import MaskTrace
from keras_concepts.instruments.masks.padding_test import PaddingTest
from keras_concepts.instruments.recorded_calls import (
    Alter,
    RecordedCall,
    recorded_calls,
)


@dataclasses.dataclass(frozen=True)
class MaskReport:
    """What `check_masks` found. True in an `if` or `assert` if no mask is lost.

    Attributes:
        findings: What is wrong, in the order of the model's calls.
        arrived: Paths of the layers that were given a mask and use it.
    """

    findings: list[MaskFinding]
    arrived: list[str]

    @property
    def ok(self) -> bool:
        """True if nothing was found."""
        return not self.findings

    _repr_pretty_ = show_text

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        arrived = ", ".join(self.arrived) or "no layer"
        head = {0: "No finding", 1: "1 finding"}.get(
            len(self.findings), f"{len(self.findings)} findings"
        )
        lines = [f"{head}; a mask reaches {arrived}."]
        for number, finding in enumerate(self.findings, start=1):
            lines.append(f"{number}. {finding}")
        return "\n".join(lines)


def check_masks(model: Any, inputs: Any) -> MaskReport:
    """Follows masks through one batch and names the layer where one is lost.

    A mask marks which steps of a sequence are padding. Keras hands it on from
    layer to layer, and where the chain breaks, padding is read as data: with
    no error, and often with no warning. Four problems are found:

    - `no_mask`: an `Embedding` without `mask_zero=True` is given ids that are
      padded with 0;
    - `lost`: a layer, an operation such as `x * 2`, or the code between two
      layers is given a masked sequence and hands on one without a mask, or
      something that padding is mixed into;
    - `unmasked`: a layer that should know the mask (recurrent, attention,
      pooling) reads padded steps without one;
    - `empty_row`: rows that are all padding make an output NaN or infinite.

    A layer that uses the mask and needs it no more, as an LSTM that returns its
    last state, is no problem. Ids are taken to be padded with 0 if rows are of
    four steps or more and nearly all zeros stand in runs at one end of them,
    the same in all rows.

    What counts is whether padding reaches the outputs: the model runs again
    with other numbers in the padded steps of each masked (or padded) sequence,
    and where nothing changes in the outputs but padded steps, there is no
    finding. So a mask that is applied by hand, as in `x * mask`, is no loss.
    (Steps that are padded in one sequence and not in another of the same shape
    are left alone: a merge of both may read them.) A sequence of outputs
    without a mask is a finding, if one was made: a loss counts its padding.

    The model runs eagerly, in inference mode, and is left as it was: its
    weights, statistics and seeds. (One that has not been built is built.) What
    a `TimeDistributed` layer does inside is not seen. Where two runs with the
    same inputs differ, masks are only followed.

    Args:
        model: A `keras.Model`, or any layer: functional, sequential, nested or
            subclassed.
        inputs: A batch as the model is called with: tokens as integers, some
            rows of them padded.

    Returns:
        A `MaskReport`, true if nothing was found. `print` it.

    Raises:
        TypeError: `model` is not a `keras.Layer`.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> model = keras.Sequential(
    ...     [keras.layers.Embedding(9, 4), keras.layers.LSTM(2)]
    ... )
    >>> report = check_masks(model, np.array([[1, 2, 3, 4], [5, 6, 0, 0]]))
    >>> for finding in report.findings:
    ...     print(finding.layer.split("/")[-1], finding.problem)
    embedding no_mask
    lstm unmasked
    >>> report.findings[0].padding, report.findings[0].side
    (0.25, 'right')
    """
    check_model("check_masks", model)
    inputs = dense_inputs("check_masks", "inputs", inputs)

    def passed(
        alter: Alter | None = None, inputs: Any = inputs
    ) -> list[RecordedCall]:
        with _as_it_was(model), recorded_calls(model, alter) as calls:
            _ = _backend.call_as_trainer(model, inputs, training=False)
        return calls

    with warnings.catch_warnings():
        # Keras names some of the layers, without the reason or the remedy.
        warnings.filterwarnings("ignore", ".*does not support masking")
        if not model.built:
            _ = _backend.call_as_trainer(model, inputs, training=False)
        calls = passed()
        trace = MaskTrace(calls, PaddingTest(calls, inputs, passed))
    return MaskReport(trace.findings, trace.arrived)


@contextlib.contextmanager
def _as_it_was(model: Any) -> Iterator[None]:
    """What is not trained has its old value afterwards."""
    trained = {id(variable) for variable in model.trainable_variables}
    others = [v for v in model.variables if id(v) not in trained]
    before = [_backend.snapshot(variable) for variable in others]
    try:
        with _backend.fixed_randomness(0):
            yield
    finally:
        for variable, value in zip(others, before, strict=True):
            variable.assign(value)
