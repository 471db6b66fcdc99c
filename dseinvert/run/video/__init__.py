"""`dseinvert video`: a clip seen, inverted, drawn and written, in passes that resume."""
