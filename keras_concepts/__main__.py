"""`python -m keras_concepts` is the command `keras-concepts`."""

from keras_concepts.cli import main

main(prog_name="keras-concepts")
