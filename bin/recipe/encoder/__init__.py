"""The encoder, beside its generator and after it."""
