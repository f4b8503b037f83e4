"""Scoring by a model server instead of a SavedModel on the worker. Read first: `endpoint_handler.py`."""
