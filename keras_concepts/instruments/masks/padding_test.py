"""What changes in a model if only the padding changes."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._types import Tensor
from keras_concepts.instruments.masks.mask_tensors import (
    is_sequence,
    is_tensor,
    padding_of,
    values,
)
from keras_concepts.instruments.masks.padding import Padding, padding_of_ids
from keras_concepts.instruments.recorded_calls import RecordedCall

# Stands for the inputs of the model where a call is numbered.
INPUTS = -1
# Much larger than an embedding, and far below what a mask subtracts.
_CHANGE = 10.0

NOTHING, PADDING, MORE = range(3)


class PaddingTest:
    """Runs a model again with other numbers in the padded steps.

    A source is a call that makes a masked sequence from inputs without a mask,
    or an `Embedding` of ids that look padded; `INPUTS` are one if they are
    masked.

    Args:
        calls: All calls of a first run.
        inputs: The inputs of the model.
        rerun: Returns the calls of another run, with the same inputs or others.

    Attributes:
        sources: Padding of each source, by the number of its call.
        masked: The sources that have a mask.
    """

    def __init__(
        self,
        calls: list[RecordedCall],
        inputs: Any,
        rerun: Callable[..., list[RecordedCall]],
    ) -> None:
        self._calls = calls
        self._inputs = inputs
        self._rerun = rerun
        # Attention removes the masks of its inputs, so use those from before,
        # too.
        self._masks = {
            key: mask for call in calls for key, mask in call.masks.items()
        }
        self.sources: dict[int, Padding] = {}
        self.masked: set[int] = set()
        self._find_sources()
        self._changes: dict[int, list[tuple[int, int]] | None] = {}

    def mask(self, tensor: Tensor) -> Tensor | None:
        """The mask that a tensor of the first run has or had."""
        mask = _backend.keras_mask(tensor)
        return self._masks.get(id(tensor)) if mask is None else mask

    def change(self, call: int, sources: Iterable[int]) -> int | None:
        """How a call's outputs depend on the padding of some sources.

        Args:
            call: Its number.
            sources: Numbers of the calls that made them.

        Returns:
            `NOTHING`, `PADDING` (padded steps), `MORE`, or `None` if that is
            not known.
        """
        return self._largest(call, sources, 1)

    def change_of_inputs(self, call: int, sources: Iterable[int]) -> int | None:
        """The same for the inputs of the call."""
        return self._largest(call, sources, 0)

    def _largest(
        self, call: int, sources: Iterable[int], side: int
    ) -> int | None:
        found = [self._of(source) for source in sources]
        if not found or None in found:
            return None
        return max(each[call][side] for each in found if each is not None)

    def _find_sources(self) -> None:
        around: set[int] = set()  # by `id`, calls that contain a source
        for tensor in keras.tree.flatten(self._inputs):
            padding = padding_of(_backend.keras_mask(tensor))
            if padding is not None:
                self.sources[INPUTS] = padding
                self.masked.add(INPUTS)
        for number, call in enumerate(self._calls):
            if id(call) in around:
                continue
            padding, masked = self._made_by(call)
            if padding is None or not padding.steps.any():
                continue
            self.sources[number] = padding
            if masked:
                self.masked.add(number)
            outer = call.parent
            while outer is not None:
                around.add(id(outer))
                outer = outer.parent

    def _made_by(self, call: RecordedCall) -> tuple[Padding | None, bool]:
        inputs = call.tensors()
        if any(self.mask(tensor) is not None for tensor in inputs):
            return None, False
        for tensor in keras.tree.flatten(call.outputs):
            if not is_tensor(tensor):
                continue
            padding = padding_of(self.mask(tensor))
            if padding is not None and is_sequence(tensor, padding):
                return padding, True
        if isinstance(call.layer, keras.layers.Embedding) and inputs:
            ids = values(inputs[0])
            return None if ids is None else padding_of_ids(ids), False
        return None, False

    def _of(self, source: int) -> list[tuple[int, int]] | None:
        """The change of the inputs and outputs of each call."""
        if source not in self.sources:
            return None
        if source not in self._changes:
            self._changes[source] = self._tested(source)
        return self._changes[source]

    @functools.cached_property
    def _repeats(self) -> bool:
        """Whether the model gives the same result in a second run."""
        nowhere = Padding(np.zeros((0, 0), bool))
        found = self._compared(self._rerun(), nowhere)
        return found is not None and not any(map(any, found))

    def _tested(self, source: int) -> list[tuple[int, int]] | None:
        padding = self._common(self.sources[source])
        if not padding.steps.any():
            return None
        found = self._changed(source, padding, _CHANGE)
        if found is None or not any(MORE in pair for pair in found):
            return found
        # Or is there another reason?
        return found if self._repeats else None

    def _changed(
        self, source: int, padding: Padding, by: float
    ) -> list[tuple[int, int]] | None:
        move = functools.partial(self._moved, padding=padding, by=by)

        def alter(number: int, outputs: Any) -> Any:
            if number != source:
                return outputs
            return keras.tree.map_structure(move, outputs)

        try:
            if source == INPUTS:
                inputs = keras.tree.map_structure(move, self._inputs)
                return self._compared(self._rerun(inputs=inputs), padding)
            return self._compared(self._rerun(alter), padding)
        except Exception:  # a layer may refuse such numbers
            return None

    def _common(self, padding: Padding) -> Padding:
        """Without steps that another sequence has, and without empty rows."""
        steps = padding.steps
        for other in self.sources.values():
            both = (
                steps & other.steps
                if other.steps.shape == steps.shape
                else steps
            )
            steps = both if both.any() else steps
        return Padding(steps & ~padding.steps.all(axis=1, keepdims=True))

    def _moved(self, tensor: Any, padding: Padding, by: float) -> Any:
        if not is_tensor(tensor) or not is_sequence(tensor, padding):
            return tensor
        shape = tuple(tensor.shape)
        where = padding.steps.reshape(shape[:2] + (1,) * (len(shape) - 2))
        # Neither one number for all features, which a normalization would undo,
        # nor one sign, which a maximum would hide.
        signs = np.where(
            np.arange(int(np.prod(shape))).reshape(shape) % 2, 1, -1
        )
        sizes = np.random.default_rng(0).uniform(0.5, 1.5, size=shape)
        change = by * where * signs * sizes
        moved = tensor + ops.convert_to_tensor(change, tensor.dtype)
        mask = _backend.keras_mask(tensor)
        if mask is not None:
            _backend.set_keras_mask(moved, mask)
        return moved

    def _compared(
        self, others: list[RecordedCall], padding: Padding
    ) -> list[tuple[int, int]] | None:
        if [x.layer for x in others] != [x.layer for x in self._calls]:
            return None
        found = []
        for call, other in zip(self._calls, others, strict=True):
            before, after = call.tensors(), other.tensors()
            found.append(
                (
                    self._change(before, after, padding),
                    self._change(
                        keras.tree.flatten(call.outputs),
                        keras.tree.flatten(other.outputs),
                        padding,
                    ),
                )
            )
        return found

    def _change(
        self, before: list[Any], after: list[Any], padding: Padding
    ) -> int:
        pairs = zip(before, after, strict=False)
        return max(
            (self._change_of(a, b, padding) for a, b in pairs if is_tensor(a)),
            default=NOTHING,
        )

    def _change_of(self, a: Tensor, b: Tensor, padding: Padding) -> int:
        old, new = values(a), values(b)
        if old is None or new is None:
            return NOTHING
        if old.shape != new.shape:
            return MORE
        if old.dtype.kind not in "biufV":
            return NOTHING
        if np.array_equal(old, new):
            return NOTHING
        half = "16" in keras.backend.standardize_dtype(a.dtype)
        old, new = old.astype("float64"), new.astype("float64")
        same = np.isclose(
            old, new, rtol=1e-2 if half else 1e-4, atol=1e-6, equal_nan=True
        )
        if same.all():
            return NOTHING
        real = self._real_steps(a, padding)
        return PADDING if real is not None and same[real].all() else MORE

    def _real_steps(self, tensor: Tensor, padding: Padding) -> Any:
        """The part of a tensor without padding; `None` if it has no steps."""
        shape = tuple(tensor.shape)
        mask = values(self.mask(tensor))
        if mask is not None and mask.shape == shape[: mask.ndim]:
            return mask.astype(bool)
        return ~padding.steps if shape[:2] == padding.steps.shape else None
