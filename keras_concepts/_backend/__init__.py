"""The one door to the backends.

Each of `tensorflow/`, `jax/` and `torch/` offers the same names, in modules of
the same names, one per subject. Only Keras' own backend is ever imported.
`stand_ins.py` has what several of them offer where there is nothing to do.

## `tensors`

What a tensor holds, and what kind of tensor it is.

`snapshot(variable)`
:   The present value of a Keras variable or tensor, unaffected by later
    assignments.

`copied(gradient)`
:   The gradient, unaffected by later writes to it.

`version(tensor)`
:   A number that changes when the tensor is written to.

`known_value(tensor, wait=False)`
:   The tensor as a NumPy array, or `None` if it has no value yet (inside a
    function that is being traced) or, unless `wait` is true, if it lies on an
    accelerator.

`is_dense(value)`
:   Whether it is neither a sparse, ragged, nested nor quantized tensor of this
    backend. True of anything that is not a tensor.

`on_host(tensor)`
:   The tensor or variable as a NumPy array, even if other processes hold parts
    of it (JAX's `ModelParallel` over several processes): then each of them must
    ask for it. Avoids NumPy's warnings about variables and PyTorch's tensors.

## `tracing`

Compiled functions, and what is different while one is traced.

`COMPILES`
:   Whether the first step of a train function takes long because of compiling.

`COMPILES_FEW`
:   Whether `compiled_pass` also compiles for few calls.

`compiled(function, once=False)`
:   The function, made fast for many eager calls with tensors of the same shapes
    if that takes a compiler (JAX), or made for a single call.

`compiled_pass(function, model, eager, few=None)`
:   The function, made fast for many calls with tensors of the same shapes
    unless it must run eagerly. With `few`, it is made for that many calls, so
    that they and compiling together take little time. It reads the values that
    the model's variables have at each call; what it assigns to any variable and
    what it changes of `kept_state` is discarded.

`current_trace()`
:   Where tensors are made now: a graph, a JAX trace, or `None` if eager.

`is_in_trace(tensor, trace)`
:   Whether a tensor may be used in that trace. A tensor computed while a loss
    was differentiated may be, if it came through `ops.stop_gradient`.

`choose(predicate, if_true, if_false)`
:   The result of one of two functions without arguments, which return tensors
    of the same shape and dtype. Does not wait for an accelerator.

`choose_rarely(predicate, if_true, if_false)`
:   `choose` for an `if_true` that takes long and is rarely called.

`isolate(tensors)`
:   The same tensors behind a barrier: what is computed from them does not
    change how the training step itself is compiled.

## `operations`

Operations on scores and labels, each done the fastest way.

`CLASS_NUMBERS`
:   The integer dtype that costs least here, int32 or int64.

`argmax(tensor, if_nan)`
:   Along the last axis, which stays with length 1; the first of equals, as
    `CLASS_NUMBERS`. If any entry is NaN, a recognisable number, `if_nan` or
    more.

`fill(tensor, where, number)`
:   The tensor, with a number where the booleans are true.

`has_nan(tensor, or_infinity=False)`
:   Whether any of the floats along the last axis is NaN or, with `or_infinity`,
    not finite; the axis stays with length 1.

`at_columns(tensor, numbers)`
:   The entries of each row of a matrix in some columns, `(rows, k)`; an
    arbitrary entry where a number is not a column.

## `sums`

Norms, and sums that are exact.

`has_float64()`
:   Whether Keras variables may be float64 on the present device.

`sums_of_squares(tensors)`
:   The sum of squares of each float32 tensor, in float32 and in one pass, of
    shape `(len(tensors),)`.

`norms_and_peaks(tensors)`
:   The norm of each float32 tensor, correct even if squares leave the range of
    float32, and its largest absolute entry.

`add_to_totals(variable, places, amounts, columns)`
:   Adds to the entries of a float64 vector, which is a Keras variable. `places`
    is a list of integer tensors with the same number of rows; places outside
    the vector count as its first or last entry. `amounts` is a list of as many
    tensors, integers or floats; each of them, or the list, may be `None` for
    ones. `columns` holds pairs of a place and a tensor, `(rows, k)`, integers,
    booleans or floats, whose sums over the rows are added to the `k` entries
    from that place on.

`segment_counts(segments, count, dtype)`
:   The number of entries in each of `count` segments, in int32 or float32.

`segment_sums(values, segments, count)`, `column_sums(values)`
:   Sums of the entries of `values` that share a segment, and sums over the
    first axis. For int32 values an int32 tensor; for float32 values two float32
    tensors that add up to the sums, accurate to 40 bits or more, and NaN where
    an entry is not finite.

## `gradients`

Gradients of functions, and the gradients that an optimizer receives.

`value_and_grad(function, tensors, has_aux=False)`
:   `function(tensors)`, a scalar, and its gradient with respect to each of the
    floating-point `tensors`; zeros where it does not depend on one. With
    `has_aux` the function returns a scalar and a structure of other tensors,
    and both are returned in place of the scalar.

`without_gradients()`
:   Context manager for eager calls. Nothing is kept for computing gradients.

`dense(gradient, shape)`
:   A gradient as a dense tensor of the shape of its variable.

`dense_rows(gradient)`
:   A gradient as a dense tensor that holds every non-zero entry once; for a
    sparse gradient the sums of its duplicate rows, not the whole variable.

`is_framework_optimizer(optimizer)`
:   Whether it is an optimizer of the framework that `framework_updates` knows.

`framework_updates(optimizer, variables, record)`
:   Context manager. After each step of such an optimizer (`torch.optim`) calls
    `record(gradients, before, rates)`, with the gradient of each of the Keras
    variables or `None`, its value before the step, and its learning rate.

## `randomness`

The random generators that are shared.

`kept_randomness()`
:   Context manager: the shared generators (Python's, NumPy's, Keras' and the
    framework's) are restored afterwards.

`fixed_randomness(seed)`
:   Context manager. What Keras draws from the backend's own random generator,
    bypassing the seeds it keeps in variables, starts from `seed`; the generator
    is restored afterwards.

`quick_dropout(rate)`
:   A function that drops entries of a tensor independently, using the backend's
    own random generator; `None` where Keras' own is as fast.

## `states`

What layers hold outside of Keras variables.

`kept_state(model)`
:   Context manager for a pass through a model or layer beside its training.
    What its layers hold outside of Keras variables is restored afterwards:
    buffers and modes of PyTorch's modules, TensorFlow's own variables.

## `replicas`

A step that several replicas take together.

`replica_count(model)`
:   How many replicas train a model, or use an optimizer, each in its own trace
    and on its share of a batch: those of `tf.distribute`.

`has_other_workers(model)`
:   Whether processes that run one program of the strategy must agree on every
    operation of a step (`tf.distribute.MultiWorkerMirroredStrategy`).

`reduced_gradients(optimizer)`
:   Context manager. Yields a list that receives the gradients summed over all
    replicas while `optimizer.apply` runs; without replicas it stays empty.

`all_reduced(gradients)`
:   The gradients that a replica has computed, each summed over all replicas;
    unchanged without replicas. All replicas must call it, and not inside a
    conditional.

`of_all_replicas(tensors)`
:   What all replicas have for each of the tensors at this place of a step,
    `(replicas, ...)`. Must be called as `all_reduced` is. `None` without
    replicas, outside of a step, and in a stateless scope, whose updates are
    discarded.

`values_of_replicas(variable)`
:   For a variable of which each replica writes its own copy: the tensors of the
    replicas that this process trains; see `layers/_measured.py`.

`assign_to_first_replica(variable, value)`
:   Assigns a value to such a variable in the first replica, zeros in the
    others.

## `processes`

Processes that train one model.

`is_main_process(model)`
:   Whether this process writes files for all processes that train the model
    together; true if it is the only one.

`process_count(model)`
:   How many processes compute each step of the model together, and so must do
    the same operations in the same order: those that JAX variables span.

`gathered(model, value)`
:   A list of what each of those processes passes, the main one first. Each of
    them must call it, with a value that can be pickled.

`summed_over_ranks(arrays)`
:   Sums of NumPy arrays over the processes of PyTorch's process group, each of
    which must call it with arrays of the same shapes; without a group, the
    same arrays.

`gathered_from_ranks(value)`
:   A list of what each of these processes passes; values that can be pickled.

## `buffers`

Memory on the device that a step writes to.

`StepBuffer(capacity, columns, units)`
:   Rows of float32 on the device: `append(row, peaks)` inside the step,
    `read()` and `clear()` outside it. Each replica appends to its own rows;
    `read` returns a list of rows, peaks and number of rows, one for each
    replica of the whole run, including those on other machines.

`Switches(count)`
:   Flags on the device: `set(flags)` outside the step, `values()` inside it.
    A train function carries them as it carries a buffer.

`when(flag, function, buffer)`
:   Calls a function that writes to a buffer, within the step, if the flag is
    true.

## `trainers`

The train function, the predictions and the batches of Keras' trainer.

`END_OF_DATA`
:   Exceptions that a train function raises when the data has run out.

`shadow_in_step(instance, name, replacement)`
:   Context manager. `_shadow.shadow` for use inside a training step, which may
    run in several threads if it is distributed.

`shadow_methods_in_step(base, name, replacement)`
:   Context manager. `_shadow.shadow_methods`, for the same use.

`backup(model, arguments)`
:   Stores the values that model, optimizer and metrics have before a step,
    which is a call of the train function with `arguments`. Returns a function
    from the step's result to what it would be if those values had not changed.

`observed_train_functions(model)`
:   To be called when `fit` begins. Returns a function `make(observe, buffers)`,
    which may be called between any two steps and returns a new train function.
    That function runs every step inside `with observe(batch, trained,
    untrained) as after:` and carries what `observe` writes to the `buffers`.
    `trained` holds the values of the trainable variables before the step, and
    `untrained` pairs of the other variables and their values. Both are `None`
    if the variables still hold these values when the step begins; otherwise the
    values after the step are put into `after`.

`batch_predictor(model)`
:   Context manager. Yields a function from a batch of inputs to the model's
    outputs, compiled separately from the model's own, which the model keeps.
    The same calls must be shadowed each time it is used. Random states continue
    from call to call, and may or may not be written back.

`watch_batches(iterator, look)`
:   Calls `look(batch)` with each batch, as Keras' iterator over the batches of
    an epoch passes it to the step, until the first of its iterators over the
    data is used up. `batch` holds arrays, and `None` for what is not dense; on
    TensorFlow `look` is no longer called after 256 batches. Nothing is
    consumed, reordered or changed. To be called when `fit` begins. False if it
    cannot be done.

## `keras_internals`

What is private to Keras, for all backends, by subject.

### `common_state`

`in_symbolic_scope()`
:   Whether Keras only asks a model for the shapes of its outputs.

`names_kept()`
:   Context manager. What is created inside does not change later names.

### `graphs`

`is_functional(model)`
:   Whether the model is a graph of layers that Keras can rebuild.

`previous_layers(layer)`
:   The layers whose outputs this layer reads in functional models, each once.

`next_layers(layer)`
:   The layers that read this layer's outputs in functional models; `None` if it
    is in none.

`made_by(tensor)`
:   The operation that made a symbolic tensor, its inputs, and which of its
    outputs the tensor is; or `None`.

`output_structure(model)`
:   The symbolic outputs of a built graph of layers, as the model returns them.

`symbolic_outputs(model, x)`
:   Shapes and dtypes of what a built model returns, computed by its `call`.

### `layers`

`flatten_layers(model)`
:   The model and all layers and cells in it, each once.

`without_cudnn(model)`
:   A context in which recurrent layers call what is inside them, as on a CPU.
    On a GPU, one operation computes a `Bidirectional` of two LSTMs and calls
    neither.

`is_of_keras(layer)`
:   Whether Keras itself has the class of the layer.

`own_variables(layer)`
:   Weights and random seeds of the layer itself, not of layers inside it.

`trained_variables(layer)`
:   Weights of the layer itself that were created as trainable, frozen or not.

`changing_variables(model)`
:   Untrained variables that a step may assign: statistics, seeds.

`keras_mask(tensor)`, `set_keras_mask(tensor, mask)`
:   The mask that Keras' layers left on a tensor, or `None`.

`capture_batch_moments(layer, record)`
:   Context manager. Calls `record(inputs, mask)` where a batch normalization
    layer computes the statistics of a batch, whatever its `training` says.

`cell_of_bias()`
:   The recurrent cell for whose bias the calling initializer is used, or `None`
    if it is not known.

### `losses`

`has_loss(model)`
:   Whether `compile` was given a loss, or the model computes its own.

`losses_of_outputs(model, y_true, y_pred)`
:   The losses that `compile` was given, as Keras resolves them.

`output_names(model)`
:   Name of each output that has its own loss, if there are several.

`options_of_loss(loss)`
:   The arguments that a Keras loss passes to the function that it wraps.

`built_loss(model, y_true, y_pred)`
:   Context manager. Yields a copy of the compiled loss, built for these
    shapes, which replaces the model's own inside; `None` if there is none.

`capture_compiled_losses(model, record)`
:   Context manager for a training step. Calls `record(name, value)` with what
    the losses given to `compile` add to the objective: their total, with the
    name `""`, and, if there are several, each one.

`capture_dropped_losses(layer, record)`
:   Context manager for a training step. Calls `record(losses)` when Keras is
    about to call the layer and drops losses that were added before.

### `metrics`

`name_in_logs(metric)`
:   The name, different from those of all other metrics of a model, under which
    Keras stores the result of a compiled metric that it asks for; `None` if the
    caller is not Keras.

`say_direction(metric, direction)`
:   Whether higher ("up") or lower ("down") values of a metric are better.

### `optimizers`

`optimizers_of(model)`
:   The optimizer of the model, and any others that it or one of its layers has.

`calls_of_optimizer(optimizer)`
:   The variable that counts the calls of `apply`, also of those that only
    accumulate gradients; `None` for an optimizer that Keras did not write.

`optimized_variables(optimizer)`
:   The variables that an optimizer was built for, in its order.

`running_optimizer()`
:   The optimizer whose `apply` is running, or `None`.

`learning_rate_of_update(optimizer)`
:   The rate of the update that `apply` has just made, or 0 if it made none.

`weight_decay(optimizer, variable)`
:   What an update subtracts from the variable in addition to the gradient
    step, as a share of `learning_rate * variable`.

### `randomness`

`generators_left_moved()`
:   How often `kept_randomness` did not restore the generators in this thread
    because other threads may have drawn from them meanwhile.

### `trainers`

`AFTER_STEPS`
:   Name of the model's method that `fit` calls after the steps of an epoch and
    before its validation.

`call_as_trainer(model, x, training)`
:   The model's outputs in the mode in which Keras' `fit` or `predict` calls it.

`has_call(model)`
:   Whether a model defines a `call`.

`has_own_train_step(model)`
:   Whether the model defines its training step, instead of Keras.

`compile_arguments(model)`
:   The arguments of `compile`, as they were given.

`running_fit(model)`
:   The `fit` that is running: its iterator over batches, its arguments, and the
    arrays it was given; `None` if Keras' own `fit` is not running.

`was_restored(model)`
:   Whether `BackupAndRestore` has restored the model, in this `fit` or before.

`batch_size_of_fit(model)`
:   Samples per batch in the `fit` that is running, or `None`.

`failures_of_data(model, then)`
:   Context manager for the steps of a running `fit`. Calls `then()` when its
    data raise an exception, before the exception propagates.
"""

import keras

from keras_concepts._after_keras import UnsupportedBackendError, register_parts
from keras_concepts._backend import keras_internals

if keras.backend.backend() == "tensorflow":
    from keras_concepts._backend.tensorflow import (
        buffers,
        gradients,
        operations,
        processes,
        randomness,
        replicas,
        states,
        sums,
        tensors,
        tracing,
        trainers,
    )
elif keras.backend.backend() == "jax":
    from keras_concepts._backend.jax import (
        buffers,
        gradients,
        operations,
        processes,
        randomness,
        replicas,
        states,
        sums,
        tensors,
        tracing,
        trainers,
    )
elif keras.backend.backend() == "torch":
    from keras_concepts._backend.torch import (
        buffers,
        gradients,
        operations,
        processes,
        randomness,
        replicas,
        states,
        sums,
        tensors,
        tracing,
        trainers,
    )
else:
    raise UnsupportedBackendError(
        "keras_concepts runs on the tensorflow, jax and torch backends of "
        f"Keras. Received: backend={keras.backend.backend()!r}. Set the "
        "environment variable KERAS_BACKEND before importing keras."
    )

snapshot = tensors.snapshot
copied = tensors.copied
version = tensors.version
known_value = tensors.known_value
is_dense = tensors.is_dense
on_host = tensors.on_host

COMPILES = tracing.COMPILES
COMPILES_FEW = tracing.COMPILES_FEW
compiled = tracing.compiled
compiled_pass = tracing.compiled_pass
current_trace = tracing.current_trace
is_in_trace = tracing.is_in_trace
choose = tracing.choose
choose_rarely = tracing.choose_rarely
isolate = tracing.isolate

CLASS_NUMBERS = operations.CLASS_NUMBERS
argmax = operations.argmax
fill = operations.fill
has_nan = operations.has_nan
at_columns = operations.at_columns

has_float64 = sums.has_float64
sums_of_squares = sums.sums_of_squares
norms_and_peaks = sums.norms_and_peaks
add_to_totals = sums.add_to_totals
segment_counts = sums.segment_counts
segment_sums = sums.segment_sums
column_sums = sums.column_sums

value_and_grad = gradients.value_and_grad
without_gradients = gradients.without_gradients
dense = gradients.dense
dense_rows = gradients.dense_rows
is_framework_optimizer = gradients.is_framework_optimizer
framework_updates = gradients.framework_updates

kept_randomness = randomness.kept_randomness
fixed_randomness = randomness.fixed_randomness
quick_dropout = randomness.quick_dropout

kept_state = states.kept_state

replica_count = replicas.replica_count
has_other_workers = replicas.has_other_workers
reduced_gradients = replicas.reduced_gradients
all_reduced = replicas.all_reduced
of_all_replicas = replicas.of_all_replicas
values_of_replicas = replicas.values_of_replicas
assign_to_first_replica = replicas.assign_to_first_replica

is_main_process = processes.is_main_process
process_count = processes.process_count
gathered = processes.gathered
summed_over_ranks = processes.summed_over_ranks
gathered_from_ranks = processes.gathered_from_ranks

StepBuffer = buffers.StepBuffer
Switches = buffers.Switches
when = buffers.when

END_OF_DATA = trainers.END_OF_DATA
shadow_in_step = trainers.shadow_in_step
shadow_methods_in_step = trainers.shadow_methods_in_step
backup = trainers.backup
observed_train_functions = trainers.observed_train_functions
batch_predictor = trainers.batch_predictor
watch_batches = trainers.watch_batches

in_symbolic_scope = keras_internals.in_symbolic_scope
names_kept = keras_internals.names_kept
is_functional = keras_internals.is_functional
previous_layers = keras_internals.previous_layers
next_layers = keras_internals.next_layers
made_by = keras_internals.made_by
output_structure = keras_internals.output_structure
symbolic_outputs = keras_internals.symbolic_outputs
flatten_layers = keras_internals.flatten_layers
without_cudnn = keras_internals.without_cudnn
is_of_keras = keras_internals.is_of_keras
own_variables = keras_internals.own_variables
trained_variables = keras_internals.trained_variables
changing_variables = keras_internals.changing_variables
keras_mask = keras_internals.keras_mask
set_keras_mask = keras_internals.set_keras_mask
capture_batch_moments = keras_internals.capture_batch_moments
cell_of_bias = keras_internals.cell_of_bias
has_loss = keras_internals.has_loss
losses_of_outputs = keras_internals.losses_of_outputs
output_names = keras_internals.output_names
options_of_loss = keras_internals.options_of_loss
built_loss = keras_internals.built_loss
capture_compiled_losses = keras_internals.capture_compiled_losses
capture_dropped_losses = keras_internals.capture_dropped_losses
name_in_logs = keras_internals.name_in_logs
say_direction = keras_internals.say_direction
calls_of_optimizer = keras_internals.calls_of_optimizer
optimizers_of = keras_internals.optimizers_of
optimized_variables = keras_internals.optimized_variables
running_optimizer = keras_internals.running_optimizer
learning_rate_of_update = keras_internals.learning_rate_of_update
weight_decay = keras_internals.weight_decay
generators_left_moved = keras_internals.generators_left_moved
AFTER_STEPS = keras_internals.AFTER_STEPS
call_as_trainer = keras_internals.call_as_trainer
has_call = keras_internals.has_call
has_own_train_step = keras_internals.has_own_train_step
compile_arguments = keras_internals.compile_arguments
running_fit = keras_internals.running_fit
was_restored = keras_internals.was_restored
batch_size_of_fit = keras_internals.batch_size_of_fit
failures_of_data = keras_internals.failures_of_data


# If this module was the first to import Keras, this is only now possible.
register_parts()
