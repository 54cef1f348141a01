"""A report that is written while a training run goes on."""

import time
from collections.abc import Callable
from typing import Any

# Of a time budget, what writing may take.
_SHARE = 0.25
# Seconds that the first report is taken to cost: matplotlib has to be loaded.
_FIRST = 1.0
# Seconds between two looks of a browser, at least.
_REFRESH = 10


class LiveReport:
    """Writes a report again and again, but rarely if that takes long.

    Args:
        write: Writes it; called with the seconds after which a browser is to
            read it again, `None` for never.
        share: Of the training time that measuring and writing may take; `None`
            for no limit.
        clock: Seconds.
    """

    def __init__(
        self,
        write: Callable[[int | None], Any],
        share: float | None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._write = write
        self._share = share
        self._clock = clock
        self._cost = _FIRST
        self._last = clock()

    def update(self) -> None:
        """Writes it if there is time."""
        now = self._clock()
        pause = now - self._last
        if self._share is None or self._cost <= _SHARE * self._share * pause:
            self._last = now
            self._write(max(_REFRESH, round(pause)))
            self._last = self._clock()
            self._cost = self._last - now

    def finish(self) -> None:
        """Writes it for the last time."""
        self._write(None)
