"""The engine: measures the steps of `fit`, and knows no concept."""
