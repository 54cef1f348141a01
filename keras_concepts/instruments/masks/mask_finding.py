"""One place where padding is read as data, and what to change."""

import dataclasses
from typing import Any

import keras

from keras_concepts._shown_as_text import show_text
from keras_concepts.rules.finding import Finding, Measured


@dataclasses.dataclass(frozen=True)
class MaskFinding:
    """One place where padding is read as data.

    Attributes:
        layer: Path of the layer, or name of the operation.
        problem: `"no_mask"`, `"lost"`, `"unmasked"` or `"empty_row"`; see
            `check_masks`.
        padding: Share of the batch's steps that are padding.
        side: Where the padding is: `"left"`, `"right"`, `"both"` (at both ends
            of a row), `"mixed"` (left in some rows, right in others),
            `"inside"` or `"none"`.
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

    def to_finding(self) -> Finding:
        """The same as a finding of the doctor."""
        return Finding(
            rule="lost_mask",
            severity="warning",
            owner=self.layer,
            since=(0, 0),
            noticed=(0, 0),
            evidence=(
                Measured("problem", self.evidence),
                Measured("share of steps that are padding", self.padding, 0.0),
            ),
            why="Padding is read as data, so the output depends on the "
            "length of the other sequences in the batch.",
            advice=self.advice,
            code=_CODE.get(self.problem, ""),
            page="text_classification.md",
            variant=self.problem,
        )


_CODE = {
    "no_mask": "keras.layers.Embedding(input_dim, output_dim, mask_zero=True)",
    "lost": "self.supports_masking = True",
    "unmasked": "layer(x, mask=mask)",
}


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
            "Replace it by a layer that uses the mask, or pass `mask=` to the "
            "layers after it and make sure that padded steps do not count."
        )
    return (
        "Set `self.supports_masking = True` in its constructor, if each step "
        "of its output corresponds to the same step of its input."
    )
