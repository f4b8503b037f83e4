"""Files as Arrow batches: `table_source.py` says what a format provides, each `*_source.py` is one format."""
