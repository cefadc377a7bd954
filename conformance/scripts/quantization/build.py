"""Graphs of cases, and what ONNX Runtime computes with them."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

MICROSOFT = "com.microsoft"
ONNX = "ai.onnx"
# Half of it is the largest relative error of a rounding to 32 bits.
UNIT = 2.0**-23
COMMON = {"float", "double", "bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"}

INT4 = helper.tensor_dtype_to_np_dtype(TensorProto.INT4)
UINT4 = helper.tensor_dtype_to_np_dtype(TensorProto.UINT4)
TYPES = {
    "u8": np.dtype(np.uint8), "i8": np.dtype(np.int8), "u16": np.dtype(np.uint16), "i16": np.dtype(np.int16),
    "i32": np.dtype(np.int32), "u4": UINT4, "i4": INT4,
}
LIMITS = {
    "u8": (0, 255), "i8": (-128, 127), "u16": (0, 65535), "i16": (-32768, 32767), "i32": (-(2**31), 2**31 - 1),
    "u4": (0, 15), "i4": (-8, 7),
}


class Draw:
    """Random choices, which depend on nothing but their order."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def of(self, options):
        """One of some options."""
        return options[int(self.rng.integers(len(options)))]

    def int(self, low, high):
        """From `low` to `high`."""
        return int(self.rng.integers(low, high + 1))

    def chance(self, share):
        return bool(self.rng.random() < share)

    def numbers(self, kind, *shape, low=None, high=None):
        """Integers of a type over all of its range, or a part of it."""
        first, last = LIMITS[kind]
        first, last = first if low is None else low, last if high is None else high
        return self.rng.integers(first, last + 1, shape).astype(TYPES[kind])

    def floats(self, *shape, scale=1.0):
        """Floats in a grid of 1/64, which pack well, and of which some lie halfway between steps."""
        return (np.round(self.rng.normal(0, 1, shape) * 64) / 64 * scale).astype(np.float32)

    def scale(self, low=0.002, high=0.2):
        """A scale: a power of two, for which halves occur, or any other number."""
        exponent = self.rng.uniform(np.log2(low), np.log2(high))
        return np.float32(2.0 ** np.round(exponent) if self.chance(0.3) else 2.0**exponent)

    def scales(self, count, **range_):
        return np.array([self.scale(**range_) for _ in range(count)], np.float32)

    def zero(self, kind, *shape):
        """Zero points: the limits of the type and its middle more often than others."""
        first, last = LIMITS[kind]
        pick = lambda: self.of([first, last, (first + last + 1) // 2, self.int(first, last)])
        values = [pick() for _ in range(int(np.prod(shape)))]
        return np.array(values, np.int64).reshape(shape).astype(TYPES[kind])


class Graph:
    """A graph while it is put together: every method gives the name of a value."""

    def __init__(self, opset=21):
        self.opset = opset
        self.open = {}
        self.nodes, self.initializers, self.inputs, self.terms, self.step = [], [], {}, 8, 0.0

    def name(self, prefix):
        self.count = getattr(self, "count", -1) + 1
        return f"{prefix}{self.count}"

    def input(self, value, **names):
        """An input; sizes of dimensions that have a name, such as `d0="batch"`, are left open."""
        name = self.name("x")
        self.open[name] = {int(dim[1:]): size for dim, size in names.items()}
        self.inputs[name] = np.asarray(value)
        return name

    def const(self, value):
        name = self.name("c")
        self.initializers.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def node(self, operator, inputs, outputs=1, domain="", **attributes):
        names = [self.name("t") for _ in range(outputs)]
        names_in = ["" if name is None else name for name in inputs]
        self.nodes.append(helper.make_node(operator, names_in, names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def quantize(self, x, scale, zero, **attributes):
        return self.node("QuantizeLinear", [x, self.const(scale), self.const(zero)], **attributes)

    def dequantize(self, x, scale, zero=None, **attributes):
        operands = [x, self.const(scale)] + ([] if zero is None else [self.const(zero)])
        return self.node("DequantizeLinear", operands, **attributes)

    def depth(self, terms):
        """Sums of so many products are on the way."""
        self.terms += int(terms)

    def rounded(self, x, scale, zero, **attributes):
        """What is quantized and comes out as a float: it may be a step away, as the integer might."""
        self.step = float(np.max(scale))
        return self.dequantize(x, scale, zero, **attributes)

    def model(self, outputs):
        inputs = [value_info(name, value, self.open[name]) for name, value in self.inputs.items()]
        results = [value if isinstance(value, onnx.ValueInfoProto) else onnx.ValueInfoProto(name=value) for value in outputs]
        used = {name for node in self.nodes for name in node.input}
        constants = [tensor for tensor in self.initializers if tensor.name in used]
        graph = helper.make_graph(self.nodes, "quantized", inputs, results, constants)
        imports = [helper.make_opsetid("", self.opset)]
        if any(node.domain == MICROSOFT for node in self.nodes):
            imports.append(helper.make_opsetid(MICROSOFT, 1))
        return helper.make_model(graph, producer_name="onnxide", ir_version=10, opset_imports=imports)

    def run(self, outputs):
        """What ONNX Runtime gives for values of the graph."""
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        model = self.model(outputs).SerializeToString()
        session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
        return session.run(None, self.inputs)

    def floats_within(self):
        """The largest absolute float on the way."""
        names = [name for node in self.nodes if node.op_type != "QuantizeLinear" for name in node.output]
        values = self.run(names)
        return max((float(np.max(np.abs(v), initial=0)) for v in values if v.dtype == np.float32), default=0.0)


def value_info(name, value, names=()):
    """The type of a value, in whose shape some sizes have a name."""
    shape = [names[dim] if dim in names else size for dim, size in enumerate(value.shape)]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), shape)


def type_name(dtype):
    return TensorProto.DataType.Name(helper.np_dtype_to_tensor_dtype(dtype)).lower()


class Suite:
    """The cases so far, and the files that hold them."""

    def __init__(self):
        self.entries, self.files, self.counts, self.refused = [], {}, {}, {}

    def add(self, family, variant, graph, outputs, operator, kind, domain=ONNX, steps=1):
        """Adds a case. Integers may be `steps` away from those of ONNX Runtime, if they come from rounded floats; floats
        as far as the roundings on the way explain."""
        outputs = [outputs] if isinstance(outputs, str) else outputs
        try:
            values = graph.run(outputs)
        except Exception as error:
            self.refused.setdefault(family, []).append(f"{variant}: {str(error)[:200]}")
            return
        number = self.counts[family] = self.counts.get(family, -1) + 1
        name = "_".join(["quantized", family, f"{number:03}", *([variant] if variant else [])])
        assert all(np.all(np.isfinite(value)) for value in values if value.dtype.kind == "f"), name
        floats = any(value.dtype.kind == "f" for value in values)
        largest = graph.floats_within() if floats else 0.0
        open_ = any(graph.open.values())
        # The sizes of results are not known either, then, but their number is.
        sizes = lambda value: {dim: f"y{dim}" for dim in range(value.ndim)} if open_ else {}
        model = graph.model([value_info(key, value, sizes(value)) for key, value in zip(outputs, values)])
        types = {TensorProto.DataType.Name(tensor.data_type).lower() for tensor in graph.initializers}
        rare, half = types - COMMON, types & {"float16"}
        self.entries.append({
            "name": name, "kind": kind, "operator": operator, "domain": domain, "expanded_of": None, "tier": "T1",
            "types": "exotic" if rare - half else "half" if half else "main", "rtol": 8 * UNIT if floats else 0.0,
            "atol": graph.terms * UNIT * largest + (graph.step if steps else 0.0), "steps": steps,
            "inputs": [type_name(value.dtype) for value in graph.inputs.values()],
            "outputs": [type_name(value.dtype) for value in values],
        })
        self.files[f"{name}/model.onnx"] = model.SerializeToString(deterministic=True)
        for what, arrays in (("input", graph.inputs.values()), ("output", values)):
            for place, value in enumerate(arrays):
                content = numpy_helper.from_array(value).SerializeToString(deterministic=True)
                self.files[f"{name}/{what}_{place}.pb"] = content
