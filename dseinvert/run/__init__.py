"""A run over many inputs: plan, work, journal, report."""
