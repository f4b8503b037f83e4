"""The report of an evaluation: one HTML file with its plots drawn in it, which loads nothing from anywhere.

`html_report.py` is the page, `charts.py` the plots. Everything is built as elements and escaped when it is printed.
"""
