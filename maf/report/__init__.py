"""The report of a run: one self-contained HTML page that says how good its model is, and shows it.

Read first: `make_report.py`, the steps from a run directory to a `Report` of plain numbers (`report.py`), and
`drawing/page.py`, which makes the page of them. What is measured: `likelihoods.py` beside Gaussians, `calibration.py`
by ranks among draws, `pictures.py` around the conditions of `neighbourhoods.py`.
"""
