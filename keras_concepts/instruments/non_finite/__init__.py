"""Where the first NaN or infinity arises."""
