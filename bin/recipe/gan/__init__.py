"""The generator against a discriminator."""
