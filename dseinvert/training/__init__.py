"""Training encoders, and the recipe of the bundled model."""
