"""From the frames of a clip to its edited frames: shots, tracks, smoothing, blending, measures."""
