"""A report that is written while a training run goes on."""

import time
from collections.abc import Callable
from typing import Any

# Share of a time budget that writing may take.
_SHARE = 0.25
# Assumed seconds for the first report: matplotlib has to be loaded.
_FIRST = 1.0
# Seconds after which a browser reloads the report, at least.
_REFRESH = 10


class LiveReport:
    """Writes a report repeatedly, but rarely if that takes long.

    Args:
        write: Writes the report; called with the seconds after which a browser
            should reload it, or `None` for never.
        share: Share of the training time that measuring and writing may take;
            `None` for no limit.
        clock: Returns seconds.
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
        """Writes the report if there is time."""
        now = self._clock()
        pause = now - self._last
        if self._share is None or self._cost <= _SHARE * self._share * pause:
            self._last = now
            self._write(max(_REFRESH, round(pause)))
            self._last = self._clock()
            self._cost = self._last - now

    def finish(self) -> None:
        """Writes the report for the last time."""
        self._write(None)
