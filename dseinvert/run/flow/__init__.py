"""How work flows: streams of things, batches, names, what a person sees; nothing of faces."""
