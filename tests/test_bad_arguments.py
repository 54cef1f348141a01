"""Each argument of each constructor, with values it does not expect."""

import collections
import inspect
import json
import os
import warnings

import keras
import numpy as np
import pytest

import hostile
import specimens
from test_contract import (
    ARGUMENTS,
    CALLBACKS,
    LOGITS,
    METRICS,
    PARTS,
    X,
    Y,
    label,
    numbers,
)

Pair = collections.namedtuple("Pair", "first second")
# What Keras reads and judges itself.
KERAS_ARGUMENTS = {"name", "dtype", "reduction"}
# Where NaN and infinity mean something.
MAY_BE_NAN = {"ignore_class", "zero_division", "time_budget"}


def used(component):
    """What a component makes of good data, as numbers."""
    match component:
        case keras.Metric():
            component.update_state(Y, LOGITS)
            return numbers(component.result())
        case keras.Loss():
            return numbers(component(Y, LOGITS))
        case keras.Layer():
            return numbers(component(X))
        case keras.Initializer():
            return numbers(component((12,)))
        case keras.Regularizer():
            return numbers(component(keras.ops.convert_to_tensor(X)))
    return None  # a constraint or monitor, which only a training run uses


def tried(cls, arguments, name, value, *, use):
    """Makes, saves, loads and uses a class; says what is wrong, if anything."""
    try:
        component = cls(**{**arguments, name: value})
        if hasattr(component, "get_config"):
            text = json.dumps(component.get_config())
            component = cls.from_config(json.loads(text))
        result = used(component) if use else None
    except Exception as error:
        # The one class with two names: Keras' files know it by the plain one.
        owners = {f"`{cls.__name__}", f"`Monitored{cls.__name__}"}
        by_keras = name in KERAS_ARGUMENTS or "when calling" in str(error)
        if by_keras or hostile.is_ours(error, *owners, f"`{name}`"):
            return None
        return f"{type(error).__name__}: {error}"
    if isinstance(value, float) and not np.isfinite(value):
        return None if name in MAY_BE_NAN else f"was accepted: {result}"
    return None


@pytest.mark.filterwarnings("ignore:.*below 0 or above 1")
@pytest.mark.parametrize("cls", PARTS + CALLBACKS, ids=label)
@pytest.mark.parametrize(
    ("values", "use"),
    [
        (hostile.few_values, False),
        pytest.param(hostile.values, True, marks=pytest.mark.long),
    ],
    ids=["made", "used"],
)
def test_is_refused_in_words_or_works(cls, values, use, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    given = specimens.ARGUMENTS.get(cls) or ARGUMENTS.get(cls, {})
    starts = [given] if cls in CALLBACKS or cls not in METRICS else [given, {}]
    wrong = []
    for name in inspect.signature(cls).parameters:
        if name == "kwargs":
            continue
        for value in values():
            for arguments in starts:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)
                    said = tried(cls, arguments, name, value, use=use)
                if said:
                    wrong.append(f"{name}={value!r}: {said}"[:300])
    assert not wrong, "\n".join(wrong[:9])
    assert not os.listdir(tmp_path)  # a constructor writes nothing


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("from_logits", "False"),
        ("use_mask", None),
        ("axis", 1.0),
        ("num_classes", 2**40),
        ("class_ids", 3),
        ("class_ids", []),
        ("class_ids", [1, 1]),
        ("zero_division", "warn"),
        ("threshold", [0.5, "x"]),
        ("top_k", 2.0),
    ],
)
def test_errors_name_the_argument(name, value):
    from keras_concepts.metrics import F1Score

    with pytest.raises((ValueError, TypeError), match=f"`{name}` of `F1Score`"):
        F1Score(**{name: value})


def test_a_named_tuple_is_taken_for_a_tuple():
    from keras_concepts.metrics import F1Score, FBetaScore

    metric = F1Score(num_classes=4, class_ids=Pair(np.int64(0), 2))
    assert metric.get_config()["class_ids"] == [0, 2]
    with pytest.raises((ValueError, TypeError), match="`beta` of `FBetaScore`"):
        FBetaScore(beta=Pair(1, 2))


def test_numbers_of_numpy_become_plain():
    from keras_concepts.metrics import F1Score

    config = F1Score(
        num_classes=np.int64(4),
        axis=np.int32(-1),
        from_logits=np.bool_(True),
        zero_division=np.float32(0.5),
        class_ids=np.arange(2),
    ).get_config()
    assert json.loads(json.dumps(config)) == config
