"""JAX: state is passed into the compiled step and comes back out of it."""
