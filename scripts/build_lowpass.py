#!/usr/bin/env python3
"""Builds a model with an operator that ONNX does not have, and a reference for it.

Usage: build_lowpass.py DIRECTORY

Writes lowpass.onnx and lowpass.npz to DIRECTORY. The operator `dsp.Biquad` filters each row of a signal by a filter of
second order and keeps every `step`-th sample; the model then computes the level of each row:

    signal: float[channels, samples] -> low: float[channels, low_samples], level: float[channels]

The filter passes frequencies below 1 kHz of a signal with 16,000 samples a second (R. Bristow-Johnson, Cookbook formulae
for audio equalizer biquad filter coefficients). The reference is computed in double precision.
"""

import math
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper

RATE, CUTOFF, STEP = 16_000, 1_000, 4


def coefficients():
    """Returns b0, b1, b2, a1 and a2, for a0 = 1, of a Butterworth low-pass filter."""
    w = 2 * math.pi * CUTOFF / RATE
    alpha = math.sin(w) / math.sqrt(2)
    b1 = 1 - math.cos(w)
    values = np.array([b1 / 2, b1, b1 / 2, -2 * math.cos(w), 1 - alpha]) / (1 + alpha)
    return values.astype(np.float32)


def biquad(x, b0, b1, b2, a1, a2):
    """Filters the rows of x."""
    y = np.zeros_like(x)
    before = np.pad(x, ((0, 0), (2, 0)))
    for n in range(x.shape[1]):
        y[:, n] = b0 * before[:, n + 2] + b1 * before[:, n + 1] + b2 * before[:, n]
        if n > 0:
            y[:, n] -= a1 * y[:, n - 1]
        if n > 1:
            y[:, n] -= a2 * y[:, n - 2]
    return y


def main():
    directory = Path(sys.argv[1])
    nodes = [
        helper.make_node(
            "Biquad", ["signal"], ["low"], "filter", domain="dsp", coefficients=coefficients().tolist(), step=STEP
        ),
        helper.make_node("Mul", ["low", "low"], ["power"], "power"),
        helper.make_node("ReduceMean", ["power"], ["mean"], "mean", axes=[1], keepdims=0),
        helper.make_node("Sqrt", ["mean"], ["level"], "level"),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "lowpass",
        [value("signal", TensorProto.FLOAT, ["channels", "samples"])],
        [
            value("low", TensorProto.FLOAT, ["channels", "low_samples"]),
            value("level", TensorProto.FLOAT, ["channels"]),
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("dsp", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="build_lowpass.py")
    checker.check_model(model)
    (directory / "lowpass.onnx").write_bytes(model.SerializeToString())

    signal = np.random.default_rng(1).standard_normal((2, 254)).astype(np.float32)
    low = biquad(signal.astype(np.float64), *coefficients().astype(np.float64))[:, ::STEP][:, : 254 // STEP]
    level = np.sqrt(np.mean(low**2, axis=1))
    arrays = {"in:signal": signal, "out:low": low.astype(np.float32), "out:level": level.astype(np.float32)}
    np.savez(directory / "lowpass.npz", **arrays)


if __name__ == "__main__":
    main()
