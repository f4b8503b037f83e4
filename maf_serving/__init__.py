"""The ground floor that the four packages share.

Nothing in here imports `maf`, `export`, `beam_jobs` or `serving_config`, nor, when it is imported, TensorFlow,
TensorFlow Probability or Beam. Read first: `errors.py`.
"""
