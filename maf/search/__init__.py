"""Tries configurations of a flow in a time budget: `python -m maf.search`.

Read first: `space.py`, what is tried; `study.py`, how; `search_directory.py`, what is kept. Needs Optuna, the extra
`search`.
"""
