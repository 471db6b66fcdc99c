"""Directions in latent space, and edits along them."""
