"""What starts from saved latents or seeds: edit, mix, morph, sample."""
