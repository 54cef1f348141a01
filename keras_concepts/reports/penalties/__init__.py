"""Reports of the parts of the loss."""
