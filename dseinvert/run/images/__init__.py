"""`dseinvert images`: photos in; latents, pictures, page and tables out."""
