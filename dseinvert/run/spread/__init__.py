"""Runs of several processes: shards of one output folder, local workers, and a Ray cluster."""
