"""What `import maf_serving` offers: the front door in Python.

The one part of this package that imports the packages above it, inside functions. Read first: `model.py`.
"""
