"""The model that comes with the package: weights, directions and their card."""
