"""`tf.data` data sets, which any backend may read."""

from typing import Any

# Operations in a data set's graph that keep a state from one pass over the data
# to the next, and the operations that replace them and keep none.
_STATEFUL = {"ShuffleDatasetV3": "ShuffleDataset"}


def independent_copy(dataset: Any) -> Any | None:
    """The same data set with its own state; `None` if that cannot be made.

    Reading it does not change the order in which `dataset` will shuffle. A data
    set that shuffles nothing is returned itself.

    Args:
        dataset: A `tf.data.Dataset`.
    """
    if not _may_shuffle(dataset):
        return dataset
    # A user of `tf.data` has TensorFlow; others may not.
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
    except Exception:  # it contains something that cannot be serialized
        return None
    functions = [node for f in graph.library.function for node in f.node_def]
    found = [n for n in (*graph.node, *functions) if "Shuffle" in n.op]
    if not found:
        return dataset
    for node in found:
        if node.op not in _STATEFUL:
            return None
        node.op = _STATEFUL[node.op]
        del node.input[4:]  # the seed generator, which all copies share
    try:
        variant = tf.raw_ops.DatasetFromGraph(
            graph_def=graph.SerializeToString()
        )
        copy = tf.data.experimental.from_variant(variant, dataset.element_spec)
        _ = next(iter(copy.take(1)), None)
    except Exception:  # it cannot be copied: the caller reports that
        return None
    return copy


def _may_shuffle(dataset: Any) -> bool:
    """Whether it or its inputs shuffle, or create data sets of their own."""
    name = type(dataset).__name__
    if any(each in name for each in ("Shuffle", "FlatMap", "Interleave")):
        return True
    return any(map(_may_shuffle, dataset._inputs()))
