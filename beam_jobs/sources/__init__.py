"""Files as Arrow batches: `source.py` says what a format provides, each `*_source.py` is one format."""
