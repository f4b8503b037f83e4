"""The four jobs, and what runs any of them.

Read first: `score.py`, a pipeline from end to end. `job.py` says what a job is, `running.py` runs and publishes one,
`summary.py` is what it counts.
"""
