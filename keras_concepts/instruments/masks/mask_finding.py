"""One place where padding is read as data, and what to change."""

import dataclasses
from typing import Any

import keras

from keras_concepts._shown_as_text import show_text


@dataclasses.dataclass(frozen=True)
class MaskFinding:
    """One place where padding is read as data.

    Attributes:
        layer: Path of the layer, or name of the operation.
        problem: `"no_mask"`, `"lost"`, `"unmasked"` or `"empty_row"`; see
            `check_masks`.
        padding: Share of the batch's steps that are padding.
        side: Where it lies: `"left"`, `"right"`, `"both"` (at both ends of a
            row), `"mixed"` (left in some rows, right in others), `"inside"` or
            `"none"`.
        evidence: What was seen.
        advice: What to change.
    """

    layer: str
    problem: str
    padding: float
    side: str
    evidence: str
    advice: str

    _repr_pretty_ = show_text

    def __str__(self) -> str:
        return f"{self.layer} {self.evidence}. {self.advice}"


def remedy(layer: Any) -> str:
    """What to change if this layer or operation loses a mask."""
    if isinstance(layer, keras.layers.Lambda):
        return "Pass `mask=` to the Lambda."
    if not isinstance(layer, keras.Layer):
        return (
            "Write it as a layer with `supports_masking = True`, or pass "
            "`mask=` to the layers after it."
        )
    if type(layer).__module__.startswith("keras."):
        return (
            "Put a layer that uses the mask in its place, or pass `mask=` to "
            "the layers after it and keep padded steps from counting."
        )
    return (
        "Set `self.supports_masking = True` in its constructor, if each step "
        "of its output belongs to the same step of its input."
    )
