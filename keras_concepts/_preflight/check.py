"""Everything that `preflight` checks, and its verdict."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts import quantities as q
from keras_concepts._batches import agreed, as_fed, check_agreed
from keras_concepts._check_masks import check_masks
from keras_concepts._preflight.given import OWNER, ROWS, Given, taken
from keras_concepts._preflight.one_batch import (
    LEARNED_ROWS,
    MORE_ROWS,
    OneBatch,
    failure,
)
from keras_concepts.instruments.compiled_losses import part_for
from keras_concepts.instruments.data.array_facts import array_facts
from keras_concepts.instruments.data.rows import row_count, spread_rows
from keras_concepts.instruments.facts import run_facts
from keras_concepts.instruments.first_kernel import (
    first_bad_output,
    first_kernel_rms,
)
from keras_concepts.instruments.heads import Head, heads_of
from keras_concepts.instruments.non_finite.fault import Fault
from keras_concepts.instruments.owners import owner_names
from keras_concepts.instruments.predictions import (
    equal_columns,
    prediction_rows,
)
from keras_concepts.instruments.recorded_calls import (
    RecordedCall,
    recorded_calls,
)
from keras_concepts.recording import Recording
from keras_concepts.rules.causes import cause_of
from keras_concepts.rules.finding import Finding
from keras_concepts.rules.judge import Judge, in_order
from keras_concepts.rules.out_of_range import has_numbers_out_of_range
from keras_concepts.rules.unscaled import scale_of


class Check:
    """One run of `preflight`.

    Args:
        model: A built model.
        given: The data.
        shuffle: Whether `fit` will shuffle arrays.
        seconds: Time limit for learning one batch.
    """

    def __init__(
        self, model: Any, given: Given, shuffle: bool, seconds: float
    ) -> None:
        self.checked: list[str] = []
        self.unchecked: list[str] = []
        self._model = model
        self._given = given
        self._shuffle = shuffle
        self._seconds = seconds
        self._names = owner_names(model)
        self._faults: list[Fault] = []
        self._checks: dict[str, Any] = {}
        self._own_step: list[str] = []

    def run(self) -> list[Finding]:
        """The findings."""
        rows = self._given.rows(ROWS)
        check_agreed(OWNER, "x", self._model, rows)
        heads = heads_of(self._model, rows[0], rows[1])
        facts = self._facts(heads)
        recording = Recording(facts=facts)
        outputs = None
        if not has_numbers_out_of_range(recording):
            outputs = self._outputs(rows[0])
        else:
            self.unchecked.append(
                "predictions, loss, gradients, masks and learning one batch: "
                "some ids or class numbers are out of range."
            )
        if outputs is not None:
            self._look_at_predictions(recording, heads, rows[1], outputs)
            if self._has_loss(rows[1]):
                self._look_at_losses(recording, rows, outputs)
        self._look_at_weights(recording, facts)
        if outputs is not None:
            self._look_at_calls(rows[0], outputs, facts)
        recording.record_facts({"data": facts["data"], "checks": self._checks})
        found = self._judged(recording)
        if outputs is not None:
            found += self._lost_masks(rows[0], facts["data"]["inputs"])
        return self._in_order(found)

    def _facts(self, heads: list[Head]) -> dict[str, Any]:
        given = self._given
        weighted = given.parts[2] is not None
        facts = run_facts(self._model, {})
        self._own_step = facts["own_step"]
        facts["batch_size"] = given.batch_size
        facts["is_preflight"] = True
        facts["heads"] = [head.facts for head in heads]
        facts["fit"] = {
            "shuffle": None if given.batches else self._shuffle,
            "class_weight": None,
            "sample_weight": weighted,
            "validation_split": given.split,
            "has_validation": given.validation is not None,
            "initial_epoch": 0,
        }
        if given.batches is not None:
            facts["data"] = {**given.batches.facts(heads, None), "step": 0}
        else:
            facts["data"] = array_facts(
                *given.parts,
                heads,
                batch_size=given.batch_size,
                shuffled=self._shuffle,
                validation=given.validation,
            )
        # Facts of all rows, which may differ where the rows looked at do not.
        facts["data"] = agreed(self._model, facts["data"])
        self.unchecked += facts["data"]["missing"]
        return facts

    def _outputs(self, x: Any) -> Any:
        """Outputs at inference, `None` if the model cannot be called."""

        def function(x: Any) -> Any:
            return _backend.call_as_trainer(self._model, x, training=False)

        try:
            return self._passed(function, x, eager=False)
        except Exception as error:  # `fit` will report the misfit
            self._failed("predictions", error)
            return None

    def _passed(
        self, function: Callable[[Any], Any], x: Any, eager: bool
    ) -> Any:
        run = _backend.compiled_pass(function, self._model, eager=eager, few=1)
        with _backend.without_gradients(), _backend.fixed_randomness(0):
            return run(as_fed(x))

    def _look_at_calls(
        self, x: Any, outputs: Any, facts: dict[str, Any]
    ) -> None:
        """Checks what passes between layers, if data or outputs give cause."""
        inputs = facts["data"]["inputs"]
        odd = len(inputs) == 1 and scale_of(inputs[0]) is not None
        bad = outputs is not None and not _are_finite(outputs)
        if not odd and not bad:
            return
        calls: list[RecordedCall] = []

        def function(x: Any) -> Any:
            with recorded_calls(self._model) as found:
                _ = _backend.call_as_trainer(self._model, x, training=False)
            calls.extend(found)
            return ops.zeros(())

        try:
            _ = self._passed(function, x, eager=True)
        except Exception as error:  # the model's: noted in `unchecked`
            self._failed("calls of layers", error)
            return
        if odd:
            kernels = {
                v["layer"] for v in facts["variables"] if v["role"] == q.WEIGHT
            }
            inputs[0]["kernel_rms"] = first_kernel_rms(calls, kernels)
        fault = first_bad_output(calls) if bad else None
        if fault is not None:
            self._faults.insert(0, fault)

    def _look_at_predictions(
        self, recording: Recording, heads: list[Head], y: Any, outputs: Any
    ) -> None:
        made = keras.tree.flatten(outputs)
        for place, head in enumerate(heads):
            labels = None
            if head.loss is not None:
                predicted = _part(outputs, head.loss.path)
                if y is not None:
                    labels = part_for(head.loss, y, len(heads))
            else:
                predicted = made[place] if len(made) == len(heads) else None
            if predicted is None:
                continue
            values = _backend.on_host(predicted)
            if values.dtype.kind != "f":
                continue
            rows = prediction_rows(values, labels, head.facts)
            for quantity, numbers in rows.items():
                index = range(len(numbers)) if quantity.indexed_by else None
                recording.append(
                    -1, head.facts["output"], quantity, 0, numbers, index=index
                )

    def _look_at_weights(
        self, recording: Recording, facts: dict[str, Any]
    ) -> None:
        roles = {v["path"]: v for v in facts["variables"]}
        for variable in self._model.trainable_variables:
            path = self._names.of(variable)
            known = roles.get(path)
            if known is None or known["role"] != q.WEIGHT:
                continue
            value = _backend.on_host(variable)
            if value.ndim < 2:
                continue
            share = equal_columns(value)
            recording.append(-1, path, q.EQUAL_COLUMNS, 0, share)

    def _has_loss(self, y: Any) -> bool:
        model = self._model
        if not getattr(model, "compiled", False):
            self.unchecked.append(
                "loss, gradients and learning one batch: the model is not "
                "compiled."
            )
        elif y is None:
            self.unchecked.append(
                "loss, gradients and learning one batch: there are no labels."
            )
        elif not _backend.has_loss(model):
            self.unchecked.append(
                "loss, gradients and learning one batch: `compile` was given "
                "no loss."
            )
        elif self._own_step:
            self.unchecked.append(
                "loss, gradients and learning one batch: the model has a "
                "`train_step` or `compute_loss` of its own."
            )
        else:
            return True
        return False

    def _look_at_losses(
        self, recording: Recording, rows: Any, outputs: Any
    ) -> None:
        _, y, weight = as_fed(rows)
        try:
            with _backend.built_loss(
                self._model, *_shapes(y, outputs)
            ) as compiled:
                loss = float(_backend.on_host(compiled(y, outputs, weight)))
                recording.append(-1, "", q.PROBE_INFERENCE_LOSS, 0, loss)
                if math.isfinite(loss):
                    self._learn(recording, rows)
        except Exception as error:  # `fit` will report the misfit
            self._failed("loss", error)
            return
        if not math.isfinite(loss) and _are_finite(outputs):
            self._faults.append(
                Fault(
                    "loss", "", 1, "the loss, although the outputs are finite"
                )
            )

    def _learn(self, recording: Recording, rows: Any) -> None:
        seconds = self._seconds
        if _backend.process_count(self._model) > 1:  # their clocks differ
            seconds = math.inf
        trial = OneBatch(self._model, self._names, seconds)
        try:
            trial.learn(recording, rows, lambda: self._given.rows(MORE_ROWS))
        finally:
            self._checks |= trial.checks
            self._faults += trial.faults
            self.unchecked += trial.unchecked

    def _failed(self, what: str, error: Exception) -> None:
        self.unchecked.append(failure(what, error))

    def _judged(self, recording: Recording) -> list[Finding]:
        judge = Judge(recording)
        _ = judge.check((0, 0))
        self.checked = judge.checked
        found = judge.findings
        known = {(f.rule, f.variant) for f in found}
        if ("non_finite", "data") not in known:
            found += [fault.to_finding() for fault in self._faults[:1]]
        return found

    @staticmethod
    def _in_order(found: list[Finding]) -> list[Finding]:
        found = [
            dataclasses.replace(f, because_of=_name(cause_of(f, found)))
            for f in found
        ]
        return in_order(found)

    def _lost_masks(
        self, x: Any, inputs: list[dict[str, Any]]
    ) -> list[Finding]:
        layers = _backend.flatten_layers(self._model)

        def has(kind: Any) -> bool:
            return any(isinstance(layer, kind) for layer in layers)

        padded = any(entry["padding"] for entry in inputs)
        if not has(keras.layers.Masking) and not (
            padded and has(keras.layers.Embedding)
        ):
            return []
        rows = spread_rows(row_count(x) or 0, LEARNED_ROWS)
        try:
            report = check_masks(self._model, taken(x, rows))
        except Exception as error:  # the model's: noted in `unchecked`
            self._failed("masks", error)
            return []
        self.checked.append("lost_mask")
        return [finding.to_finding() for finding in report.findings]


def _are_finite(outputs: Any) -> bool:
    arrays = map(_backend.on_host, keras.tree.flatten(outputs))
    return all(np.isfinite(a).all() for a in arrays if a.dtype.kind == "f")


def _name(finding: Finding | None) -> str | None:
    return None if finding is None else finding.rule


def _part(outputs: Any, path: tuple[Any, ...]) -> Any:
    try:
        for key in path:
            outputs = outputs[key]
    except (KeyError, IndexError, TypeError):
        return None
    leaves = keras.tree.flatten(outputs)
    return leaves[0] if len(leaves) == 1 else None


def _shapes(y: Any, outputs: Any) -> tuple[Any, Any]:
    """Shapes of labels and outputs."""

    def symbol(array: Any) -> Any:
        dtype = keras.backend.standardize_dtype(array.dtype)
        return keras.KerasTensor(tuple(array.shape), dtype=dtype)

    return (
        keras.tree.map_structure(symbol, y),
        keras.tree.map_structure(symbol, outputs),
    )
