"""The command line: one small file a verb, heavy imports inside the call."""
