"""When a unit is saturated, as every component here means it.

Source: Amazon SageMaker Debugger's rules for saturated activations, there of
tanh and sigmoid.
"""

# Its slope is below this share of the steepest ...
FLAT = 0.05
# ... in more than this share of the samples.
MOSTLY = 0.9
