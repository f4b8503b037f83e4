"""Who computes `log_prob` and `sample` of a flow: one file each, none knows of another.

A module has `PACKAGES`, what it needs by the names of their distributions; `MODE`, how it is run; `WEIGHTS`, whose
they are: contenders of equal `WEIGHTS` compute the same density; and `build(case)`, which makes the flow of a case
(its batch aside) and returns an object with

- `log_prob(x, conditional_input)`, a function without arguments that computes the log-density `[B]` of these rows, and
- `sample(conditional_input)`, one that draws `x [B, D]`,

both warm after the first call, and done with their work when they return. `benchmarks.worker` runs it in a process of
its own, with an interpreter that has its packages; so it imports nothing else of this project, but for the first three.
"""

NAMES = ("exported", "tfp", "tfp_xla", "flowjax", "zuko", "dense")
