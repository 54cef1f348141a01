"""The engine, which measures the steps of `fit` for all concepts."""
