"""The schedule of measured steps in an epoch."""

from keras_concepts._validation import check_positive_int

# After the first epoch, at most one step in this many is measured: otherwise
# measuring would take a large share of short epochs.
_BUDGET = 16
# But at least this many per epoch.
_FEWEST = 4


class Schedule:
    """Every `every`-th step, and at most about `max_samples` per epoch.

    The interval is widened so that the samples are spread over the whole epoch.
    If the length of the epoch is not known, it doubles each time `max_samples`
    have been taken. From the second epoch on the length is known, and a
    sixteenth of the steps is measured, if that is less: 4 of 50, 32 of 512.

    Args:
        every: Smallest interval between two measured steps, at least 1.
        max_samples: Maximum number of measured steps in an epoch of known
            length, or `None` for no limit.
    """

    def __init__(self, every: int = 1, max_samples: int | None = None) -> None:
        check_positive_int("Schedule", "every", every)
        if max_samples is not None:
            check_positive_int("Schedule", "max_samples", max_samples)
        self.every = every
        self.max_samples = max_samples
        self.interval = every
        self._step = 0
        self._taken = 0
        self._is_first = True

    @property
    def takes_all(self) -> bool:
        """Whether every step is measured, however many there are."""
        return self.every == 1 and self.max_samples is None

    def __str__(self) -> str:
        return f"every={self.every}, max_samples={self.max_samples}"

    def begin_epoch(self, steps: int | None) -> None:
        """Starts an epoch of `steps` steps, or as long as the last one."""
        steps = steps or self._step
        self.interval = self.every
        if self.max_samples is not None:
            samples = self.max_samples
            if not self._is_first:
                samples = min(samples, max(_FEWEST, -(-steps // _BUDGET)))
            self.interval = max(self.every, -(-steps // samples))
        self._is_first = False
        self._step = 0
        self._taken = 0

    def due(self, steps: int = 1) -> bool:
        """Whether one of the next `steps` steps is due."""
        return -self._step % self.interval < steps

    def advance(self, steps: int, measured: bool) -> None:
        """Counts `steps` steps that were taken together."""
        self._step += steps
        if not measured or self.max_samples is None:
            return
        self._taken += steps
        if self._taken >= self.max_samples:
            self._taken = 0
            self.interval *= 2
