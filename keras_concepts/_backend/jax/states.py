"""What layers hold outside of Keras variables."""

from keras_concepts._backend import stand_ins

kept_state = stand_ins.kept_state
