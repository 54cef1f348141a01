"""Compiled functions, and what is different while one is traced."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from tensorflow.compiler.tf2xla.python.xla import optimization_barrier
from tensorflow.python.ops import control_flow_util

from keras_concepts._backend.tensorflow.replicas import outside_of_strategy
from keras_concepts._backend.tensorflow.states import kept_state
from keras_concepts._types import Tensor

COMPILES = True
COMPILES_FEW = False


def compiled_pass(
    function: Callable[..., Any],
    model: Any,
    eager: bool,
    few: int | None = None,
) -> Callable[..., Any]:
    variables = model.variables

    def run(*tensors: Tensor) -> Any:
        # Keras reads only the scope for the weights that it regularizes. As
        # tensors: a regularizer may use what a variable does not have.
        mapping = [(v, tf.convert_to_tensor(v.value)) for v in variables]
        with keras.StatelessScope(mapping, collect_losses=True):
            return function(*tensors)

    step = (
        run if eager or few is not None else tf.function(run, autograph=False)
    )

    def kept(*tensors: Tensor) -> Any:
        with kept_state(model):
            return step(*tensors)

    return functools.partial(outside_of_strategy, kept)


def compiled(
    function: Callable[..., Any], once: bool = False
) -> Callable[..., Any]:
    del once
    return function


def current_trace() -> Any:
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def is_in_trace(tensor: Any, trace: Any) -> bool:
    return not tf.is_symbolic_tensor(tensor) or tensor.graph is trace


def choose(
    predicate: Tensor,
    if_true: Callable[[], Tensor],
    if_false: Callable[[], Tensor],
) -> Tensor:
    return tf.cond(predicate, if_true, if_false)


choose_rarely = choose


def isolate(tensors: list[Tensor]) -> list[Tensor]:
    if tf.executing_eagerly():
        return tensors
    # A second reader of a gradient changes what XLA and Grappler fuse and
    # regroup, and with it the rounding of the training step. The result of a
    # product, a sum or a reduction over many entries is in memory anyway; so
    # the elementwise operations after it are repeated from those tensors, for
    # the second reader alone.
    leaves: dict[Any, Tensor] = {}
    for tensor in tensors:
        _collect_leaves(tensor, leaves)
    if traced_for_xla():  # the barrier exists only there
        # Floats only: XLA must know the shape argument of a Reshape.
        floats = {ref: x for ref, x in leaves.items() if x.dtype.is_floating}
        walled = optimization_barrier(*floats.values())
        leaves |= dict(zip(floats, walled, strict=True))
    return [_made_again(tensor, leaves) for tensor in tensors]


def traced_for_xla() -> bool:
    """Whether XLA compiles what is traced here."""
    graph = tf.compat.v1.get_default_graph()
    return control_flow_util.GraphOrParentsInXlaContext(graph)


def _is_elementwise(tensor: Tensor) -> bool:
    operation = tensor.op
    here = operation.graph is tf.compat.v1.get_default_graph()
    return here and operation.type in _ELEMENTWISE


def _collect_leaves(tensor: Tensor, leaves: dict[Any, Tensor]) -> None:
    if not _is_elementwise(tensor):
        leaves[tensor.ref()] = tensor
        return
    for operand in tensor.op.inputs:
        _collect_leaves(operand, leaves)


def _made_again(tensor: Tensor, made: dict[Any, Tensor]) -> Tensor:
    if tensor.ref() not in made:
        operation = tensor.op
        attributes = dict(operation.node_def.attr)
        # If they were identical, Grappler would merge copy and original.
        attributes["_keras_concepts_copy"] = tf.compat.v1.AttrValue(b=True)
        made[tensor.ref()] = operation.graph.create_op(
            operation.type,
            [_made_again(operand, made) for operand in operation.inputs],
            [output.dtype for output in operation.outputs],
            attrs=attributes,
        ).outputs[0]
    return made[tensor.ref()]


# Not `Tanh` and `Sigmoid`: Grappler fuses a product and the activation after
# it, unless something else reads the tensor between them.
# fmt: off
_ELEMENTWISE = frozenset([
    "Add", "AddN", "AddV2", "Cast", "Div", "DivNoNan", "Exp", "ExpandDims",
    "Identity", "Maximum", "Minimum", "Mul", "MulNoNan", "Neg", "RealDiv",
    "Reciprocal", "Reshape", "Rsqrt", "RsqrtGrad", "Select", "SelectV2",
    "SigmoidGrad", "Sqrt", "SqrtGrad", "Square", "Squeeze",
    "SquaredDifference", "StopGradient", "Sub", "TanhGrad", "Transpose",
])
# fmt: on
