"""Moving version labels while a server runs, which is what a rollout is: `python -m serving_config.rollout`.

Read first: `rollout.py`, what changes in models.config; then `rollout.py`, the steps, and the waiting between them;
`config_store.py`, where the configuration lies; `gate.py`, what a version has to pass before it is promoted.
"""
