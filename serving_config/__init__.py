"""TensorFlow Serving configuration for exported flows."""
