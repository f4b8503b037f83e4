"""A real SavedModel in closed form, x = c + scale z with D = 2, and a local server that serves versions of it."""

import math
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from export.contract import CONTRACT_PATH, Contract, Signature, TensorSpec
from serving_config import Client, ServingError
from serving_config.client import RetryPolicy

ROOT = Path(__file__).parents[2]


def write_flow(version_dir, scale):
    import tensorflow as tf  # noqa: PLC0415  # seconds

    x = tf.TensorSpec([None, 2], tf.float32, name="x")
    z = tf.TensorSpec([None, 2], tf.float32, name="z")
    condition = tf.TensorSpec([None, 1], tf.float32, name="conditional_input")
    seeds = tf.TensorSpec([None], tf.int64, name="seed")

    class Flow(tf.Module):
        @tf.function(input_signature=[x, condition])
        def inverse(self, x, conditional_input):
            z = (x - conditional_input) / scale
            return {"z": z, "log_prob": -tf.reduce_sum(z**2, 1) / 2 - math.log(2 * math.pi * scale**2)}

        @tf.function(input_signature=[x, condition])
        def log_prob(self, x, conditional_input):
            return {"log_prob": self.inverse(x, conditional_input)["log_prob"]}

        @tf.function(input_signature=[z, condition])
        def forward(self, z, conditional_input):
            return {"x": conditional_input + scale * z}

        @tf.function(input_signature=[condition, seeds])
        def sample_with_seed(self, conditional_input, seed):
            z = tf.cast(tf.stack([seed % 1009, seed % 997], 1), tf.float32) / 1000 - 0.5
            x = conditional_input + scale * z
            return {"x": x, "log_prob": self.inverse(x, conditional_input)["log_prob"]}

        @tf.function(input_signature=[condition])
        def sample(self, conditional_input):
            seed = tf.random.uniform([tf.shape(conditional_input)[0]], maxval=10**6, dtype=tf.int64)
            return self.sample_with_seed(conditional_input, seed)

    flow = Flow()
    names = ("log_prob", "inverse", "forward", "sample", "sample_with_seed")
    tf.saved_model.save(flow, str(version_dir), signatures={name: getattr(flow, name) for name in names})
    (version_dir / CONTRACT_PATH).parent.mkdir()
    (version_dir / CONTRACT_PATH).write_text(_contract().to_json())


def _contract():
    """What batch jobs ask of the flow."""
    pair, number = (TensorSpec("float32", (None, size)) for size in (2, 1))
    rows = {"log_prob": TensorSpec("float32", (None,))}
    inputs = {"x": pair, "conditional_input": number}
    return Contract(
        event_columns=("x0", "x1"),
        conditional_columns=("c0",),
        dtype="float32",
        signatures={"log_prob": Signature(inputs, rows), "inverse": Signature(inputs, {"z": pair, **rows})},
        toolkit_version="0",
        tensorflow_version="2",
    )


def log_prob(x, c, scale):
    z = (np.asarray(x, np.float64) - np.asarray(c, np.float64)) / scale
    return -(z**2).sum(1) / 2 - math.log(2 * math.pi * scale**2)


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def start_script(script, log):
    """Runs a generated serve.sh with the local server in the place of the real one."""
    stand_in = script.parent.parent / "tensorflow_model_server"
    stand_in.write_text(
        f'#!/bin/sh\nexec env PYTHONPATH="{ROOT}" "{sys.executable}" -m serving_config.serve --backend local "$@"\n'
    )
    stand_in.chmod(0o755)
    with log.open("wb") as output:
        return subprocess.Popen(
            ["/bin/sh", str(script)],
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TENSORFLOW_MODEL_SERVER": str(stand_in)},
        )


def stop(process):
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(30)
    finally:
        process.kill()
        process.wait()


def await_model(name, log, process, **address):
    end = time.monotonic() + 120
    with Client(name, **address, retry=RetryPolicy(attempts=1)) as client:
        while True:
            try:
                return client.metadata()
            except ServingError as error:
                if time.monotonic() > end or process.poll() is not None:
                    raise AssertionError(f"{error}; the server said: {log.read_text()}") from error
                time.sleep(0.2)
