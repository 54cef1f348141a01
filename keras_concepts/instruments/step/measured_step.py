"""A training step that is measured, compiled once for several taps."""

import contextlib
import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from keras_concepts import _backend
from keras_concepts.instruments.step.capture_updates import capture_updates
from keras_concepts.instruments.step.step_record import StepRecord
from keras_concepts.instruments.step.tap import Tap
from keras_concepts.instruments.step.unseen_update import (
    batch_size,
    unseen_update,
)

# Untraced steps before a loop is reported to use no optimizer.
_ENOUGH_STEPS = 16
NO_OPTIMIZER = (
    "used no Keras optimizer that can be watched. Losses, penalties and weight "
    "changes are measured, gradients are not. In a custom training loop, "
    "`keras_concepts.instruments.GradientTap` measures the gradients of any "
    "Keras optimizer, and on PyTorch of any `torch.optim` optimizer"
)
HIDDEN_OPTIMIZER = (
    "uses an optimizer inside a conditional or its own compiled function, "
    "where gradients cannot be read. Weight changes are measured, these "
    "gradients are not. To measure them, call the optimizer directly in "
    "`train_step`"
)
HIDDEN_VALUES = (
    "calls layers inside a conditional or its own compiled function "
    "(`tf.function`, `jax.jit`, `keras.remat`). Their batch statistics and "
    "added losses are not measured"
)


class MeasuredStep:
    """The train function of a model, and what its taps record in each step.

    It outlives the `fit` in which it was made: monitors keep it with their
    taps, and it measures in the next `fit` if nothing has changed, so that a
    loop of fits compiles it only once. Keras keeps its own train function on
    the model in the same way; here nothing stays on the model.

    Args:
        model: The model in `fit`.
        taps: What measures the step.
        original: The model's own train function.
        takes_all: For each tap, whether it measures every step.
        switched: Whether a switch on the device selects the taps that record.

    Attributes:
        hidden: What the taps cannot see; texts for a message.
    """

    def __init__(
        self,
        model: Any,
        taps: Sequence[Tap[Any, Any]],
        original: Callable[..., Any],
        takes_all: Sequence[bool],
        switched: bool,
    ) -> None:
        self._model = model
        self._original = original
        self._taps = list(taps)
        self._takes_all = list(takes_all)
        self._switches: Any = None
        if switched:
            self._switches = _backend.Switches(len(self._taps))
        self._parts = _parts(model)
        self._function: Callable[..., Any] | None = None
        # Whether all updates of the last measured step were seen.
        self._sees_updates = False
        self._most_uses = 0
        self._idle_steps = 0
        self.hidden: set[str] = set()

    def make(self, make_observed: Callable[..., Callable[..., Any]]) -> None:
        """Makes the function; see `_backend.observed_train_functions`."""
        self._function = make_observed(self._observe, self._buffers())

    def serves(self, model: Any) -> bool:
        """Whether a `fit` that begins could use it again.

        Args:
            model: The model in `fit`. Keras makes its train function again when
                it is compiled.
        """
        return (
            model is self._model
            and model.train_function is self._original
            and _are_the_same(_parts(model), self._parts)
        )

    def was_made_of(
        self,
        taps: Sequence[Tap[Any, Any]],
        original: Callable[..., Any],
        takes_all: Sequence[bool],
        switched: bool,
    ) -> bool:
        """Whether the same arguments would make the same."""
        return (
            original is self._original
            and _are_the_same(taps, self._taps)
            and list(takes_all) == self._takes_all
            and switched == (self._switches is not None)
            and _are_the_same(_parts(self._model), self._parts)
        )

    @property
    def uses_no_optimizer(self) -> bool:
        """Whether no step has used an optimizer that can be watched."""
        return self._idle_steps > 0 and not self._most_uses

    def __call__(self, due: Sequence[bool], args: Any) -> Any:
        """Takes a step.

        Args:
            due: For each tap, whether to measure it.
            args: Arguments of the train function.
        """
        if self._function is None:
            raise RuntimeError("call `make` first")
        if self._switches is not None:
            self._switches.set(due)
        return self._function(*args)

    def _buffers(self) -> Iterator[Any]:
        # Not created before a backend asks for them.
        for tap in self._taps:
            yield tap.buffer
        if self._switches is not None:
            yield self._switches

    @contextlib.contextmanager
    def _observe(
        self,
        batch: Any,
        trained: list[Any] | None,
        untrained: Any,
    ) -> Iterator[list[Any]]:
        model = self._model
        variables, after = list(model.trainable_variables), []
        if trained is None and not self._sees_updates:
            trained = [_backend.snapshot(variable) for variable in variables]
        step = StepRecord(
            model=model,
            loss_tracker=next(
                (m for m in model.metrics if m.name == "loss"), None
            ),
            batch=batch,
            untrained=untrained,
            copies_gradients=self._most_uses != 1,
        )
        with contextlib.ExitStack() as stack:
            stack.enter_context(capture_updates(step))
            captured = [
                stack.enter_context(tap.capture(step)) for tap in self._taps
            ]
            yield after
        self._note(step)
        if not self._sees_updates:
            # They were not kept if the previous step had an optimizer. This one
            # has none: gradients may be accumulated by hand.
            before = trained or [_backend.snapshot(v) for v in variables]
            step.updates.append(unseen_update(step, variables, before, after))
        if step.loss is None:
            step.batch_size = batch_size(batch)
        if step.update.variables:
            self._record(step, captured)

    def _record(self, step: StepRecord, captured: list[Any]) -> None:
        flags: list[Any] = [True] * len(captured)
        if self._switches is not None:
            flags = self._switches.values()
            _ = step.isolated  # here: no tensor leaves a conditional
        for tap, its, flag, takes_all in zip(
            self._taps, captured, flags, self._takes_all, strict=True
        ):
            record = functools.partial(tap.record, step, its)
            if self._switches is None or takes_all:
                record()
            else:
                _backend.when(flag, record, tap.buffer)

    def _note(self, step: StepRecord) -> None:
        hidden = step.has_hidden_updates
        self._most_uses = max(self._most_uses, len(step.updates))
        for update in step.updates:
            update.drop_overwritten()
        self._sees_updates = bool(step.updates) and not hidden
        if hidden:
            self.hidden.add(HIDDEN_OPTIMIZER)
        elif not step.updates:
            self._idle_steps += 1
            # A single step is not judged, since gradients may be accumulated.
            waits = step.trace is None and self._idle_steps < _ENOUGH_STEPS
            if self._most_uses == 0 and not waits:
                self.hidden.add(NO_OPTIMIZER)
        if step.has_hidden_values:
            self.hidden.add(HIDDEN_VALUES)


def _parts(model: Any) -> list[Any]:
    """What taps derive from a model: objects that are compared by identity."""
    variables = list(model.trainable_variables)
    return [
        model.optimizer,
        model.loss,
        *variables,
        *(variable.regularizer for variable in variables),
        *model.non_trainable_variables,
        *_backend.flatten_layers(model),
    ]


def _are_the_same(a: Sequence[Any], b: Sequence[Any]) -> bool:
    return len(a) == len(b) and all(map(operator.is_, a, b))
