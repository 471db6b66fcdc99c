"""Other people's files: recognised by content, read without running anything in them."""
