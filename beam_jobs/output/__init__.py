"""Results on disk: `staging.py` is the directory that appears at once, `shard_writer.py` a file of one worker."""
