"""Results, on disk or in an object store.

Read first: `staging.py`, an output that is there when it is complete; `staging.py` and `remote_output.py`, how;
`writing.py`, the steps of a pipeline that write; `writing.py`, a file of one worker.
"""
