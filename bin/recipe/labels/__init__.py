"""What pictures show: scorers, and the directions found with them."""
