"""Who is informed of a new finding, and how."""

import warnings
from collections.abc import Callable
from typing import Any

from keras_concepts import _backend
from keras_concepts.callbacks._careful import Careful
from keras_concepts.rules.finding import Finding

_WAYS = ("report", "warn", "stop")
OnFinding = str | Callable[[Finding], Any]


def checked_on_finding(owner: str, on_finding: OnFinding) -> OnFinding:
    """What to do with a new problem: one of three words, or a callable.

    Args:
        owner: Class with the argument `on_finding`.
        on_finding: The value given for it.

    Raises:
        ValueError: It is neither.
    """
    if callable(on_finding) or (
        isinstance(on_finding, str) and on_finding in _WAYS
    ):
        return on_finding
    raise ValueError(
        f"`on_finding` of `{owner}` must be 'report', 'warn', 'stop' or a "
        f"callable. Received: on_finding={on_finding!r}."
    )


def tell(
    finding: Finding,
    on_finding: OnFinding,
    sink: Callable[[str], Any],
    model: Any,
    careful: Careful,
) -> None:
    """Reports a finding, and stops the run if that is asked for.

    Args:
        finding: A new finding.
        on_finding: The doctor's argument.
        sink: Called with the text to print.
        model: The model in `fit`; `None` if the run has ended.
        careful: Guards what may fail.
    """
    if callable(on_finding):
        try:
            _ = on_finding(finding)
        except Exception as error:  # `fit` ends with it
            careful.let_through(error)
            raise
        return
    if finding.because_of is None and finding.severity != "info":
        if on_finding == "warn":
            warnings.warn(f"TrainingDoctor: {finding}", UserWarning, 2)
            return
        with careful("print a finding"):
            _ = sink(f"TrainingDoctor: {finding.headline}")
    # NaN is certain, even if it is the consequence of something else.
    is_certain = finding.severity == "error"
    if on_finding == "stop" and is_certain and model is not None:
        if _backend.has_other_workers(model):
            careful.note(
                '`on_finding="stop"`: if one process stopped, the others '
                "would wait for it, so none does"
            )
            return
        model.stop_training = True
