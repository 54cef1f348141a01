"""TensorFlow: state lives in `tf.Variable`s that the step captures."""
