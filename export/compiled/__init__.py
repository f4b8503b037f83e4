"""The mathematics of a flow, laid out for inference.

TFP's graph evaluates a layer's network twice for a log-density and D + 1 times for a draw. The graph here evaluates
each hidden unit once for either, and skips the half of every masked matrix that is zeros. Tensors are feature-major,
`[N, B]`: a run of units is then a run of memory, and slicing it copies nothing. A few rows go another way, in which
as few operations as possible are started: `straight_line.py`.

Read first: `layout.py`, how units are ordered; `steps.py`, what is computed with that; `compile_density.py`.
"""
