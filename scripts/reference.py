#!/usr/bin/env python3
"""Make a reference for `onnxide check`: seeded inputs, and what ONNX Runtime computes from them.

    pip install numpy==2.4.6 onnxruntime==1.32.0
    scripts/reference.py models/bert_tiny_dyn.onnx bert.npz --dim batch=2 --dim sequence=17 --range input_ids=0..999
    onnxide check models/bert_tiny_dyn.onnx --reference bert.npz --dim batch=1..=4 --dim sequence=1..=64

Floating-point inputs are normally distributed, integers are 0 or 1 unless a range says otherwise, and both ends of a
range occur. Graph optimizations are off, so that every node is computed as the model spells it.
"""

import argparse

import numpy as np
import onnxruntime as ort

DTYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(bool)": np.bool_,
}


def pair(text, split):
    name, value = text.split("=", 1)
    return name, split(value)


def bounds(text):
    low, high = text.split("..")
    return int(low), int(high)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("output")
    parser.add_argument("--dim", action="append", default=[], metavar="NAME=N", help="the size of a dynamic dimension")
    parser.add_argument("--range", action="append", default=[], metavar="INPUT=LO..HI", help="values of an integer input")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    dims = dict(pair(text, int) for text in arguments.dim)
    ranges = dict(pair(text, bounds) for text in arguments.range)
    rng = np.random.default_rng(arguments.seed)

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(arguments.model, options, providers=["CPUExecutionProvider"])
    inputs = {}
    for port in session.get_inputs():
        shape = []
        for axis, size in enumerate(port.shape):
            if not isinstance(size, int) or size < 0:
                # A dimension without a name is called after the input and the axis, as onnxide does.
                name = size if isinstance(size, str) and any(c.isalnum() for c in size) else f"{port.name}_{axis}"
                if name not in dims:
                    parser.error(f"pass the size of `{name}`: --dim {name}=N")
                size = dims[name]
            shape.append(size)
        dtype = DTYPES[port.type]
        if np.issubdtype(dtype, np.floating):
            inputs[port.name] = rng.standard_normal(shape).astype(dtype)
        else:
            low, high = ranges.get(port.name, (0, 1))
            inputs[port.name] = rng.integers(low, high, shape, endpoint=True).astype(dtype)
    names = [port.name for port in session.get_outputs()]
    outputs = session.run(names, inputs)
    arrays = {f"in:{name}": value for name, value in inputs.items()}
    arrays |= {f"out:{name}": value for name, value in zip(names, outputs)}
    np.savez(arguments.output, **arrays)
    print(f"{arguments.output}: " + ", ".join(f"{name} {list(value.shape)}" for name, value in arrays.items()))


if __name__ == "__main__":
    main()
