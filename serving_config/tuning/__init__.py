"""Batching parameters from measurements: `python -m serving_config.tune`.

Read first: `proposal.py`, how parameters follow from a table of times; then `measurement.py`, how the times are taken.
"""
