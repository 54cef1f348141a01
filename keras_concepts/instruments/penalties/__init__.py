"""The parts of the loss, and the gradients of the penalties."""
