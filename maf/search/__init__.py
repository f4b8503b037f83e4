"""Tries configurations of a flow in a time budget: `python -m maf.search`.

Read first: `space.py`, what is tried; `study.py`, how; `better.py`, what is kept. Needs Optuna, the extra `search`.
"""
