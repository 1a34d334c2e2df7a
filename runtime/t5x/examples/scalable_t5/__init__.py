"""T5 with its layers scanned; Google's T5X keeps a network of its own for it, at this path."""
