"""The train function, the predictions and the batches of Keras' trainer."""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from keras_concepts._backend.fixed_part import FixedPart
from keras_concepts._backend.kept_variables import keep_variables
from keras_concepts._backend.keras_internals import (
    make_train_function,
    watch_next_pass,
)
from keras_concepts._backend.torch.states import keep_modules, kept_state
from keras_concepts._backend.torch.tensors import snapshot
from keras_concepts._shadow import (
    shadow,
    shadow_methods,
)
from keras_concepts._types import Observe

END_OF_DATA = (StopIteration,)
shadow_in_step = shadow


def shadow_methods_in_step(
    base: type, name: str, replacement: Callable[..., Any]
) -> contextlib.AbstractContextManager[None]:
    owner = threading.get_ident()
    # `torch.compile` cannot determine which thread it is in.
    return shadow_methods(
        base,
        name,
        replacement,
        lambda: torch.compiler.is_compiling() or threading.get_ident() == owner,
    )


def backup(model: Any, arguments: tuple[Any, ...]) -> Callable[[Any], Any]:
    del arguments
    restore_variables = keep_variables(model, snapshot)
    restore_modules = keep_modules(model)

    def restore(result: Any) -> Any:
        restore_variables()
        restore_modules()
        return result

    return restore


def observed_train_functions(
    model: Any,
) -> Callable[[Observe, Iterable[Any]], Callable[..., Any]]:
    return functools.partial(_observed_train_function, model)


def _observed_train_function(
    model: Any, observe: Observe, buffers: Iterable[Any]
) -> Callable[..., Any]:
    del buffers  # written in place
    previous = model.train_function
    make_train_function(model)
    step, model.train_function = model.train_function, previous

    def observed(data: Any) -> Any:
        with observe(data[0], None, None):
            return step(data)

    return observed


@contextlib.contextmanager
def batch_predictor(model: Any) -> Iterator[Callable[[Any], Any]]:
    previous = model.predict_function
    model.make_predict_function(force=True)
    step, model.predict_function = model.predict_function, previous
    fixed = FixedPart(lambda tensor: tensor._version)

    def predict(batch: Any) -> Any:
        fixed.next_call(batch)
        return step([(batch,)])

    # Compiled code must not depend on Python that changes from call to call.
    compiled = model.jit_compile and not model.run_eagerly
    with (
        kept_state(model),
        contextlib.nullcontext() if compiled else fixed.of(model),
    ):
        model.eval()
        yield predict


def watch_batches(iterator: Any, look: Callable[[Any], None]) -> bool:
    watch_next_pass(iterator, look)
    return True
