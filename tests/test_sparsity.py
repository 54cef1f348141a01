"""Zeros and sizes against SciPy's sparse matrices."""

import io

import keras
import numpy as np
import pytest
from keras import layers
from rich.console import Console

from keras_concepts import sparsity


@pytest.fixture
def model():
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(4, 3, name="conv"),
            layers.Flatten(),
            layers.Dense(5, name="dense"),
        ],
        name="net",
    )
    random = np.random.default_rng(0)
    for layer in (model.layers[0], model.layers[2]):
        kernel, bias = layer.get_weights()
        kernel[random.uniform(size=kernel.shape) < 0.7] = 0.0
        layer.set_weights([kernel, bias])
    return model


def test_agrees_with_scipy(model):
    sparse = pytest.importorskip("scipy.sparse")
    report = sparsity(model)
    kernels = [w for w in model.get_weights() if w.ndim > 1]
    assert len(report) == len(kernels) == 2
    for row, kernel in zip(report, kernels, strict=True):
        csr = sparse.csr_matrix(kernel.reshape(-1, kernel.shape[-1]))
        size = csr.data.nbytes + csr.indices.nbytes + csr.indptr.nbytes
        assert csr.indices.dtype == csr.indptr.dtype == np.int32
        assert row.shape == kernel.shape
        assert row.zeros == kernel.size - csr.nnz
        assert row.share == pytest.approx(row.zeros / row.size)
        assert row.dense_bytes == kernel.nbytes
        assert row.sparse_bytes == size
    for field in ("zeros", "size", "dense_bytes", "sparse_bytes"):
        expected = sum(getattr(row, field) for row in report)
        assert getattr(report.total, field) == expected
    assert report.total.share == report.total.zeros / report.total.size


def test_is_printed_as_a_table(model):
    report = sparsity(model)
    console = Console(file=io.StringIO(), width=80)
    console.print(report)
    text = console.file.getvalue()
    assert str(report).splitlines()[0].split() == (
        ["layer", "zeros", "of", "share", "dense", "as", "CSR", "saved"]
    )
    for printed in (text, str(report)):
        assert "conv " in printed
        assert "dense " in printed
        assert f"{report.total.zeros:,}" in printed
        assert f"{report.rows[0].share:.1%}" in printed


def test_a_model_without_kernels():
    model = keras.Sequential([keras.Input((4,)), layers.BatchNormalization()])
    report = sparsity(model)
    assert report.rows == []
    assert report.total.share == 0.0
    assert "layer" in str(report)
