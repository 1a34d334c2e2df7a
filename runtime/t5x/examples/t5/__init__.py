"""T5 1.1: an encoder-decoder Transformer with relative positions."""
