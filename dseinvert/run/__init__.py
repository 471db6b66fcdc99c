"""Runs over many inputs, a wing for each kind: plan, work, journal, report."""
