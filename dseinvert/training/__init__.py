"""Training and adapting encoders for the user's own GAN."""
