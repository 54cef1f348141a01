"""Does the mask of a padded batch reach the layers that need it?"""

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
    """Findings of `check_masks`. True in an `if` or `assert` if there are none.

    Attributes:
        findings: What is wrong, in the order of the model's calls.
        arrived: Paths of the layers that received a mask and use it.
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
    """Follows masks through one batch and names the layer that loses one.

    A mask marks the steps of a sequence that are padding. Keras passes it from
    layer to layer, and where the chain breaks, padding is read as data: without
    an error, and often without a warning. Four problems are found:

    - `no_mask`: an `Embedding` without `mask_zero=True` receives ids that are
      padded with 0;
    - `lost`: a layer, an operation such as `x * 2`, or the code between two
      layers receives a masked sequence and passes on one without a mask, or
      mixes padding into its output;
    - `unmasked`: a layer that needs the mask (recurrent, attention, pooling)
      reads padded steps without one;
    - `empty_row`: rows of only padding make an output NaN or infinite.

    A layer that uses the mask and drops it because it is no longer needed, such
    as an LSTM that returns its last state, is not a problem. Ids count as
    padded with 0 if rows have four or more steps and nearly all zeros are in
    runs at one end, the same in all rows.

    What counts is whether padding reaches the outputs: the model runs again
    with other numbers in the padded steps of each masked (or padded) sequence,
    and if only padded steps of the outputs change, there is no finding. So a
    mask that is applied by hand, as in `x * mask`, is not lost. (Steps that are
    padded in one sequence but not in another of the same shape are not varied:
    a merge of both may read them.) An output sequence that lost its mask is a
    finding: a loss counts its padding.

    The model runs eagerly, in inference mode, and is not changed: neither
    weights nor statistics nor seeds. (An unbuilt model is built.) The inside of
    a `TimeDistributed` layer is not seen. If two runs with the same inputs
    differ, masks are only followed.

    Args:
        model: A `keras.Model`, or any layer: functional, sequential, nested or
            subclassed.
        inputs: A batch in the form the model is called with: tokens as
            integers, with some rows padded.

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
        # Keras names some of the layers, without reason or remedy.
        warnings.filterwarnings("ignore", ".*does not support masking")
        if not model.built:
            with _backend.kept_state(model):
                _ = _backend.call_as_trainer(model, inputs, training=False)
        calls = passed()
        trace = MaskTrace(calls, PaddingTest(calls, inputs, passed))
    return MaskReport(trace.findings, trace.arrived)


@contextlib.contextmanager
def _as_it_was(model: Any) -> Iterator[None]:
    """Untrained variables and states get their old values back afterwards."""
    trained = {id(variable) for variable in model.trainable_variables}
    others = [v for v in model.variables if id(v) not in trained]
    before = [_backend.snapshot(variable) for variable in others]
    try:
        with _backend.kept_state(model), _backend.fixed_randomness(0):
            yield
    finally:
        for variable, value in zip(others, before, strict=True):
            variable.assign(value)
