"""Where a run stands after the runs that its file already holds."""

from typing import Any, NamedTuple

from keras_concepts._recording.runs import WrittenRun, replaced_runs


class Resumption(NamedTuple):
    """How a run is continued.

    Attributes:
        offset: Added to an epoch of its `fit`, gives the epoch of the file.
        next_epoch: Its first epoch.
        next_step: Its first step.
        of_run: Number of the interrupted run that it continues, if any.
    """

    offset: int
    next_epoch: int
    next_step: int
    of_run: int | None


class EarlierRuns:
    """Runs in a file that come before the one being recorded.

    Args:
        written: All runs of the file, by number.
        identity: Identity of the run being recorded.

    Attributes:
        run: Number of the run being recorded.
        is_first: Whether no other monitor has recorded it in the file.
        monitors: The monitors that have recorded it.
        next_step: The step after the last one of the earlier runs, else 0.
        next_epoch: The epoch after their last one, else 0.
    """

    def __init__(self, written: dict[int, WrittenRun], identity: str) -> None:
        same = [run for run in written.values() if run.identity == identity]
        self.is_first = not same
        self.monitors = same[0].monitors if same else []
        self.run = same[0].number if same else 1 + max(written, default=-1)
        self._runs = {n: run for n, run in written.items() if n < self.run}
        steps = [run.steps for run in self._runs.values() if run.steps]
        self.next_step = max((max(s.values()) for s in steps), default=0)
        self.next_epoch = 1 + max(map(max, steps), default=-1)

    def resume(
        self,
        epoch: int,
        step: int | None,
        *,
        steps_per_epoch: int | None,
        facts: dict[str, Any],
    ) -> Resumption:
        """Continues where the latest run of the same model stands.

        Args:
            epoch: First epoch of the new run, as its `fit` numbers it.
            step: Steps that the model has taken, if known.
            steps_per_epoch: Steps of an epoch, if known.
            facts: What both runs must share.
        """
        other = source = self._latest_with(facts)
        offset = other.offset if other else 0
        first, next_step, of_run = epoch + offset, self.next_step, None
        runs = [*self._runs.values()]
        if other is not None and other.broke_off:
            of_run = other.number
            replaced = replaced_runs(other.number, self._runs)
            runs = [self._runs[n] for n in (other.number, *replaced)]
            before = [
                steps
                for run in runs
                for each, steps in run.steps.items()
                if each < first
            ]
            begun = other.facts.get("first_step", 0)
            next_step = max(before, default=begun)
            # The run to which the backup belongs may be an earlier one.
            source = next((r for r in runs if r.first_epoch <= first), other)
        if step is not None:
            if source is not None:
                step += source.step_offset(first - 1)
            is_known = any(first - 1 in run.steps for run in runs)
            # The optimizer is ahead of the file if it was saved within the
            # epoch. If it is further ahead than that, it counts something other
            # than steps.
            longest = steps_per_epoch
            if longest is None:
                longest = max((r.longest_epoch for r in runs), default=0)
            if not is_known or not longest or step - next_step <= longest:
                next_step = max(next_step, step)
        return Resumption(offset, first, next_step, of_run)

    def broke_off_in_the_first_epoch(
        self,
        step: int | None,
        steps_per_epoch: int | None,
        facts: dict[str, Any],
    ) -> bool:
        """Whether the latest run of the model broke off there, at this step.

        Args:
            step: Steps that the model has taken, if known.
            steps_per_epoch: Steps of an epoch, if known.
            facts: What both runs must share.
        """
        if not step or not facts:
            return False
        other = self._latest_with(facts)
        if other is None or not other.broke_off:
            return False
        if other.facts.get("initial_epoch"):
            return False
        begun = other.facts.get("initial_step") or 0
        # A run that begins where the other began is a new run, unless the other
        # was itself restored.
        lowest = begun if other.facts.get("resumed") else begun + 1
        if steps_per_epoch is None:
            is_first = max(other.steps, default=-1) <= other.first_epoch
            return is_first and lowest <= step
        return lowest <= step <= begun + steps_per_epoch

    def _latest_with(self, facts: dict[str, Any]) -> WrittenRun | None:
        for _, run in sorted(self._runs.items(), reverse=True):
            if all(run.facts.get(key) == facts[key] for key in facts):
                return run
        return None
