"""From images to latents: an encoder, then perhaps a refinement."""
