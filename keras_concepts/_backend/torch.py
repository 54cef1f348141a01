"""Torch: eager steps, state in tensors that are written in place."""

import contextlib
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import torch

from keras_concepts._backend.fixed_part import FixedPart
from keras_concepts._shadow import shadow
from keras_concepts._types import Observe, Tensor

END_OF_DATA = (StopIteration,)
shadow_in_step = shadow


def snapshot(variable: Any) -> Tensor:
    return keras.ops.convert_to_tensor(variable).detach().clone()


def known_value(tensor: Tensor) -> np.ndarray | None:
    if torch.compiler.is_compiling() or tensor.device.type != "cpu":
        return None
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:  # unknown to NumPy
        tensor = tensor.float()
    return tensor.numpy()


def value_and_grad(
    function: Callable[[list[Tensor]], Any],
    tensors: list[Tensor],
    has_aux: bool = False,
) -> tuple[Any, list[Tensor]]:
    leaves = [tensor.detach().clone().requires_grad_() for tensor in tensors]
    with torch.enable_grad():
        value = function(leaves)
    scalar = value[0] if has_aux else value
    if not scalar.requires_grad:
        gradients = [torch.zeros_like(leaf) for leaf in leaves]
    else:
        gradients = torch.autograd.grad(scalar, leaves, materialize_grads=True)
    return _detached(value), list(gradients)


def _detached(tensors: Any) -> Any:
    return keras.tree.map_structure(
        lambda x: x.detach() if isinstance(x, torch.Tensor) else x, tensors
    )


def compiled_pass(
    function: Callable[..., Any], variables: Sequence[Any], eager: bool
) -> Callable[..., Any]:
    del eager  # PyTorch always is

    def run(*tensors: Tensor) -> Any:
        # Keras asks the scope alone for the weights that it regularizes.
        mapping = [(v, v.value) for v in variables]
        with keras.StatelessScope(mapping, collect_losses=True):
            return _detached(function(*tensors))

    return run


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


@contextlib.contextmanager
def fixed_randomness(seed: int) -> Iterator[None]:
    # `keras.layers.Dropout` without a seed draws from the global generator.
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        _ = torch.manual_seed(seed)
        yield


def out_of_gradient(
    model: Any, loss_tracker: Any, values: dict[Any, Tensor]
) -> contextlib.AbstractContextManager[None]:
    del model, loss_tracker, values  # eager: they are where they are
    return contextlib.nullcontext()


def without_gradients() -> contextlib.AbstractContextManager[Any]:
    return torch.no_grad()


def dense(gradient: Any, shape: Sequence[int]) -> Tensor:
    del shape
    return gradient.detach()


def dense_rows(gradient: Any) -> Tensor:
    return gradient.detach()


def sums_of_squares(tensors: list[Tensor]) -> Tensor:
    return torch.stack(torch._foreach_norm(tensors)).square()


def peaks(tensors: list[Tensor]) -> Tensor:
    # Twelve times as fast on a CPU as a norm of infinite order.
    ends = [torch.aminmax(x) for x in tensors]
    highest = torch.stack([end.max for end in ends])
    return torch.maximum(highest, -torch.stack([end.min for end in ends]))


def argmax(tensor: Tensor) -> Tensor:
    # `torch.argmax` is several times slower than `amax` on a CPU: find the
    # winning block first. The last block may overlap the one before, which
    # then comes first, as it should.
    classes = tensor.shape[-1]
    if classes < 256 or tensor.device.type != "cpu":
        return torch.argmax(tensor, dim=-1)
    rows = tensor.reshape(-1, classes)
    width = 1 << round(math.log2(classes) / 2)
    whole = classes // width
    blocks = rows[:, : whole * width].unflatten(1, (whole, width))
    highest = [blocks.amax(-1), rows[:, -width:].amax(-1, keepdim=True)]
    winner = torch.argmax(torch.cat(highest, dim=1), dim=1)
    start = (winner * width).clamp(max=classes - width)[:, None]
    columns = start + torch.arange(width, device=rows.device)
    within = torch.argmax(rows.gather(1, columns), dim=1)
    return (start[:, 0] + within).reshape(tensor.shape[:-1])


def segment_counts(segments: Tensor, count: int, dtype: str) -> Tensor:
    one = torch.ones((), dtype=getattr(torch, dtype), device=segments.device)
    return _scattered(one.expand(segments.numel()), segments, count)


def segment_sums(values: Tensor, segments: Tensor, count: int) -> Any:
    exact = values.to(_exact(values)).flatten()
    return _halves(_scattered(exact, segments, count), values)


def _scattered(entries: Tensor, segments: Tensor, count: int) -> Tensor:
    # The first segment is for what counts nowhere.
    places = segments.flatten().clamp(min=-1) + 1
    return entries.new_zeros(count + 1).index_add_(0, places, entries)[1:]


def column_sums(values: Tensor) -> Any:
    return _halves(values.sum(dim=0, dtype=_exact(values)), values)


def _exact(values: Tensor) -> torch.dtype:
    if not values.is_floating_point():
        return torch.int32
    # Apple's devices have no float64.
    return torch.float32 if values.device.type == "mps" else torch.float64


def _halves(sums: Tensor, values: Tensor) -> Any:
    if not values.is_floating_point():
        return sums
    high = sums.to(torch.float32)
    return high, (sums - high).to(torch.float32)


def choose(
    predicate: Tensor,
    if_true: Callable[[], Tensor],
    if_false: Callable[[], Tensor],
) -> Tensor:
    if predicate.device.type == "cpu":
        return if_true() if predicate else if_false()
    return torch.where(predicate, if_true(), if_false())


def choose_rarely(
    predicate: Tensor,
    if_true: Callable[[], Tensor],
    if_false: Callable[[], Tensor],
) -> Tensor:
    with torch.no_grad():
        return if_true() if predicate else if_false()


def isolate(tensors: list[Tensor]) -> list[Tensor]:
    return tensors


@contextlib.contextmanager
def reduced_gradients(optimizer: Any) -> Iterator[list[Any]]:
    del optimizer  # DistributedDataParallel reduces inside backward()
    yield []


class StepBuffer:
    """See the package docstring."""

    def __init__(self, capacity: int, columns: int, units: int) -> None:
        self.capacity = capacity
        self._rows: Tensor = None
        self._peaks: Tensor = None
        self._shape = (capacity, columns)
        self._units = units
        self._count = 0

    def append(self, row: Tensor, peaks: Tensor) -> None:
        if self._rows is None:
            self._rows = row.new_zeros(self._shape)
            self._peaks = peaks.new_zeros((self._units,))
        with torch.no_grad():
            self._rows[self._count % self.capacity] = row
            torch.maximum(self._peaks, peaks, out=self._peaks)
        self._count += 1

    def read(self) -> tuple[np.ndarray, np.ndarray, int]:
        if self._rows is None:
            return np.zeros(self._shape), np.zeros(self._units), 0
        # Copies: on the CPU the arrays would share the tensors' memory.
        rows, peaks = self._rows.cpu(), self._peaks.cpu()
        return rows.numpy().copy(), peaks.numpy().copy(), self._count

    def clear(self) -> None:
        if self._peaks is not None:
            self._peaks.zero_()
        self._count = 0


def backup(model: Any, arguments: tuple[Any, ...]) -> Callable[[Any], Any]:
    del arguments
    variables = [
        *model.variables,
        *model.optimizer.variables,
        *model.metrics_variables,
    ]
    values = [snapshot(variable) for variable in variables]

    def restore(result: Any) -> Any:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
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
    model.make_train_function(force=True)
    step, model.train_function = model.train_function, previous

    def observed(data: Any) -> Any:
        with observe(data[0], None):
            return step(data)

    return observed


def quick_dropout(rate: float) -> Callable[[Tensor], Tensor] | None:
    def drop(x: Tensor) -> Tensor:
        if x.device.type != "cpu":
            return torch.dropout(x, rate, True)
        # A comparison of uniform numbers: on a CPU `torch.dropout` draws each
        # entry alone, which takes as long as a small layer.
        keep = torch.rand(x.shape) < 1.0 - rate
        return torch.where(keep, x / (1.0 - rate), 0.0)

    return drop


@contextlib.contextmanager
def batch_predictor(model: Any) -> Iterator[Callable[[Any], Any]]:
    previous = model.predict_function
    model.make_predict_function(force=True)
    step, model.predict_function = model.predict_function, previous
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    fixed = FixedPart(lambda tensor: tensor._version)

    def predict(batch: Any) -> Any:
        fixed.next_call(batch)
        return step([(batch,)])

    # What is compiled must not see Python that changes from call to call.
    compiled = model.jit_compile and not model.run_eagerly
    try:
        with contextlib.nullcontext() if compiled else fixed.of(model):
            yield predict
    finally:
        for module, mode in modes:
            module.training = mode
