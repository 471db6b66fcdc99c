"""Invert images and videos with GANs, edit the latents, render them back."""

__version__ = "0.1.0"
