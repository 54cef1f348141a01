"""The other callbacks of the `fit` that a monitor is in."""

import warnings
from typing import Any

import keras

from keras_concepts.instruments.step.callback_lists import lists_that_call


def is_in_an_outer_fit(monitor: Any) -> bool:
    """Whether the running `fit` was called by a callback of another `fit`."""
    lists = {
        id(caller)
        for caller in lists_that_call()
        if any(each is monitor for each in caller.callbacks)
    }
    return len(lists) > 1


def put_in_order(callbacks: keras.callbacks.CallbackList, monitor: Any) -> None:
    """Lists a monitor once, and before a `BackupAndRestore`.

    `BackupAndRestore` saves where to resume, so the epoch must have been
    recorded by then: a process may be killed between the two. Warns about other
    callbacks that run too early to read the monitor's log keys.
    """
    listed = callbacks.callbacks
    position = next(
        (i for i, each in enumerate(listed) if each is monitor), len(listed)
    )
    before, after = listed[:position], listed[position + 1 :]
    backups = [c for c in before if _is_backup(c)]
    # A new list: Keras is iterating over this one.
    callbacks.callbacks = [
        *(c for c in before if not _is_backup(c)),
        *listed[position : position + 1],
        *backups,
        *(c for c in after if c is not monitor),
    ]
    _warn_of_order(before, monitor)


def _is_backup(callback: Any) -> bool:
    return isinstance(callback, keras.callbacks.BackupAndRestore)


def _warn_of_order(before: list[Any], monitor: Any) -> None:
    name = type(monitor).__name__
    uses = {
        _name(callback): used
        for callback in before
        if (used := _uses(callback, monitor.log_keys))
    }
    if uses:
        keys = dict.fromkeys(key for used in uses.values() for key in used)
        many = len(uses) > 1
        warnings.warn(
            f"{' and '.join(uses)} {'do' if many else 'does'} not get "
            f"{', '.join(f'`{key}`' for key in keys)} of `{name}`, because "
            f"{'they come' if many else 'it comes'} earlier in the list of "
            f"callbacks. Put the monitor first: callbacks=[{name}(...), "
            f"{next(iter(uses)).strip('`')}(...)].",
            UserWarning,
            stacklevel=2,
        )


def _uses(callback: Any, keys: tuple[str, ...]) -> list[str]:
    """Which of the keys a callback looks for in the logs of an epoch."""
    if isinstance(callback, keras.callbacks.CSVLogger):
        return list(keys)
    file = str(getattr(callback, "filepath", ""))
    return [
        key
        for key in keys
        if getattr(callback, "monitor", None) == key or f"{{{key}" in file
    ]


def _name(callback: Any) -> str:
    return f"`{type(callback).__name__}`"
