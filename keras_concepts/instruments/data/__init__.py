"""What `fit` trains on: inputs, labels, and what a constant would score."""
