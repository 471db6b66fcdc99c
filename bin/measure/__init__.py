"""The measurements behind bin/bench, one file a verb."""
