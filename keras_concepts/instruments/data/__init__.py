"""What `fit` trains on: inputs, labels, and the score of a constant."""
