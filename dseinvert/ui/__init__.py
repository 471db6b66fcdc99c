"""A page to play with: what `dseinvert ui` serves; only `server` knows how it is served."""
