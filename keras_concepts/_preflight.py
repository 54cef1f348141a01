"""What is wrong with model, loss and data, before they are trained."""

import dataclasses
import math
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_concepts import _backend
from keras_concepts import quantities as q
from keras_concepts._batches import as_fed, check_model
from keras_concepts._check_masks import check_masks
from keras_concepts._shown_as_text import show_text
from keras_concepts.instruments.compiled_losses import part_for
from keras_concepts.instruments.data.array_facts import array_facts
from keras_concepts.instruments.data.batch_facts import BatchFacts
from keras_concepts.instruments.data.few_batches import (
    few_batches,
)
from keras_concepts.instruments.data.rows import (
    entries_per_row,
    row_count,
    spread_rows,
    take_rows,
)
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
from keras_concepts.instruments.trial import Learned, Trial
from keras_concepts.recording import Recording
from keras_concepts.rules.causes import cause_of
from keras_concepts.rules.data import scale_of
from keras_concepts.rules.finding import Finding
from keras_concepts.rules.judge import Judge, in_order
from keras_concepts.rules.start import LEARNED

_OWNER = "preflight"
# Rows that are predicted, and learned; and entries that they may have.
_ROWS, _LEARNED_ROWS = 64, 16
_ENTRIES = 4_000_000
# A batch is tried with as many rows as the model has weights for.
_WEIGHTS_PER_ROW = 10
_RATES = (3e-3, 3e-4, 3e-2)
_STEPS = 40
# Without time for as many steps, none is taken.
_FEWEST = 4
_BATCHES = 64
# Beyond so many layers it takes minutes to compile a step.
_LAYERS = 120


class PreflightReport(list[Finding]):
    """The findings of a preflight, causes first.

    A list of `Finding`, empty if nothing was found.

    Attributes:
        checked: Names of the rules that could say something.
        unchecked: What could not be checked, and why.
        seconds: How long it took.
    """

    def __init__(
        self,
        findings: Iterable[Finding],
        checked: Sequence[str] = (),
        unchecked: Sequence[str] = (),
        seconds: float = 0.0,
    ) -> None:
        super().__init__(findings)
        self.checked = list(dict.fromkeys(checked))
        self.unchecked = list(dict.fromkeys(unchecked))
        self.seconds = seconds

    _repr_pretty_ = show_text

    def __str__(self) -> str:
        count = {0: "No finding", 1: "1 finding"}
        head = count.get(len(self), f"{len(self)} findings")
        lines = [f"{head} before training ({self.seconds:.1f} s)."]
        lines += [str(finding) for finding in self]
        if self.checked:
            lines.append(f"Checked: {', '.join(self.checked)}.")
        lines += [f"Not checked: {each}" for each in self.unchecked]
        return "\n".join(lines)


def preflight(
    model: Any,
    x: Any,
    y: Any = None,
    *,
    sample_weight: Any = None,
    validation_data: Any = None,
    validation_split: float = 0.0,
    shuffle: bool = True,
    batch_size: int = 32,
    seconds: float = 5.0,
) -> PreflightReport:
    """Looks for what keeps a model from learning, before it is trained.

    Compares what the last layer makes with what the loss takes and the labels
    are; looks at the scale, NaN and order of the data, at masks that get lost,
    at weights that no gradient reaches or that begin all equal, and at the loss
    of the untrained model. And it tries whether a few dozen steps can learn one
    batch, as any healthy model can.

    The model stays as it is, bit for bit: weights, statistics, optimizer,
    metrics and seeds; so do the global random states. (A model that has not
    been built is built, as `fit` would.) Data are read and not consumed. An
    iterator or a generator, which can be read once, is refused.

    Args:
        model: A compiled `keras.Model`. Of one that is not compiled, what needs
            a loss is not checked.
        x: Inputs as for `model.fit`: arrays in any structure. Or batches: a
            `tf.data.Dataset`, `keras.utils.PyDataset`, `DataLoader` or a list
            of batches; the first 64 are looked at.
        y: Labels, if `x` are arrays.
        sample_weight: Weights of the samples, or `None`.
        validation_data: `(x, y)` in arrays, to be compared with the others.
        validation_split: As you will give it to `fit`.
        shuffle: As you will give it to `fit`.
        batch_size: As you will give it to `fit`.
        seconds: Time for learning one batch. A step that takes too long is not
            repeated; `unchecked` says so. The other checks take as long as a
            few steps, compilation included.

    Returns:
        A `PreflightReport`: a list of `Finding`, causes first. `print` it.

    Raises:
        TypeError: `model` is not a `keras.Model`, or `x` is nothing that can be
            read without consuming it.
        ValueError: There are no rows, or labels beside batches that have their
            own; or reading a data set would change the order in which it
            shuffles.

    Example:

    >>> import numpy as np
    >>> model = keras.Sequential(
    ...     [keras.Input((4,)), keras.layers.Dense(3, name="head")]
    ... )
    >>> model.compile("adam", "sparse_categorical_crossentropy")
    >>> x = np.random.default_rng(0).normal(size=(32, 4))
    >>> for finding in preflight(model, x, np.arange(32) % 3):
    ...     if finding.because_of is None:  # a cause, no consequence
    ...         print(finding.rule, finding.variant, finding.severity)
    head_loss_mismatch not_probabilities error
    """
    started = time.monotonic()
    check_model(_OWNER, model)
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` of `preflight` must be a `keras.Model`, which has a loss "
            f"and is fitted. Received: a {type(model).__name__}."
        )
    given = _given(
        model,
        (x, y, sample_weight),
        validation_data,
        validation_split,
        batch_size,
    )
    with (
        _backend.kept_randomness(),
        _backend.names_kept(),
        warnings.catch_warnings(),
    ):
        # Of Keras, which says some of it, and will again in `fit`.
        warnings.simplefilter("ignore")
        check = _Check(model, given, bool(shuffle), seconds)
        findings = check.run()
    return PreflightReport(
        findings,
        check.checked,
        check.unchecked,
        time.monotonic() - started,
    )


@dataclasses.dataclass
class _Given:
    """What `preflight` was given, arrays or batches.

    Attributes:
        parts: `(x, y, sample_weight)` of the training rows, in arrays.
        batches: Facts of batches, if these were given.
        validation: The same of validation rows, or `None`.
        split: The argument.
        batch_size: The argument.
    """

    parts: tuple[Any, Any, Any]
    batches: BatchFacts | None
    validation: tuple[Any, Any, Any] | None
    split: float
    batch_size: int

    def rows(self, most: int) -> tuple[Any, Any, Any]:
        """Some rows in NumPy, spread evenly, whose numbers are all finite."""
        leaves = [x for x in keras.tree.flatten(self.parts) if x is not None]
        entries = sum(map(entries_per_row, leaves))
        most = max(min(most, _ENTRIES // entries), 1)
        count = row_count(self.parts[0]) or 0
        parts = _taken(self.parts, spread_rows(count, most))
        finite = _finite_rows(parts)
        return (
            parts
            if finite.all() or not finite.any()
            else _taken(parts, np.flatnonzero(finite))
        )


def _given(
    model: Any, parts: Any, held: Any, split: float, batch_size: int
) -> _Given:
    """What was given, and the model built."""
    x, *others = parts
    validation = None
    if isinstance(held, list | tuple):
        validation = keras.utils.unpack_x_y_sample_weight(held)
    if not _are_arrays(x, others[0]):
        if any(each is not None for each in others):
            raise ValueError(
                "`y` and `sample_weight` of `preflight` go with arrays; "
                "batches bring their own. Received: "
                f"x={type(x).__name__}, y={type(others[0]).__name__}."
            )
        batches = _batch_facts(model, x)
        parts = batches.probe(_ROWS)
        if parts is None:
            raise _no_rows(x)
        return _Given(parts, batches, validation, split, batch_size)
    count = row_count(x)
    if not count:
        raise _no_rows(x)
    if split and validation is None:
        first = math.floor(count * (1.0 - split))
        parts, validation = _cut(parts, 0, first), _cut(parts, first, count)
    given = _Given(parts, None, validation, split, batch_size)
    _build(model, given.rows(2)[0])
    return given


def _no_rows(x: Any) -> ValueError:
    return ValueError(
        "`x` of `preflight` must hold at least one row, in dense arrays. "
        f"Received: x of type {type(x).__name__}."
    )


def _batch_facts(model: Any, data: Any) -> BatchFacts:
    """Facts of the first batches. The first of all builds the model."""
    facts = BatchFacts()
    first = [*few_batches(_OWNER, data, 1, seconds=2.0)]
    if not first:
        raise _no_rows(data)
    x, y, _ = keras.utils.unpack_x_y_sample_weight(first[0])
    # After the random states were put back: the model is to keep its own.
    _build(model, x)
    heads = heads_of(model, x, y)
    for batch in few_batches(_OWNER, data, _BATCHES, seconds=2.0):
        x, y, weight = keras.utils.unpack_x_y_sample_weight(batch)
        facts.update(x, y, weight, heads)
    return facts


def _build(model: Any, x: Any) -> None:
    if not model.built:
        _ = _backend.call_as_trainer(model, as_fed(x), training=False)


def _are_arrays(x: Any, y: Any) -> bool:
    if isinstance(x, list | tuple):
        # A list of inputs, not of batches `(x, y)`.
        return y is not None or not any(
            isinstance(each, list | tuple) for each in x
        )
    return isinstance(x, dict) or hasattr(x, "shape")


def _cut(parts: Any, first: int, end: int) -> Any:
    return _taken(parts, np.arange(first, end))


def _taken(parts: Any, rows: np.ndarray) -> Any:
    return keras.tree.map_structure(
        lambda a: None if a is None else take_rows(a, rows), parts
    )


def _finite_rows(parts: Any) -> np.ndarray:
    count = row_count(parts[0]) or 0
    finite = np.ones(count, bool)
    for array in keras.tree.flatten(parts):
        if array is not None and array.dtype.kind == "f":
            finite &= np.isfinite(array.reshape(count, -1)).all(axis=1)
    return finite


class _Check:
    """One preflight.

    Args:
        model: A built model.
        given: Data.
        shuffle: Whether `fit` will shuffle arrays.
        seconds: Time for learning one batch.
    """

    def __init__(
        self, model: Any, given: _Given, shuffle: bool, seconds: float
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
        """What is found."""
        rows = self._given.rows(_ROWS)
        heads = heads_of(self._model, rows[0], rows[1])
        facts = self._facts(heads)
        recording = Recording(facts=facts)
        outputs = self._outputs(rows[0])
        if outputs is not None:
            self._look_at_predictions(recording, heads, rows[1], outputs)
            if self._has_loss(rows[1]):
                self._look_at_losses(recording, rows, outputs)
        self._look_at_weights(recording, facts)
        self._look_at_calls(rows[0], outputs, facts)
        recording.record_facts({"data": facts["data"], "checks": self._checks})
        return self._judged(recording, rows[0], facts["data"]["inputs"])

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
        self.unchecked += facts["data"]["missing"]
        return facts

    def _outputs(self, x: Any) -> Any:
        """Outputs at inference, `None` if the model cannot be called."""

        def function(x: Any) -> Any:
            return _backend.call_as_trainer(self._model, x, training=False)

        try:
            return self._passed(function, x, eager=False)
        except Exception as error:  # `fit` will say what does not fit
            self._failed("predictions", error)
            return None

    def _passed(
        self, function: Callable[[Any], Any], x: Any, eager: bool
    ) -> Any:
        run = _backend.compiled_pass(
            function, self._model.variables, eager=eager, few=1
        )
        with _backend.without_gradients(), _backend.fixed_randomness(0):
            return run(as_fed(x))

    def _look_at_calls(
        self, x: Any, outputs: Any, facts: dict[str, Any]
    ) -> None:
        """What passes between layers, where data or outputs give cause."""
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
        except Exception as error:  # of the model: said in `unchecked`
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
            values = ops.convert_to_numpy(predicted)
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
            value = ops.convert_to_numpy(variable)
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
                loss = float(ops.convert_to_numpy(compiled(y, outputs, weight)))
                recording.append(-1, "", q.PROBE_INFERENCE_LOSS, 0, loss)
                if math.isfinite(loss):
                    self._try(recording, rows)
        except Exception as error:  # `fit` will say what does not fit
            self._failed("loss", error)
            return
        if not math.isfinite(loss) and _are_finite(outputs):
            self._faults.append(
                Fault("loss", "", 1, "the loss, of finite outputs")
            )

    def _try(self, recording: Recording, rows: Any) -> None:
        """Learns one batch."""
        model = self._model
        weights = sum(math.prod(v.shape) for v in model.trainable_variables)
        most = min(_LEARNED_ROWS, weights // _WEIGHTS_PER_ROW)
        if most < 2:
            self.unchecked.append(
                "gradients and learning one batch: the model has too few "
                "trainable weights."
            )
            return
        count = row_count(rows[0]) or 0
        batch = as_fed(_taken(rows, spread_rows(count, most)))
        layers = len(_backend.flatten_layers(model))
        is_small = layers <= _LAYERS
        started = time.monotonic()
        try:
            trial = Trial(model, *batch, compiled=is_small, steps=_STEPS)
            loss, gradients = trial.gradients()
        except Exception as error:  # of the model: said in `unchecked`
            self._failed("gradients", error)
            return
        paths = [self._names.of(v) for v in trial.variables]
        recording.append(-1, "", q.PROBE_LOSS, 0, loss)
        bad = [
            (path, int((~np.isfinite(g)).sum()))
            for path, g in zip(paths, gradients, strict=True)
        ]
        bad = [(path, number) for path, number in bad if number]
        if not math.isfinite(loss):
            self._faults.append(
                Fault("loss", "", 1, "the loss, in training mode")
            )
            return
        if bad:
            path, number = bad[-1]  # it comes to the last layer first
            where = f"the gradient of {path}, of a finite loss"
            self._faults.append(Fault("gradient", path, number, where))
            return
        self._checks["equal_gradients"] = {
            path: g.ndim > 1 and equal_columns(g) == 1.0
            for path, g in zip(paths, gradients, strict=True)
        }
        # What a compiled step takes, the first one does not tell.
        first = 0.0 if is_small else time.monotonic() - started
        learned = self._learned(trial, first)
        if learned is None:
            return
        self._checks["batch"] = {
            "before": learned.before,
            "after": learned.after,
            "steps": learned.steps,
            "rate": learned.rate,
            "rows": row_count(batch[0]),
        }
        self._checks["moved"] = {
            path: bool(np.any(g)) or moved
            for path, g, moved in zip(
                paths, gradients, learned.moved, strict=True
            )
        }

    def _learned(self, trial: Trial, first: float) -> Learned | None:
        """The best of several rates; `None` if time ran out before."""
        started = time.monotonic()
        best = None
        for rate in _RATES:
            left = self._seconds - (time.monotonic() - started)
            if left <= 0 or first * _FEWEST > left:
                break
            found = trial.learn(_STEPS, rate, _is_learned, left)
            if _is_learned(found.before, found.after):
                return found
            if found.steps < _STEPS and math.isfinite(found.after):
                break
            if best is None or found.after < best.after:
                best = found
        else:
            return best
        self.unchecked.append(
            "learning one batch: a step of this model takes too long for "
            f"`seconds={self._seconds:g}`."
        )
        return None

    def _failed(self, what: str, error: Exception) -> None:
        text = str(error).strip().split("\n")[0][:200]
        self.unchecked.append(f"{what}: {type(error).__name__}: {text}")

    def _judged(
        self, recording: Recording, x: Any, inputs: list[dict[str, Any]]
    ) -> list[Finding]:
        judge = Judge(recording)
        _ = judge.check((0, 0))
        self.checked = judge.checked
        found = judge.findings
        known = {(f.rule, f.variant) for f in found}
        if ("non_finite", "data") not in known:
            found += [fault.to_finding() for fault in self._faults[:1]]
        found += self._lost_masks(x, inputs)
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
        rows = spread_rows(row_count(x) or 0, _LEARNED_ROWS)
        try:
            report = check_masks(self._model, _taken(x, rows))
        except Exception as error:  # of the model: said in `unchecked`
            self._failed("masks", error)
            return []
        self.checked.append("lost_mask")
        return [finding.to_finding() for finding in report.findings]


def _are_finite(outputs: Any) -> bool:
    arrays = map(ops.convert_to_numpy, keras.tree.flatten(outputs))
    return all(np.isfinite(a).all() for a in arrays if a.dtype.kind == "f")


def _is_learned(before: float, after: float) -> bool:
    limit = before - LEARNED * abs(before)
    return math.isfinite(after) and after <= limit


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
