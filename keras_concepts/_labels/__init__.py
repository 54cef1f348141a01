"""Reading labels, predictions, weights and masks, for losses and metrics."""
