"""From a photo to aligned crops of its faces, and back. Never imports torch."""
