"""The page of a run's report, of the parts that all pages of the toolkit have (`maf_serving/page.py`).

`page.py` puts the sections together; each section has a file.
"""
