"""Statistics of evaluated rows that add up: over batches, bundles and workers, in memory that rows do not grow.

Read `statistics.py` first: what is accumulated for a group of rows; `results.py` is what is made of it.
"""
