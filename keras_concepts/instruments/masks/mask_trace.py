"""Following masks, and the padding they stand for, from call to call."""

import dataclasses
import functools
import inspect
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts._types import Tensor
from keras_concepts.instruments.masks.mask_finding import MaskFinding, remedy
from keras_concepts.instruments.masks.mask_tensors import (
    finite,
    is_sequence,
    is_tensor,
    padding_of,
    same_values,
    values,
)
from keras_concepts.instruments.masks.padding import Padding, padding_of_ids
from keras_concepts.instruments.recorded_calls import RecordedCall, is_mask

# They take a mask, and without one do no harm to the outputs of real steps.
_INDIFFERENT = (
    keras.layers.BatchNormalization,
    keras.layers.Lambda,
    keras.layers.Softmax,
    keras.layers.TimeDistributed,
)


@dataclasses.dataclass(frozen=True)
class _Track:
    """What is known of a sequence.

    Attributes:
        padding: Which of its steps are padded.
        source: Which call made it.
        cause: Who is to blame that it has no mask, or `""` if it has one.
    """

    padding: Padding
    source: str
    cause: str = ""


class MaskTrace:
    """Judges the calls of one pass, in order.

    Args:
        calls: What `recorded_calls` gathered, once its with-block is left.

    Attributes:
        arrived: Paths of the layers that were given a mask and use it.
    """

    def __init__(self, calls: Sequence[RecordedCall]) -> None:
        self.arrived: list[str] = []
        self._findings: dict[tuple[str, str], MaskFinding] = {}
        self._harmed: set[str] = set()  # causes with an unmasked reader
        self._helped: set[str] = set()  # causes with a mask passed explicitly
        # The tensor is held, so that its `id` is not used again.
        self._tracks: dict[int, tuple[Tensor, _Track]] = {}
        # What the code of a layer's `call` had in hand, by that call.
        self._at_hand: dict[int, list[tuple[Tensor, _Track]]] = {}
        # Attention takes the masks off its inputs: so also those they bore.
        self._masks = {
            key: mask for call in calls for key, mask in call.masks.items()
        }
        for call in calls:
            self._judge(call)

    @property
    def findings(self) -> list[MaskFinding]:
        """What is wrong, in the order of the calls."""
        remedied = self._helped - self._harmed
        return [
            finding
            for finding in self._findings.values()
            if finding.problem not in ("no_mask", "lost")
            or finding.layer not in remedied
        ]

    def _mask(self, tensor: Tensor) -> Tensor | None:
        mask = _backend.keras_mask(tensor)
        return self._masks.get(id(tensor)) if mask is None else mask

    def _judge(self, call: RecordedCall) -> None:
        outputs = [x for x in keras.tree.flatten(call.outputs) if is_tensor(x)]
        if isinstance(call.layer, keras.layers.Embedding):
            unmasked = self._embedded(call, outputs[0])
        else:
            unmasked = self._passed(call, outputs)
        for tensor in outputs:
            padding = padding_of(self._mask(tensor))
            if padding is not None:
                self._keep(call.parent, tensor, _Track(padding, call.name))
            elif id(tensor) in self._tracks:
                self._keep(call.parent, tensor, self._tracks[id(tensor)][1])
            elif unmasked is not None and is_sequence(tensor, unmasked.padding):
                self._keep(call.parent, tensor, unmasked)

    def _keep(
        self, owner: RecordedCall | None, tensor: Tensor, track: _Track
    ) -> None:
        self._tracks[id(tensor)] = tensor, track
        self._at_hand.setdefault(id(owner), []).append((tensor, track))

    def _embedded(self, call: RecordedCall, output: Tensor) -> _Track | None:
        ids = values(call.tensors()[0])
        if ids is None or self._mask(output) is not None:
            return None
        padding = padding_of_ids(ids)
        if padding is None:
            return None
        self._find(
            call.name,
            "no_mask",
            padding,
            f"makes no mask for ids of which {padding}",
            "Pass `mask_zero=True` to the Embedding, if id 0 is padding.",
        )
        return _Track(padding, call.name, cause=call.name)

    def _passed(
        self, call: RecordedCall, outputs: list[Tensor]
    ) -> _Track | None:
        """What the outputs are, if they lack a mask that they should have."""
        tracks = [self._track(call, tensor) for tensor in call.tensors()]
        known = [track for track in tracks if track is not None]
        given = call.tensors(masks=True)
        if given and not call.children:
            self._use(call, given, outputs)
        if all(
            id(x) in self._tracks or self._mask(x) is not None for x in outputs
        ):
            return None
        lost = next((track for track in known if track.cause), None)
        if lost is not None:
            if given:
                self._helped.add(lost.cause)
                return None
            if not call.children and _wants_mask(call.layer):
                self._unmasked(call, lost)
            return lost
        if not known or (given and tracks[0] is not known[0]):
            return None
        return self._dropped(call, known[0], outputs, used=bool(given))

    def _dropped(
        self,
        call: RecordedCall,
        track: _Track,
        outputs: list[Tensor],
        used: bool,
    ) -> _Track | None:
        """Masked sequences came in, and what came out has no mask."""
        rank = max(len(x.shape) for x in call.tensors())
        if any(
            len(x.shape) >= rank and is_sequence(x, track.padding)
            for x in outputs
        ):
            what = "is given a mask and hands none on"
        elif not (used or call.children) and _reads_padding(
            call, track.padding
        ):
            what = "mixes padded steps with the others, and knows no mask"
        else:
            return None
        self._find(
            call.name,
            "lost",
            track.padding,
            f"({type(call.layer).__name__}) {what}; {track.padding}",
            remedy(call.layer),
        )
        return dataclasses.replace(track, cause=call.name)

    def _use(
        self, call: RecordedCall, given: list[Tensor], outputs: list[Tensor]
    ) -> None:
        if isinstance(call.layer, _INDIFFERENT):
            return
        if call.name not in self.arrived:
            self.arrived.append(call.name)
        padding = padding_of(given[0])
        if padding is None or not padding.empty_rows:
            return
        empty = np.asarray(padding.steps.all(axis=1))
        if finite(call.tensors(), empty) and not finite(outputs, empty):
            self._find(
                call.name,
                "empty_row",
                padding,
                f"gives NaN or infinity for {padding.empty_rows} of "
                f"{len(empty)} rows, which are all padding",
                "Leave such rows out, or let each keep one step: a single one "
                "makes the loss and all weights NaN.",
            )

    def _unmasked(self, call: RecordedCall, track: _Track) -> None:
        self._harmed.add(track.cause)
        effect = ""
        if isinstance(call.layer, keras.layers.RNN):
            end = "left" if call.layer.go_backwards else "right"
            if track.padding.side in (end, "both", "mixed"):
                effect = " and reads on after the last real step"
        self._find(
            call.name,
            "unmasked",
            track.padding,
            f"is given no mask{effect}: {track.padding}",
            f"See {track.cause}, or pass `mask=` to this layer.",
        )

    def _track(self, call: RecordedCall, tensor: Tensor) -> _Track | None:
        """What is known of a tensor that a call was given."""
        padding = padding_of(self._mask(tensor))
        if id(tensor) in self._tracks:
            track = self._tracks[id(tensor)][1]
        elif padding is not None:
            track = _Track(padding, "an input")
        else:
            track = self._unknown(call, tensor)
        if track is not None:
            self._keep(call, tensor, track)
        return track

    def _unknown(self, call: RecordedCall, tensor: Tensor) -> _Track | None:
        """A tensor that no call has returned.

        Keras casts what it hands to a layer, so it may be another tensor of
        the same values; else the code of the calling layer has made it.
        """
        parent = call.parent
        if parent is None or len(tensor.shape) < 3:
            return None
        for given in parent.tensors():
            _ = self._track(parent, given)
        candidates = [
            (other, track)
            for owner in (parent, call)
            for other, track in reversed(self._at_hand.get(id(owner), []))
            if is_sequence(tensor, track.padding)
        ]
        for other, track in candidates:
            if same_values(tensor, other):
                return track
        if not candidates or hasattr(parent.layer, "operations"):
            return None
        track = candidates[0][1]
        if track.cause:
            return track
        self._find(
            parent.name,
            "lost",
            track.padding,
            f"makes a sequence without a mask in its own code, between "
            f"{track.source} and {call.name}; {track.padding}",
            f"Pass `mask=` to {call.name} there, or move that code into a "
            "layer with `supports_masking = True`.",
        )
        return dataclasses.replace(track, cause=parent.name)

    def _find(
        self, layer: str, problem: str, padding: Padding, *texts: str
    ) -> None:
        finding = MaskFinding(
            layer, problem, padding.share, padding.side, *texts
        )
        _ = self._findings.setdefault((layer, problem), finding)


def _wants_mask(layer: Any) -> bool:
    return (
        isinstance(layer, keras.Layer)
        and not isinstance(layer, _INDIFFERENT)
        and any(map(is_mask, inspect.signature(layer.call).parameters))
    )


def _reads_padding(call: RecordedCall, padding: Padding) -> bool:
    """Whether the outputs change if nothing but the padded steps does."""
    if not padding.steps.any():
        return True

    def moved(x: Any, by: float) -> Any:
        if not is_tensor(x) or not is_sequence(x, padding):
            return x
        where = padding.steps.reshape(
            padding.steps.shape + (1,) * (len(x.shape) - 2)
        )
        return x + ops.convert_to_tensor(by * where, x.dtype)

    before = keras.tree.flatten(call.outputs)
    for by in (100.0, -100.0):
        move = functools.partial(moved, by=by)
        after = call.again(
            **{
                name: keras.tree.map_structure(move, value)
                for name, value in call.arguments.items()
            }
        )
        pairs = zip(before, keras.tree.flatten(after), strict=True)
        if not all(same_values(a, b) for a, b in pairs):
            return True
    return False
