"""Pictures and folders at the door: uint8 [H, W, 3] sRGB, whole files. Never imports torch."""
