"""Following masks, and the padding they stand for, from call to call."""

import dataclasses
import inspect
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_concepts._types import Tensor
from keras_concepts.instruments.masks.mask_finding import remedy
from keras_concepts.instruments.masks.mask_tensors import (
    finite,
    is_sequence,
    is_tensor,
    padding_of,
    values,
)
from keras_concepts.instruments.masks.padding import Padding, padding_of_ids
from keras_concepts.instruments.masks.padding_test import (
    INPUTS,
    MORE,
    NOTHING,
    PaddingTest,
)
from keras_concepts.instruments.masks.suspicions import (
    Suspicion,
    Suspicions,
    findings_of,
)
from keras_concepts.instruments.masks.tracks import Track, Tracks
from keras_concepts.instruments.recorded_calls import RecordedCall, is_mask

# They take a mask, but are harmless to the outputs of real steps without one.
_INDIFFERENT = (
    keras.layers.BatchNormalization,
    keras.layers.Lambda,
    keras.layers.Softmax,
    keras.layers.TimeDistributed,
)


class MaskTrace:
    """Judges the calls of one pass, in order.

    Args:
        calls: The calls from `recorded_calls`, after its with-block.
        test: Shows what depends on padding.

    Attributes:
        arrived: Paths of the layers that received a mask and use it.
    """

    def __init__(
        self, calls: Sequence[RecordedCall], test: PaddingTest
    ) -> None:
        self.arrived: list[str] = []
        self._test = test
        self._calls = calls
        self._numbers = {id(call): i for i, call in enumerate(calls)}
        self._suspicions = Suspicions(self._numbers, test)
        self._tracks = Tracks()
        for call in calls:
            self._judge(call)
        confirmed = self._suspicions.confirmed()
        explained = frozenset[int]().union(*(each.roots for each in confirmed))
        for root in test.sources.keys() - explained:
            confirmed += self._unexplained(root)
        self.findings = findings_of(confirmed)

    def _unexplained(self, root: int) -> list[Suspicion]:
        """Where padding enters the outputs, if nothing else was found."""
        roots = frozenset({root})
        padding = self._test.sources[root]
        guilty = self._guilty(roots)
        if guilty is None:
            return []
        if guilty.children or not _wants_mask(guilty.layer):
            kind = type(guilty.layer).__name__
            what = f"({kind}) mixes padded steps with the others"
            found = self._suspicions.add(
                guilty,
                roots,
                "lost",
                padding,
                f"{what} in its own code; {padding}",
                "Use the mask of the sequence there to leave them out.",
            )
            return [found]
        maker = self._maker(guilty)
        kind = type(maker.layer).__name__
        what = f"({kind}) makes a sequence without a mask in its own code"
        found = self._suspicions.add(
            maker,
            roots,
            "lost",
            padding,
            f"{what}; {padding}",
            "Let its `compute_mask` return the mask of these steps.",
        )
        track = Track(padding, "", maker.name, roots)
        return [found, self._unmasked(guilty, track)]

    def _guilty(self, roots: frozenset[int]) -> RecordedCall | None:
        """The call where padding enters the outputs, if it reaches them."""
        if self._test.change(len(self._calls) - 1, roots) != MORE:
            return None
        guilty, reached = None, set()
        for number, call in enumerate(self._calls):
            before = self._test.change_of_inputs(number, roots) == MORE
            after = self._test.change(number, roots) == MORE
            if before and not reached and call.parent is not None:
                guilty = call.parent
            elif after and not before and id(call) not in reached:
                guilty = call
            if before or after:
                reached |= {id(call), id(call.parent)}
        return guilty

    def _maker(self, call: RecordedCall) -> RecordedCall:
        """The call that returned another's inputs, or the enclosing call."""
        given = {id(tensor) for tensor in call.tensors()}
        for other in reversed(self._calls[: self._numbers[id(call)]]):
            if given & {id(x) for x in keras.tree.flatten(other.outputs)}:
                return other
        return call.parent or call

    def _judge(self, call: RecordedCall) -> None:
        outputs = [x for x in keras.tree.flatten(call.outputs) if is_tensor(x)]
        if isinstance(call.layer, keras.layers.Embedding):
            unmasked = self._embedded(call, outputs[0])
        else:
            unmasked = self._passed(call, outputs)
        for tensor in outputs:
            padding = padding_of(self._test.mask(tensor))
            if unmasked is not None and is_sequence(tensor, unmasked.padding):
                self._tracks.keep(call.parent, tensor, unmasked)
            elif (known := self._tracks.of(tensor)) is not None:
                self._tracks.keep(call.parent, tensor, known)
            elif padding is not None:
                track = Track(padding, call.name, roots=self._roots(call))
                self._tracks.keep(call.parent, tensor, track)

    def _roots(self, call: RecordedCall) -> frozenset[int]:
        number = self._numbers[id(call)]
        if number in self._test.sources:
            return frozenset({number})
        tracks = (self._tracks.of(x) for x in call.tensors())
        found = frozenset[int]().union(*(t.roots for t in tracks if t))
        # For a container, the sequences that are made in it.
        return found or frozenset(
            root for root in self._test.sources if root <= number
        )

    def _embedded(self, call: RecordedCall, output: Tensor) -> Track | None:
        ids = values(call.tensors()[0])
        if ids is None or self._test.mask(output) is not None:
            return None
        padding = padding_of_ids(ids)
        if padding is None:
            return None
        roots = self._roots(call)
        _ = self._suspicions.add(
            call,
            roots,
            "no_mask",
            padding,
            f"makes no mask for ids of which {padding}",
            "Pass `mask_zero=True` to the Embedding, if id 0 is padding.",
        )
        return Track(padding, call.name, call.name, roots)

    def _passed(
        self, call: RecordedCall, outputs: list[Tensor]
    ) -> Track | None:
        """The track of the outputs, if they lack a mask they should have."""
        tracks = [self._track(call, tensor) for tensor in call.tensors()]
        known = [track for track in tracks if track is not None]
        lost = next((track for track in known if track.cause), None)
        given = call.tensors(masks=True)
        if lost is not None and not _mark(given, lost.padding):
            given = []
        mixes = bool(known) and not call.children and self._mixes(call, known)
        if given and not call.children:
            self._use(call, given, outputs, mixes)
        if lost is None and mixes:
            return self._mixed(call, known[0], outputs, bool(given))
        if all(
            self._tracks.of(x) is not None
            or (lost is None and self._test.mask(x) is not None)
            for x in outputs
        ):
            return None
        if lost is not None:
            if given:
                self._suspicions.helped.add(lost.cause)
                return None
            if not call.children and _wants_mask(call.layer):
                _ = self._unmasked(call, lost)
            return lost
        if not known or (given and tracks[0] is not known[0]):
            return None
        return self._dropped(call, known[0], outputs)

    def _mixes(self, call: RecordedCall, known: list[Track]) -> bool:
        """Whether padding enters real steps here, and not before."""
        number = self._numbers[id(call)]
        roots = frozenset[int]().union(*(track.roots for track in known))
        return (
            self._test.change(number, roots) == MORE
            and self._test.change_of_inputs(number, roots) != MORE
        )

    def _mixed(
        self,
        call: RecordedCall,
        track: Track,
        outputs: list[Tensor],
        given: bool,
    ) -> Track:
        """Masked sequences came in, and the outputs contain padding."""
        if any(self._test.mask(tensor) is not None for tensor in outputs):
            what = "passes on a mask that does not mark all padded steps"
            advice = (
                "Mask each of its inputs, or pass `mask=` to the layers after "
                "it."
            )
        elif given:
            what = "receives a mask but mixes padded steps with the others"
            advice = "Use `mask` in its code to leave them out."
        else:
            what = "mixes padded steps with the others, without a mask"
            advice = remedy(call.layer)
        self._lost(call, track, what, advice)
        return dataclasses.replace(track, cause=call.name)

    def _dropped(
        self,
        call: RecordedCall,
        track: Track,
        outputs: list[Tensor],
    ) -> Track | None:
        """Masked sequences came in, and the outputs have no mask."""
        rank = max(len(x.shape) for x in call.tensors())
        if not any(
            len(x.shape) >= rank and is_sequence(x, track.padding)
            for x in outputs
        ):
            return None
        number = self._numbers[id(call)]
        if self._test.change(number, track.roots) == NOTHING:
            return None  # it contains no padding
        what = "receives a mask but passes none on"
        self._lost(call, track, what, remedy(call.layer))
        return dataclasses.replace(track, cause=call.name)

    def _lost(
        self, call: RecordedCall, track: Track, what: str, advice: str
    ) -> None:
        _ = self._suspicions.add(
            call,
            track.roots,
            "lost",
            track.padding,
            f"({type(call.layer).__name__}) {what}; {track.padding}",
            advice,
        )

    def _use(
        self,
        call: RecordedCall,
        given: list[Tensor],
        outputs: list[Tensor],
        mixes: bool,
    ) -> None:
        if isinstance(call.layer, _INDIFFERENT) or mixes:
            return
        if call.name not in self.arrived:
            self.arrived.append(call.name)
        padding = padding_of(given[0])
        if padding is None or not padding.empty_rows:
            return
        empty = np.asarray(padding.steps.all(axis=1))
        if finite(call.tensors(), empty) and not finite(outputs, empty):
            _ = self._suspicions.add(
                call,
                frozenset(),
                "empty_row",
                padding,
                f"gives NaN or infinity for {padding.empty_rows} of "
                f"{len(empty)} rows, which consist of padding only",
                "Leave such rows out, or keep at least one step in each: a "
                "single such row makes the loss and all weights NaN.",
            )

    def _unmasked(self, call: RecordedCall, track: Track) -> Suspicion:
        self._suspicions.harmed.add(track.cause)
        effect = ""
        given = call.tensors(masks=True)
        mask = "a mask that does not mark the padding" if given else "no mask"
        if isinstance(call.layer, keras.layers.RNN):
            end = "left" if call.layer.go_backwards else "right"
            if track.padding.side in (end, "both", "mixed"):
                effect = " and reads on after the last real step"
        return self._suspicions.add(
            call,
            track.roots,
            "unmasked",
            track.padding,
            f"receives {mask}{effect}: {track.padding}",
            f"See {track.cause}, or pass `mask=` to this layer.",
        )

    def _track(self, call: RecordedCall, tensor: Tensor) -> Track | None:
        """What is known about an input tensor of a call."""
        padding = padding_of(self._test.mask(tensor))
        track = self._tracks.of(tensor)
        if track is None and padding is not None:
            roots = frozenset({INPUTS} & self._test.sources.keys())
            track = Track(padding, "an input", roots=roots)
        if track is None:
            track = self._unknown(call, tensor)
        if track is not None:
            self._tracks.keep(call, tensor, track)
        return track

    def _unknown(self, call: RecordedCall, tensor: Tensor) -> Track | None:
        """A tensor that no call has returned.

        Keras casts the inputs of a layer, so it may be another tensor with the
        same values; otherwise the code of the calling layer made it.
        """
        parent = call.parent
        if parent is None or len(tensor.shape) < 3:
            return None
        for given in parent.tensors():
            _ = self._track(parent, given)
        track, is_same = self._tracks.likely(tensor, parent, call)
        if track is None or is_same:
            return track
        if hasattr(parent.layer, "operations"):
            return None
        if track.cause:
            return track
        _ = self._suspicions.add(
            parent,
            track.roots,
            "lost",
            track.padding,
            f"makes a sequence without a mask in its own code, between "
            f"{track.source} and {call.name}; {track.padding}",
            f"Pass `mask=` to {call.name} there, or move that code into a "
            "layer with `supports_masking = True`.",
        )
        return dataclasses.replace(track, cause=parent.name)


def _mark(masks: list[Tensor], padding: Padding) -> bool:
    """Whether one of the masks marks this padding."""
    for mask in masks:
        found = padding_of(mask)
        if found is None or found.steps.shape != padding.steps.shape:
            return True  # of another sequence, or in another form
        if found.steps[padding.steps].all():
            return True
    return False


def _wants_mask(layer: Any) -> bool:
    return (
        isinstance(layer, keras.Layer)
        and not isinstance(layer, _INDIFFERENT)
        and any(map(is_mask, inspect.signature(layer.call).parameters))
    )
