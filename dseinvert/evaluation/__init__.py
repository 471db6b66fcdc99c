"""How good inversions and edits are: methods side by side on the same images."""
