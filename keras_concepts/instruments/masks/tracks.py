"""What is known about the sequences of one pass."""

import dataclasses
from collections.abc import Iterator

from keras_concepts._types import Tensor
from keras_concepts.instruments.masks.mask_tensors import (
    is_sequence,
    same_values,
)
from keras_concepts.instruments.masks.padding import Padding
from keras_concepts.instruments.recorded_calls import RecordedCall


@dataclasses.dataclass(frozen=True)
class Track:
    """What is known about a sequence.

    Attributes:
        padding: Which of its steps are padded.
        source: The call that made it.
        cause: The layer that lost its mask, or `""` if it has one.
        roots: Numbers of the calls that the padding comes from; see
            `PaddingTest`.
    """

    padding: Padding
    source: str
    cause: str = ""
    roots: frozenset[int] = frozenset()


class Tracks:
    """The tracks of tensors, and where each tensor can be used."""

    def __init__(self) -> None:
        # The tensor is kept, so that its `id` is not reused.
        self._tracks: dict[int, tuple[Tensor, Track]] = {}
        # Tensors available to the code of a layer's `call`, by that call.
        self._at_hand: dict[int, list[tuple[Tensor, Track]]] = {}

    def of(self, tensor: Tensor) -> Track | None:
        """The track of a tensor, if it has one."""
        kept = self._tracks.get(id(tensor))
        return None if kept is None else kept[1]

    def keep(
        self, owner: RecordedCall | None, tensor: Tensor, track: Track
    ) -> None:
        """Gives a tensor a track.

        Args:
            owner: The call whose code can use the tensor.
            tensor: The tensor.
            track: Its track.
        """
        self._tracks[id(tensor)] = tensor, track
        self._at_hand.setdefault(id(owner), []).append((tensor, track))

    def likely(
        self, tensor: Tensor, *owners: RecordedCall
    ) -> tuple[Track | None, bool]:
        """The track of a tensor that the code of a call has made.

        Args:
            tensor: A tensor that no call has returned.
            *owners: Calls whose code could have made it, the likeliest first.

        Returns:
            The track of a sequence that it may be, and whether it is that
            sequence, with the same values; `(None, False)` if there is none.
        """
        candidates = [*self._candidates(tensor, owners)]
        for other, track in candidates:
            if same_values(tensor, other):
                return track, True
        return (candidates[0][1] if candidates else None), False

    def _candidates(
        self, tensor: Tensor, owners: tuple[RecordedCall, ...]
    ) -> Iterator[tuple[Tensor, Track]]:
        for owner in owners:
            for other, track in reversed(self._at_hand.get(id(owner), [])):
                if is_sequence(tensor, track.padding):
                    yield other, track
