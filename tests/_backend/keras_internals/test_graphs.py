import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_concepts._backend.keras_internals import (
    calls_its_graph,
    graph_of,
    is_functional,
    made_by,
    next_layers,
    output_structure,
    previous_layers,
    replace_graph_run,
    symbolic_outputs,
)

X = np.arange(6, dtype="float32").reshape(2, 3)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(1)

    def call(self, x):
        return self.dense(x)


class Changed(keras.Model):
    """A graph of layers with a custom `call`."""

    def call(self, x):
        return super().call(x) + 1.0


@pytest.fixture
def graph():
    """Layers `a`, and after it `b` and `c`, which give the outputs."""
    inputs = keras.Input((3,), name="inputs")
    a, b, c = (layers.Dense(2, name=name) for name in "abc")
    x = a(inputs)
    return keras.Model(inputs, {"second": c(x), "first": b(x)})


@pytest.fixture
def sequential():
    return keras.Sequential([keras.Input((3,)), layers.Dense(2, name="a")])


def names(found):
    return [each.name for each in found]


def test_previous_layers(graph):
    """A node of a layer knows the nodes that it reads, and their layers."""
    assert names(previous_layers(graph.get_layer("b"))) == ["a"]
    assert names(previous_layers(graph.get_layer("a"))) == ["inputs"]
    assert previous_layers(graph.get_layer("inputs")) == []
    add = layers.Add()
    a = graph.get_layer("a").output
    _ = add([a, graph.get_layer("b").output, a])
    assert names(previous_layers(add)) == ["a", "b"]


def test_next_layers(graph):
    """A layer knows the nodes that read it."""
    assert sorted(names(next_layers(graph.get_layer("a")))) == ["b", "c"]
    assert next_layers(graph.get_layer("b")) == []
    assert next_layers(layers.Dense(1)) is None


def test_made_by(graph):
    """A symbolic tensor knows its operation, and which of its outputs it is."""
    inputs, a = graph.inputs[0], graph.get_layer("a")
    operation, read, index = made_by(a.output)
    assert operation is a
    assert read[0] is inputs
    assert (len(read), index) == (1, 0)
    parts = ops.split(a.output, 2, axis=-1)
    operation, read, index = made_by(parts[1])
    assert type(operation).__name__ == "Split"
    assert read[0] is a.output
    assert index == 1
    assert made_by(inputs)[0].name == "inputs"
    assert made_by(keras.KerasTensor((2,))) is None
    assert made_by(X) is None


def test_graph_of(graph, sequential):
    """A built `Sequential` keeps a functional model, which does its work."""
    assert graph_of(graph) is graph
    assert names(graph_of(sequential).operations)[-1] == "a"
    assert graph_of(keras.Sequential([layers.Dense(1)])) is None
    assert graph_of(Subclassed()) is None


def test_calls_its_graph(graph, sequential):
    """Keras' `Functional` and `Sequential` do nothing else in `call`."""
    assert calls_its_graph(graph)
    assert calls_its_graph(sequential)
    assert not calls_its_graph(Subclassed())
    inputs = keras.Input((3,))
    changed = Changed(inputs, layers.Dense(1)(inputs))
    assert is_functional(changed)
    assert not calls_its_graph(changed)


@pytest.mark.parametrize("kind", ["graph", "sequential"])
def test_replace_graph_run(kind, request):
    """One method runs a graph, calling what it gets for each operation."""
    model = request.getfixturevalue(kind)
    expected = keras.tree.map_structure(ops.convert_to_numpy, model(X))
    called = []

    def run(original, inputs, call_of):
        def noted(operation):
            called.append(operation.name)
            return call_of(operation)

        return original(inputs, noted)

    for _ in range(2):
        called.clear()
        with replace_graph_run(graph_of(model), run):
            outputs = model(X)
        assert called[0] == "a"
        assert sorted(called) == (["a", "b", "c"] if kind == "graph" else ["a"])
        keras.tree.map_structure(
            lambda y, e: np.testing.assert_array_equal(
                ops.convert_to_numpy(y), e
            ),
            outputs,
            expected,
        )
    called.clear()
    _ = model(X)
    assert called == []


def test_output_structure(graph, sequential):
    """A graph keeps its outputs in the structure that it was given."""
    structure = output_structure(graph)
    assert list(structure) == list(graph(X))
    assert made_by(structure["first"])[0].name == "b"
    assert made_by(structure["second"])[0].name == "c"
    assert output_structure(sequential).shape == (None, 2)
    assert output_structure(Subclassed()) is None


def test_symbolic_outputs():
    """Keras runs a `call` for shapes alone, and assigns nothing then."""

    class Counts(keras.Model):
        def build(self, shape):
            self.count = self.add_weight(shape=(), initializer="zeros")

        def call(self, x, training=None):
            self.count.assign_add(1.0)
            modes.append(training)
            return {"twice": ops.concatenate([x, x], axis=-1)}

    modes = []
    model = Counts()
    model.build((None, 3))
    outputs = symbolic_outputs(model, keras.KerasTensor((5, 3), "float32"))
    assert list(outputs) == ["twice"]
    assert outputs["twice"].shape == (5, 6)
    assert outputs["twice"].dtype == "float32"
    assert modes[-1] is False
    assert model.count.numpy() == 0.0


def test_is_functional(graph, sequential):
    """A model that is made of `inputs` and `outputs` is a `Functional`."""
    assert is_functional(graph)
    assert not is_functional(sequential)
    assert not is_functional(Subclassed())
