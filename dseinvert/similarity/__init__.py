"""How alike two images or latents are: the losses of the papers, and metrics."""
