"""Rows on their way: read from the input, checked, and back from the model."""
