"""Examples: the demo that `make run` shows, and the plain five-layer model."""
