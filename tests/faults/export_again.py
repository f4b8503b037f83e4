"""`python export_again.py ROOT COUNT`: exports a tiny flow to ROOT/1, ROOT/2, ..., and prints what became of each.

One process for all, since TensorFlow takes seconds to start. What is exported is not verified: that only reads.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import tensorflow as tf
import tensorflow_probability as tfp

from export import ExportError, saved_model
from maf import create_named_maf

tfb, tfd = tfp.bijectors, tfp.distributions


def main(root: Path, count: int) -> None:
    saved_model.fresh_process = lambda: contextlib.nullcontext(SimpleNamespace(load=lambda _: None))
    saved_model.verify = lambda *_: saved_model.VerificationReport(())
    saved_model.VerificationReport.require_agreement = lambda _: None
    flow = tfd.TransformedDistribution(
        tfd.MultivariateNormalDiag(tf.zeros(2)), create_named_maf("maf", [4], event_size=2, condition_size=0)
    )
    for number in range(1, count + 1):
        try:
            published = saved_model.export_saved_model(flow, root / str(number) / "flow", event_columns=["a", "b"])
            outcome = {"published": str(published)}
        except ExportError as error:
            outcome = {"refused": str(error)}
        except Exception as error:  # noqa: BLE001  # told to the test
            outcome = {"raised": repr(error)}
        sys.stdout.write(json.dumps(outcome) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
