"""Pickles and the files of PyTorch and numpy, read without running anything, within bounds."""
