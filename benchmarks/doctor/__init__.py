"""Programs on which the training doctor is calibrated and scored."""
