"""Places where padding seems to be read as data, until that is confirmed."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import keras

from keras_concepts.instruments.masks.mask_finding import MaskFinding
from keras_concepts.instruments.masks.mask_tensors import is_tensor
from keras_concepts.instruments.masks.padding import Padding
from keras_concepts.instruments.masks.padding_test import (
    NOTHING,
    PADDING,
    PaddingTest,
)
from keras_concepts.instruments.recorded_calls import RecordedCall


@dataclasses.dataclass(frozen=True)
class Suspicion:
    """A finding, kept if padding reaches the outputs there.

    Attributes:
        finding: What would be reported.
        call: The call where it was found.
        roots: Numbers of the calls that the padding comes from.
    """

    finding: MaskFinding
    call: RecordedCall
    roots: frozenset[int]


class Suspicions:
    """Suspicions of one pass, and which of them hold.

    Args:
        numbers: Number of each call, by its `id`.
        test: Shows what depends on padding.

    Attributes:
        harmed: Layers that lost a mask that a later layer lacks.
        helped: Those whose lost mask was passed on explicitly.
    """

    def __init__(self, numbers: dict[int, int], test: PaddingTest) -> None:
        self.harmed: set[str] = set()
        self.helped: set[str] = set()
        self._numbers = numbers
        self._test = test
        self._all: list[Suspicion] = []

    def add(
        self,
        call: RecordedCall,
        roots: frozenset[int],
        problem: str,
        padding: Padding,
        *texts: str,
    ) -> Suspicion:
        """Adds a finding.

        Args:
            call: Where it was found.
            roots: Numbers of the calls that the padding comes from.
            problem: See `MaskFinding`.
            padding: The padding.
            *texts: Evidence and advice.
        """
        finding = MaskFinding(
            call.name, problem, padding.share, padding.side, *texts
        )
        self._all.append(Suspicion(finding, call, roots))
        return self._all[-1]

    def confirmed(self) -> list[Suspicion]:
        """Those whose padding reaches the outputs."""
        remedied = self.helped - self.harmed
        return [
            each
            for each in self._all
            if not self._is_harmless(each)
            and (
                each.finding.problem not in ("no_mask", "lost")
                or each.finding.layer not in remedied
            )
        ]

    def _is_harmless(self, suspicion: Suspicion) -> bool:
        """Whether the result of an enclosing call is independent of padding."""
        if suspicion.finding.problem == "empty_row":
            return False
        call: RecordedCall | None = suspicion.call
        if not suspicion.call.children:
            call = suspicion.call.parent
        while call is not None:
            number = self._numbers[id(call)]
            change = self._test.change(number, suspicion.roots)
            if change == NOTHING:
                return True
            # Readers of these outputs need their mask. No loss asks the outputs
            # of the model for a mask that never existed.
            expected = (
                call.parent is not None or suspicion.roots & self._test.masked
            )
            if change == PADDING and not (
                expected and self._lacks_mask(call.outputs)
            ):
                return True
            call = call.parent
        return False

    def _lacks_mask(self, outputs: Any) -> bool:
        return any(
            self._test.mask(tensor) is None
            for tensor in keras.tree.flatten(outputs)
            if is_tensor(tensor)
        )


def findings_of(suspicions: Iterable[Suspicion]) -> list[MaskFinding]:
    """Their findings, one for each layer and problem."""
    found: dict[tuple[str, str], MaskFinding] = {}
    for each in suspicions:
        key = each.finding.layer, each.finding.problem
        _ = found.setdefault(key, each.finding)
    return list(found.values())
