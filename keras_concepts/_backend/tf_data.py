"""`tf.data` data sets, which may be read by any backend."""

from typing import Any

# Of every position in a data set's graph that keeps a state from one pass over
# the data to the next, and what of it takes its place that keeps none.
_STATEFUL = {"ShuffleDatasetV3": "ShuffleDataset"}


def independent_copy(dataset: Any) -> Any | None:
    """The same data set with a state of its own; `None` if there is none.

    To be read without a change to the order in which `dataset` will shuffle.
    Where nothing is shuffled it is the data set itself.

    Args:
        dataset: A `tf.data.Dataset`.
    """
    if not _may_shuffle(dataset):
        return dataset
    # Only who has a data set has TensorFlow.
    import tensorflow as tf
    from tensorflow.core.framework import graph_pb2

    graph = graph_pb2.GraphDef()
    try:
        serialized = tf.raw_ops.DatasetToGraphV2(
            input_dataset=dataset._variant_tensor,
            external_state_policy=1,  # ignore: what it leaves out is copied
            strip_device_assignment=True,
        )
        _ = graph.ParseFromString(serialized.numpy())
    except Exception:  # of a kind that cannot be written down
        return None
    functions = [node for f in graph.library.function for node in f.node_def]
    found = [n for n in (*graph.node, *functions) if "Shuffle" in n.op]
    if not found:
        return dataset
    for node in found:
        if node.op not in _STATEFUL:
            return None
        node.op = _STATEFUL[node.op]
        del node.input[4:]  # the generator of seeds, which all copies share
    try:
        variant = tf.raw_ops.DatasetFromGraph(
            graph_def=graph.SerializeToString()
        )
        copy = tf.data.experimental.from_variant(variant, dataset.element_spec)
        _ = next(iter(copy.take(1)), None)
    except Exception:  # a graph that cannot be copied: the caller says so
        return None
    return copy


def _may_shuffle(dataset: Any) -> bool:
    """Whether it, or what it reads, shuffles or makes data sets of its own."""
    name = type(dataset).__name__
    if any(each in name for each in ("Shuffle", "FlatMap", "Interleave")):
        return True
    return any(map(_may_shuffle, dataset._inputs()))
