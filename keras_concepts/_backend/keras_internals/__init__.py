"""What is private to Keras and the same on every backend, by subject."""

from keras_concepts._backend.keras_internals.common_state import (
    in_symbolic_scope,
    kept_common_randomness,
    names_kept,
)
from keras_concepts._backend.keras_internals.graphs import (
    is_functional,
    made_by,
    next_layers,
    output_structure,
    previous_layers,
    symbolic_outputs,
)
from keras_concepts._backend.keras_internals.layers import (
    capture_batch_moments,
    cell_of_bias,
    changing_variables,
    flatten_layers,
    is_of_keras,
    keras_mask,
    own_value,
    own_variables,
    set_keras_mask,
    trained_variables,
)
from keras_concepts._backend.keras_internals.losses import (
    built_loss,
    capture_compiled_losses,
    capture_dropped_losses,
    has_loss,
    losses_of_outputs,
    output_names,
)
from keras_concepts._backend.keras_internals.metrics import (
    name_in_logs,
)
from keras_concepts._backend.keras_internals.optimizers import (
    learning_rate_of_update,
    optimized_variables,
    optimizer_variables,
    optimizers_of,
    running_optimizer,
    weight_decay,
)
from keras_concepts._backend.keras_internals.trainers import (
    RunningFit,
    batch_size_of_fit,
    call_as_trainer,
    compile_arguments,
    has_call,
    looked_at,
    make_train_function,
    running_fit,
)

__all__ = [
    "RunningFit",
    "batch_size_of_fit",
    "built_loss",
    "call_as_trainer",
    "capture_batch_moments",
    "capture_compiled_losses",
    "capture_dropped_losses",
    "cell_of_bias",
    "changing_variables",
    "compile_arguments",
    "flatten_layers",
    "has_call",
    "has_loss",
    "in_symbolic_scope",
    "is_functional",
    "is_of_keras",
    "kept_common_randomness",
    "keras_mask",
    "learning_rate_of_update",
    "looked_at",
    "losses_of_outputs",
    "made_by",
    "make_train_function",
    "name_in_logs",
    "names_kept",
    "next_layers",
    "optimized_variables",
    "optimizer_variables",
    "optimizers_of",
    "output_names",
    "output_structure",
    "own_value",
    "own_variables",
    "previous_layers",
    "running_fit",
    "running_optimizer",
    "set_keras_mask",
    "symbolic_outputs",
    "trained_variables",
    "weight_decay",
]
