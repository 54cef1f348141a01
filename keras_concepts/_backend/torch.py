"""Torch: eager steps, state in tensors that are written in place."""

import contextlib
import functools
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import torch

from keras_concepts._backend import alone
from keras_concepts._backend.fixed_part import FixedPart
from keras_concepts._backend.keras_internals import (
    Generator,
    flatten_layers,
    kept_common_randomness,
    make_train_function,
    optimizer_variables,
    other_threads_train,
    own_value,
    watch_next_pass,
)
from keras_concepts._shadow import shadow, shadow_methods
from keras_concepts._types import Observe, Tensor

COMPILES = False
COMPILES_FEW = False
CLASS_NUMBERS = "int64"
END_OF_DATA = (StopIteration,)
shadow_in_step = shadow
gathered = alone.gathered
process_count = alone.process_count


def shadow_methods_in_step(
    base: type, name: str, replacement: Callable[..., Any]
) -> contextlib.AbstractContextManager[None]:
    owner = threading.get_ident()
    # `torch.compile` cannot ask which thread it is in.
    return shadow_methods(
        base,
        name,
        replacement,
        lambda: torch.compiler.is_compiling() or threading.get_ident() == owner,
    )


def snapshot(variable: Any) -> Tensor:
    return keras.ops.convert_to_tensor(variable).detach().clone()


def copied(gradient: Any) -> Tensor:
    return gradient.detach().clone()


def version(tensor: Any) -> int:
    return 0 if torch.compiler.is_compiling() else tensor._version


def known_value(tensor: Tensor, wait: bool = False) -> np.ndarray | None:
    device = tensor.device.type
    if torch.compiler.is_compiling() or device == "meta":
        return None
    if device != "cpu" and not wait:
        return None
    tensor = tensor.detach().cpu()
    if tensor.dtype == torch.bfloat16:  # unknown to NumPy
        tensor = tensor.float()
    return tensor.numpy()


def is_dense(value: Any) -> bool:
    return not isinstance(value, torch.Tensor) or (
        value.layout == torch.strided
        and not value.is_nested
        and not value.is_quantized
    )


def on_host(value: Any) -> np.ndarray:
    if isinstance(value, keras.Variable):
        value = value.value
    if not isinstance(value, torch.Tensor) or value.dtype == torch.bfloat16:
        return keras.ops.convert_to_numpy(value)
    return value.detach().cpu().numpy().copy()


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
    function: Callable[..., Any],
    variables: Sequence[Any],
    eager: bool,
    few: int | None = None,
) -> Callable[..., Any]:
    del eager, few  # PyTorch always is

    def run(*tensors: Tensor) -> Any:
        # Keras asks the scope alone for the weights that it regularizes.
        mapping = [(v, v.value) for v in variables]
        with keras.StatelessScope(mapping, collect_losses=True):
            return _detached(function(*tensors))

    return run


def compiled(
    function: Callable[..., Any], once: bool = False
) -> Callable[..., Any]:
    del once
    return function


def kept_randomness() -> contextlib.AbstractContextManager[None]:
    devices = range(torch.cuda.device_count())
    return kept_common_randomness(
        *[
            Generator(
                functools.partial(torch.cuda.get_rng_state, device),
                functools.partial(torch.cuda.set_rng_state, device=device),
                torch.equal,
            )
            for device in devices
        ]
    )


@contextlib.contextmanager
def fixed_randomness(seed: int) -> Iterator[None]:
    # `keras.layers.Dropout` without a seed draws from the global generator. The
    # others who train draw from it too: they shall get no numbers twice.
    if other_threads_train():
        yield
        return
    with torch.random.fork_rng(range(torch.cuda.device_count())):
        _ = torch.manual_seed(seed)
        yield


def replica_count(model: Any) -> int:
    del model  # a batch is never cut up before the step
    return 1


def has_other_workers(model: Any) -> bool:
    del model
    return False


def current_trace() -> Any:
    return None  # PyTorch is eager


def is_in_trace(tensor: Any, trace: Any) -> bool:
    del tensor, trace
    return True


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


def norms_and_peaks(tensors: list[Tensor]) -> tuple[Tensor, Tensor]:
    largest = peaks(tensors)
    norms = torch.stack(torch._foreach_norm(tensors))
    in_range = (norms > 1e-15) & (norms < 1e15) | (largest == 0.0)
    if norms.device.type == "cpu" and bool(in_range.all()):
        return norms, largest
    usable = torch.isfinite(largest) & (largest > 0.0)
    units = torch.where(usable, largest.clamp(min=1e-37), 1.0)
    scaled = torch._foreach_norm(
        [x / unit for x, unit in zip(tensors, units, strict=True)]
    )
    return units * torch.stack(scaled), largest


def argmax(tensor: Tensor, if_nan: int) -> Tensor:
    if tensor.requires_grad:
        tensor = tensor.detach()
    if tensor.shape[-1] < 400 or tensor.device.type != "cpu":
        # Of NaN and numbers NaN is the largest.
        largest, numbers = torch.max(tensor, dim=-1, keepdim=True)
    else:
        largest, numbers = _largest_of_many(tensor)
    if not tensor.is_floating_point():
        return numbers
    return torch.add(numbers, torch.isnan(largest), alpha=if_nan)


def _largest_of_many(tensor: Tensor) -> tuple[Tensor, Tensor]:
    # `torch.max` is several times slower than `amax` on a CPU: find the
    # winning block first. The last block may overlap the one before, which
    # then comes first, as it should.
    classes = tensor.shape[-1]
    rows = tensor.reshape(-1, classes)
    width = 1 << round(math.log2(classes) / 2)
    whole = classes // width
    highest = rows[:, : whole * width].unflatten(1, (whole, width)).amax(-1)
    if whole * width < classes:
        last = rows[:, -width:].amax(-1, keepdim=True)
        highest = torch.cat([highest, last], dim=1)
    _, winner = torch.max(highest, dim=1, keepdim=True)
    start = (winner * width).clamp_(max=classes - width)
    columns = start + torch.arange(width, device=rows.device)
    largest, within = torch.max(rows.gather(1, columns), dim=1, keepdim=True)
    shape = (*tensor.shape[:-1], 1)
    return largest.reshape(shape), (start + within).reshape(shape)


def fill(tensor: Tensor, where: Tensor, number: float) -> Tensor:
    return tensor.masked_fill(where, number)


def has_nan(tensor: Tensor, or_infinity: bool = False) -> Tensor:
    tensor = tensor.detach()
    if or_infinity:
        if tensor.shape[-1] != 1:
            tensor = tensor.sum(dim=-1, keepdim=True)
        return torch.isfinite(tensor).logical_not_()
    if tensor.shape[-1] != 1:
        tensor = tensor.amax(dim=-1, keepdim=True)
    return torch.isnan(tensor)


def at_columns(tensor: Tensor, numbers: Tensor) -> Tensor:
    return tensor.gather(1, numbers.clamp(0, tensor.shape[1] - 1))


def has_float64() -> bool:
    return keras.ops.zeros(()).device.type != "mps"  # Apple's have none


def add_to_totals(
    variable: Any,
    places: Sequence[Tensor],
    amounts: Sequence[Tensor] | None,
    columns: Sequence[tuple[int, Tensor]],
) -> None:
    totals = own_value(variable)
    in_place = totals is not None
    if not in_place:
        totals = snapshot(variable)
    if places:
        entries = torch.cat(list(places), dim=1).view(-1)
        entries.clamp_(0, totals.shape[0] - 1)
        if amounts is None:
            addends = totals.new_ones(entries.shape)
        else:
            each = [
                totals.new_ones(place.shape)
                if amount is None
                else amount.detach().to(totals.dtype)
                for place, amount in zip(places, amounts, strict=True)
            ]
            addends = torch.cat(each, dim=1).view(-1)
        totals.index_add_(0, entries, addends)
    for start, values in columns:
        # Integers are summed four times as fast as they are.
        exact = totals.dtype if values.is_floating_point() else torch.int32
        part = totals[start : start + values.shape[1]]
        part.add_(values.detach().sum(dim=0, dtype=exact))
    if not in_place:
        variable.assign(totals)


def segment_counts(segments: Tensor, count: int, dtype: str) -> Tensor:
    one = torch.ones((), dtype=getattr(torch, dtype), device=segments.device)
    return _scattered(one.expand(segments.numel()), segments, count)


def segment_sums(values: Tensor, segments: Tensor, count: int) -> Any:
    exact = values.to(_exact(values)).flatten()
    return _halves(_scattered(exact, segments, count), values)


def _scattered(entries: Tensor, segments: Tensor, count: int) -> Tensor:
    return entries.new_zeros(count).index_add_(0, segments.flatten(), entries)


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
    return high, (sums - high).to(torch.float32)  # infinity: NaN


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


def all_reduced(gradients: Sequence[Any]) -> list[Any]:
    return list(gradients)


def of_all_replicas(tensors: Sequence[Tensor]) -> list[Tensor] | None:
    del tensors
    return None


def values_of_replicas(variable: Any) -> list[np.ndarray]:
    return [on_host(variable)]


def assign_to_first_replica(variable: Any, value: Any) -> None:
    variable.assign(value)


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

    def read(self) -> list[tuple[np.ndarray, np.ndarray, int]]:
        if self._rows is None:
            return [(np.zeros(self._shape), np.zeros(self._units), 0)]
        # Copies: on the CPU the arrays would share the tensors' memory.
        rows, peaks = self._rows.cpu(), self._peaks.cpu()
        return [(rows.numpy().copy(), peaks.numpy().copy(), self._count)]

    def clear(self) -> None:
        if self._peaks is not None:
            self._peaks.zero_()
        self._count = 0


class Switches:
    """See the package docstring."""

    def __init__(self, count: int) -> None:
        self._flags = [False] * count

    def set(self, flags: Sequence[bool]) -> None:
        self._flags = list(flags)

    def values(self) -> list[bool]:
        return self._flags


def when(flag: Any, function: Callable[[], None], buffer: Any) -> None:
    del buffer  # written in place
    if flag:
        function()


def backup(model: Any, arguments: tuple[Any, ...]) -> Callable[[Any], Any]:
    del arguments
    variables = [*model.variables, *model.metrics_variables]
    variables += optimizer_variables(model)
    values = [snapshot(variable) for variable in variables]
    buffers = [
        (x, x.clone()) for each in flatten_layers(model) for x in each.buffers()
    ]

    def restore(result: Any) -> Any:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        for buffer, value in buffers:
            buffer.copy_(value)
        known = set(map(id, variables))
        for variable in optimizer_variables(model):
            if id(variable) not in known:  # the step has built the optimizer
                variable.assign(keras.ops.zeros_like(variable))
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


def watch_batches(iterator: Any, look: Callable[[Any], None]) -> bool:
    watch_next_pass(iterator, look)
    return True


def is_main_process(model: Any) -> bool:
    del model
    return not _has_ranks() or torch.distributed.get_rank() == 0


def _has_ranks() -> bool:
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized()


def summed_over_ranks(arrays: list[np.ndarray]) -> list[np.ndarray]:
    if not _has_ranks():
        return arrays
    sums = []
    for array in arrays:
        # NCCL takes tensors of its devices only.
        tensor = torch.tensor(array, device=keras.ops.zeros(()).device)
        torch.distributed.all_reduce(tensor)
        sums.append(tensor.cpu().numpy())
    return sums


def gathered_from_ranks(value: Any) -> list[Any]:
    if not _has_ranks():
        return [value]
    values = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(values, value)
    return values


def is_framework_optimizer(optimizer: Any) -> bool:
    return isinstance(optimizer, torch.optim.Optimizer)


@contextlib.contextmanager
def framework_updates(
    optimizer: torch.optim.Optimizer,
    variables: Sequence[Any],
    record: Callable[..., None],
) -> Iterator[None]:
    owned = [own_value(variable) for variable in variables]
    before: list[Tensor] = []
    gradients: list[Tensor | None] | None = None

    def read() -> list[Tensor | None]:
        # Copies: some optimizers write to what they are given.
        known = {
            id(p) for group in optimizer.param_groups for p in group["params"]
        }
        return [
            None if id(p) not in known or p.grad is None else copied(p.grad)
            for p in owned
        ]

    def begin(_: Any, args: Any, kwargs: Any) -> None:
        nonlocal gradients
        before[:] = [snapshot(variable) for variable in variables]
        closure = args[0] if args else kwargs.get("closure")
        # A closure computes the gradients, inside the step.
        gradients = read() if closure is None else None

    def end(*_: Any) -> None:
        rates = {
            id(parameter): float(group["lr"])
            for group in optimizer.param_groups
            for parameter in group["params"]
        }
        record(
            read() if gradients is None else gradients,
            list(before),
            [rates.get(id(parameter), float("nan")) for parameter in owned],
        )

    hooks = (
        optimizer.register_step_pre_hook(begin),
        optimizer.register_step_post_hook(end),
    )
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
