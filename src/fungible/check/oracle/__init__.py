"""What one instance answers: the baseline, its places, and what varies in them."""
