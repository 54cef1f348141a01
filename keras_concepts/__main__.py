"""`python -m keras_concepts` is the command `keras-concepts`."""

from keras_concepts.cli import main

if __name__ == "__main__":
    main(prog_name="keras-concepts")
