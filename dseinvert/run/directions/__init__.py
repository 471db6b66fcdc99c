"""`dseinvert directions`: what a model is edited along, learned and kept."""
