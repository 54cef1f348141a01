"""Compiled functions, and what is different while one is traced."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import keras
from jax._src import core  # the open trace: there is no public name for it

from keras_concepts._types import Tensor

COMPILES = True
COMPILES_FEW = True
# The code is several times slower, but compiles in a quarter of the time.
_QUICKLY_COMPILED = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
}
# Operations, over all calls, from which on compiling fast code is worthwhile.
_MANY_OPERATIONS = 1.2e10


def compiled_pass(
    function: Callable[..., Any],
    model: Any,
    eager: bool,
    few: int | None = None,
) -> Callable[..., Any]:
    variables = model.variables

    def run(values: list[Tensor], *tensors: Tensor) -> Any:
        mapping = list(zip(variables, values, strict=True))
        with keras.StatelessScope(mapping, collect_losses=True):
            return function(*tensors)

    if eager:
        step = run
    elif few is None:
        step = jax.jit(run)
    else:
        step = _compiled_for(run, few)
    return lambda *tensors: step([v.value for v in variables], *tensors)


def compiled(
    function: Callable[..., Any], once: bool = False
) -> Callable[..., Any]:
    return _quickly_compiled(function) if once else jax.jit(function)


def _compiled_for(
    function: Callable[..., Any], calls: int
) -> Callable[..., Any]:
    """Compiled so that compiling and that many calls take little time."""
    step: Callable[..., Any] | None = None

    def run(*arguments: Any) -> Any:
        nonlocal step
        if step is None:
            chosen = jax.jit(function)
            if _compiler_options():
                # Both use the same trace.
                cost = chosen.lower(*arguments).cost_analysis() or {}
                if calls * cost.get("flops", 0.0) < _MANY_OPERATIONS:
                    chosen = _quickly_compiled(function)
            step = chosen
        return step(*arguments)

    return run


def _quickly_compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    options = _compiler_options()
    if not options:
        return jax.jit(function)
    return jax.jit(function, compiler_options=options)


@functools.cache
def _compiler_options() -> dict[str, Any]:
    """The options for quick compilation that this compiler supports."""
    if "compiler_options" not in inspect.signature(jax.jit).parameters:
        return {}
    if jax.default_backend() != "cpu":
        return {}
    options: dict[str, Any] = {}
    for name, value in _QUICKLY_COMPILED.items():
        try:
            _ = jax.jit(lambda: 0, compiler_options={name: value})()
        except RuntimeError:  # the compiler does not have this option
            continue
        options[name] = value
    return options


def current_trace() -> Any:
    return core.trace_ctx.trace


def is_in_trace(tensor: Any, trace: Any) -> bool:
    return not isinstance(tensor, jax.core.Tracer) or tensor._trace is trace


def choose(
    predicate: Tensor,
    if_true: Callable[[], Tensor],
    if_false: Callable[[], Tensor],
) -> Tensor:
    if isinstance(predicate, jax.core.Tracer):
        return jax.lax.cond(predicate, if_true, if_false)
    return if_true() if predicate else if_false()


choose_rarely = choose


def isolate(tensors: list[Tensor]) -> list[Tensor]:
    # A second reader of the gradients changes what XLA fuses, and with it the
    # rounding of the training step. The barrier prevents that.
    return jax.lax.optimization_barrier(tensors)
