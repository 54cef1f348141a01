"""Components for Keras 3, and monitors that show why a model does not learn.

Names are loaded when they are first used: `quantities`, `recording`, `rules`
and `reports` need no Keras, the others import it.
"""

import importlib
import typing

from keras_concepts import _after_keras

if typing.TYPE_CHECKING:
    from keras_concepts import (
        callbacks,
        constraints,
        initializers,
        instruments,
        layers,
        losses,
        metrics,
        quantities,
        recording,
        regularizers,
        reports,
        rules,
    )
    from keras_concepts._check_gradients import GradientCheck, check_gradients
    from keras_concepts._check_masks import MaskReport, check_masks
    from keras_concepts._mc_predict import MCPrediction, mc_predict
    from keras_concepts._preflight import PreflightReport, preflight
    from keras_concepts._recalibrate_batch_norm import recalibrate_batch_norm
    from keras_concepts._strip_probes import strip_probes
    from keras_concepts._summed_over_processes import summed_over_processes
    from keras_concepts._watch import Watch, watch
    from keras_concepts.recording import Recording
    from keras_concepts.reports.sparsity import sparsity
    from keras_concepts.rules.finding import Finding
    from keras_concepts.rules.judge import diagnose
    from keras_concepts.vocabulary import Vocabulary

__version__ = "0.1.0"

__all__ = [
    "Finding",
    "GradientCheck",
    "MCPrediction",
    "MaskReport",
    "PreflightReport",
    "Recording",
    "Vocabulary",
    "Watch",
    "callbacks",
    "check_gradients",
    "check_masks",
    "constraints",
    "diagnose",
    "initializers",
    "instruments",
    "layers",
    "losses",
    "mc_predict",
    "metrics",
    "preflight",
    "quantities",
    "recalibrate_batch_norm",
    "recording",
    "regularizers",
    "reports",
    "rules",
    "sparsity",
    "strip_probes",
    "summed_over_processes",
    "watch",
]

# The home of each name that is not a module of this package. A module must not
# have the name of a function: importing it would replace the function.
_HOMES = {
    "Finding": "rules.finding",
    "GradientCheck": "_check_gradients",
    "MCPrediction": "_mc_predict",
    "MaskReport": "_check_masks",
    "PreflightReport": "_preflight",
    "Recording": "recording",
    "Vocabulary": "vocabulary",
    "Watch": "_watch",
    "check_gradients": "_check_gradients",
    "check_masks": "_check_masks",
    "diagnose": "rules.judge",
    "mc_predict": "_mc_predict",
    "preflight": "_preflight",
    "recalibrate_batch_norm": "_recalibrate_batch_norm",
    "sparsity": "reports.sparsity",
    "strip_probes": "_strip_probes",
    "summed_over_processes": "_summed_over_processes",
    "watch": "_watch",
}


def __getattr__(name: str) -> typing.Any:
    if name not in __all__:
        raise AttributeError(
            f"module 'keras_concepts' has no attribute {name!r}"
        )
    module = importlib.import_module(f"{__name__}.{_HOMES.get(name, name)}")
    found = getattr(module, name) if name in _HOMES else module
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_after_keras.register_parts()
