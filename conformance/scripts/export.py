#!/usr/bin/env python3
"""Makes `node.tar.zst` and `models.tar.zst` from the backend test suite of onnx.

    pip install onnx==1.23.2 numpy
    python scripts/export.py [FOLDER]

The same archives come out each time: names are sorted, there are no time stamps, and protobuf is serialized
deterministically. Needs the command `zstd`.
"""

import io
import json
import os
import pathlib
import re
import subprocess
import sys
import tarfile
import warnings

warnings.filterwarnings("ignore")

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnx.backend.test import loader

VERSION = "1.23.2"
KINDS = {
    "node": ["node"],
    "models": ["simple", "pytorch-converted", "pytorch-operator", "real"],
}

MAIN = {"float", "double", "bool"} | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
HALF = {"float16", "bfloat16"}

# The inputs whose values decide the shape of an output.
SHAPE_INPUTS = {
    "Reshape": [1], "Expand": [1], "ConstantOfShape": [0], "Tile": [1], "Slice": [1, 2, 3, 4], "Pad": [1, 3],
    "Resize": [1, 2, 3], "Upsample": [1], "TopK": [1], "OneHot": [1], "Range": [0, 1, 2], "Split": [1],
    "Squeeze": [1], "Unsqueeze": [1], "CenterCropPad": [1], "Col2Im": [1, 2], "AffineGrid": [1],
    "MelWeightMatrix": [0, 1], "HannWindow": [0], "HammingWindow": [0], "BlackmanWindow": [0],
    "STFT": [1, 3], "DFT": [1, 2], "MaxUnpool": [2], "SplitToSequence": [1],
}
for reduction in "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare".split():
    SHAPE_INPUTS["Reduce" + reduction] = [1]
DATA_DEPENDENT = {"NonZero", "Unique", "Compress", "NonMaxSuppression", "ImageDecoder"}
SEQUENCES = {
    "SequenceAt", "SequenceConstruct", "SequenceEmpty", "SequenceErase", "SequenceInsert", "SequenceLength",
    "SequenceMap", "SplitToSequence", "ConcatFromSequence",
}
OPTIONALS = {"Optional", "OptionalGetElement", "OptionalHasElement"}
CONTROL = {"If", "Loop", "Scan"}


def element_name(number):
    return TensorProto.DataType.Name(number).lower()


def type_name(ty):
    """A type as the index names it: `float`, `seq(float)`, `opt(seq(int64))`."""
    kind = ty.WhichOneof("value")
    if kind == "tensor_type":
        return element_name(ty.tensor_type.elem_type)
    if kind == "sequence_type":
        return f"seq({type_name(ty.sequence_type.elem_type)})"
    if kind == "optional_type":
        return f"opt({type_name(ty.optional_type.elem_type)})"
    raise ValueError(f"no type of kind {kind} is known")


class Flow:
    """What depends on what: a value is followed as (depends on inputs, how its shape does).

    The latter is 0 for a shape that follows from those of the inputs, 2 for one that a parameter decides and 3 for one that
    depends on data.
    """

    def __init__(self):
        self.elements = set()
        self.kinds = set()
        self.worst = 0

    def graph(self, graph, outer, body=False):
        values = dict(outer)
        for tensor in graph.initializer:
            values[tensor.name] = (False, 0)
            self.elements.add(element_name(tensor.data_type))
        for port in graph.input:
            if body or port.name not in values:
                values[port.name] = (True, 0)
        for node in graph.node:
            result = self.node(node, values)
            values.update((name, result) for name in node.output)
        outputs = [values.get(port.name, (True, 0)) for port in graph.output]
        return any(value for value, _ in outputs), max((shape for _, shape in outputs), default=0)

    def node(self, node, values):
        operands = [values.get(name, (False, 0)) if name else None for name in node.input]
        present = [operand for operand in operands if operand]
        value = any(operand[0] for operand in present)
        shape = max((operand[1] for operand in present), default=0)
        op = node.op_type
        if op in ("Shape", "Size"):
            value, shape = shape > 0, 0
        elif op == "Constant":
            value, shape = False, 0
        elif op in RANDOM:
            value = True
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                self.elements.add(element_name(attribute.t.data_type))
            if op == "Cast" and attribute.name == "to":
                self.elements.add(element_name(attribute.i))
        deciding = [operands[i] for i in SHAPE_INPUTS.get(op, []) if i < len(operands)]
        if any(operand and operand[0] for operand in deciding) and not node.domain.startswith("ai.onnx.ml"):
            shape = max(shape, 2)
        if op in DATA_DEPENDENT and value:
            shape = 3
        if op in SEQUENCES:
            self.kinds.add("sequence")
        if op in OPTIONALS:
            self.kinds.add("optional")
        if op in CONTROL and not (op == "If" and operands and operands[0] and not operands[0][0]):
            self.kinds.add("control")
        for attribute in node.attribute:
            bodies = [attribute.g] if attribute.type == onnx.AttributeProto.GRAPH else list(attribute.graphs)
            for body in bodies:
                inner = self.graph(body, values, body=True)
                value, shape = value or inner[0], max(shape, inner[1])
        self.worst = max(self.worst, shape)
        return value, shape


RANDOM = {"Bernoulli", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial"}


def classify(model, domain, types):
    """The tier and the class of types."""
    flow = Flow()
    flow.graph(model.graph, {})
    for ty in types:
        flow.elements.update(re.findall(r"[a-z0-9_]+", ty))
    elements = flow.elements - {"seq", "opt"}
    preview = [domain] + [node.domain for node in model.graph.node]
    structured = flow.kinds or "string" in elements or any("(" in ty for ty in types)
    if any(name.startswith("ai.onnx.preview") for name in preview) or any(
        node.op_type == "Gradient" for node in model.graph.node
    ):
        tier = "T5"
    elif structured:
        tier = "T4"
    else:
        tier = {0: "T1", 2: "T2", 3: "T3"}[flow.worst]
    if "string" in elements:
        return tier, "string"
    if elements - MAIN - HALF:
        return tier, "exotic"
    return tier, "half" if elements & HALF else "main"


def to_proto(value, port):
    if isinstance(value, (TensorProto, onnx.SequenceProto, onnx.OptionalProto)):
        return value
    kind = port.type.WhichOneof("value")
    if kind == "sequence_type":
        return numpy_helper.from_list(value, port.name)
    if kind == "optional_type":
        return numpy_helper.from_optional(value, port.name)
    return numpy_helper.from_array(np.asarray(value), port.name)


def read_proto(path, port):
    kind = port.type.WhichOneof("value")
    kinds = {"sequence_type": onnx.SequenceProto, "optional_type": onnx.OptionalProto}
    return kinds.get(kind, TensorProto).FromString(pathlib.Path(path).read_bytes())


def inputs_of(graph):
    initialized = {tensor.name for tensor in graph.initializer}
    return [port for port in graph.input if port.name not in initialized]


def load(case):
    """The model of a case, its inputs and the outputs that are expected."""
    if case.kind == "real":
        # The suite has no inputs for these: its runner counts up to 1.
        path = os.path.join(loader.DATA_DIR, "light", os.path.basename(case.url))
        model = onnx.load(path)
        inputs = []
        for port in inputs_of(model.graph):
            shape = tuple(dim.dim_value or 1 for dim in port.type.tensor_type.shape.dim)
            count = np.prod(shape)
            inputs.append((np.arange(count).reshape(shape) / count).astype(np.float32))
        stem = os.path.splitext(path)[0]
        outputs = [read_proto(f"{stem}_output_{i}.pb", port) for i, port in enumerate(model.graph.output)]
        return model, inputs, outputs
    if case.model is not None:
        (inputs, outputs), = case.data_sets
        return case.model, inputs, outputs
    folder = pathlib.Path(case.model_dir)
    model = onnx.load(folder / "model.onnx")
    data, = folder.glob("test_data_set_*")
    number = lambda path: int(re.findall(r"_(\d+)", path.name)[-1])
    read = lambda kind, ports: [
        read_proto(path, port) for path, port in zip(sorted(data.glob(f"{kind}_*.pb"), key=number), ports)
    ]
    return model, read("input", inputs_of(model.graph)), read("output", model.graph.output)


def export(kinds):
    """The files of an archive, by name."""
    files, entries, operators = {}, [], {}
    for kind in kinds:
        for case in sorted(loader.load_model_tests(kind=kind), key=lambda case: case.name):
            model, inputs, outputs = load(case)
            graph = model.graph
            base = re.match(r"(.*?)_expanded(_ver\d+)?$", case.name)
            expanded_of = base.group(1) if base and base.group(1) in operators else None
            if kind != "node":
                operator = graph.node[0].op_type if len(graph.node) == 1 else "<model>", graph.node[0].domain
            elif expanded_of:
                operator = operators[expanded_of]
            else:
                operator = operators[case.name] = graph.node[0].op_type, graph.node[0].domain
            ports = {"input": inputs_of(graph), "output": list(graph.output)}
            types = {name: [type_name(port.type) for port in ports[name]] for name in ports}
            tier, types_class = classify(model, operator[1], types["input"] + types["output"])
            files[f"{case.name}/model.onnx"] = model.SerializeToString(deterministic=True)
            for name, values in (("input", inputs), ("output", outputs)):
                assert len(values) == len(ports[name]), case.name
                for number, (value, port) in enumerate(zip(values, ports[name])):
                    content = to_proto(value, port).SerializeToString(deterministic=True)
                    files[f"{case.name}/{name}_{number}.pb"] = content
            # Outputs of bfloat16 have a tolerance of their own in the suite's runner.
            rtol = max(case.rtol, 2**-6) if "bfloat16" in types["output"] else case.rtol
            entries.append({
                "name": case.name, "kind": kind, "operator": operator[0], "domain": operator[1] or "ai.onnx",
                "expanded_of": expanded_of, "tier": tier, "types": types_class, "rtol": rtol, "atol": case.atol,
                "inputs": types["input"], "outputs": types["output"],
            })
    entries.sort(key=lambda entry: entry["name"])
    index = {"onnx": onnx.__version__, "cases": entries}
    files["index.json"] = json.dumps(index, indent=0, sort_keys=True).encode()
    return files


def write_archive(path, files):
    with open(path, "wb") as out:
        command = ["zstd", "-19", "--long=24", "--single-thread", "-q", "-c"]
        zstd = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out)
        with tarfile.open(fileobj=zstd.stdin, mode="w|", format=tarfile.USTAR_FORMAT) as tar:
            for name in sorted(files):
                info = tarfile.TarInfo(name)
                info.size = len(files[name])
                tar.addfile(info, io.BytesIO(files[name]))
        zstd.stdin.close()
        assert zstd.wait() == 0, "zstd fails"


def main():
    assert onnx.__version__ == VERSION, f"this is for onnx {VERSION}"
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent / "data")
    for name, kinds in KINDS.items():
        files = export(kinds)
        write_archive(folder / f"{name}.tar.zst", files)
        print(f"{name}: {sum(path.endswith('model.onnx') for path in files)} cases")


if __name__ == "__main__":
    main()
