"""Checks of an exported version: what it answers in a fresh process, beside the model that was exported."""
