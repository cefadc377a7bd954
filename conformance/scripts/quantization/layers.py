"""Layers between conversions: what stands between `DequantizeLinear` and `QuantizeLinear` is computed in floats."""

import numpy as np

from .build import Graph
from .products import output_parameters, shapes

KINDS = ["u8", "i8", "u8", "i8", "u16", "i16"]
# Opsets in which the conversions have changed.
OPSETS = [13, 17, 19, 21, 21]


def entry(draw, graph, kind, shape, quantized=None, scale=None, zero=None):
    """A float that stands for a quantized number: one that is given as such, or is quantized first."""
    scale = draw.scale(0.01, 0.1) if scale is None else scale
    if kind[1:] == "16":
        scale = np.float32(scale / 256)
    zero = draw.zero(kind) if zero is None else zero
    if draw.chance(0.7) if quantized is None else quantized:
        return graph.dequantize(graph.input(draw.numbers(kind, *shape)), scale, zero), scale, zero
    x = graph.quantize(graph.input(draw.floats(*shape, scale=2)), scale, zero)
    return graph.dequantize(x, scale, zero), scale, zero


def leave(suite, draw, family, variant, graph, result, operator, kind, domain="ai.onnx", number=0, same=None, steps=1):
    """Quantizes the result with parameters of its own, or those of the input, and adds the case."""
    scale, zero = same or output_parameters(draw, graph, result, kind)
    result = graph.quantize(result, scale, zero)
    if number % 6 == 5:
        result = graph.rounded(result, scale, zero)
    suite.add(family, f"{kind}{'_' if variant else ''}{variant}", graph, result, operator, "qdq", domain=domain, steps=steps)


def kinds(number, opset):
    return KINDS[number % len(KINDS)] if opset >= 21 else KINDS[number % 2]


def shape_of(draw, least=1, most=4):
    while True:
        shape = [draw.of([1, 2, 3, 4, 5, 8, 15, 17]) for _ in range(draw.int(least, most))]
        if np.prod(shape) <= 600:
            return shape


def clip(draw, graph, x):
    low, high = draw.of([(0.0, 6.0), (-1.0, 1.0), (0.0, None), (None, 0.5)])
    bound = lambda value: None if value is None else graph.const(np.float32(value))
    return graph.node("Clip", [x, bound(low), bound(high)])


def layer_norm(draw, graph, x):
    size = graph.run([x])[0].shape[-1]
    operands = [x, graph.const(draw.floats(size)), graph.const(draw.floats(size))]
    return graph.node("LayerNormalization", operands[: draw.int(2, 3)], axis=-1, epsilon=draw.of([1e-5, 1e-3]))


def plain(operator, *options):
    return lambda draw, graph, x: graph.node(operator, [x], **(draw.of(options) if options else {}))


UNARY = {
    "Relu": plain("Relu"), "Clip": clip, "Sigmoid": plain("Sigmoid"), "Tanh": plain("Tanh"),
    "HardSwish": plain("HardSwish"), "LeakyRelu": plain("LeakyRelu", {}, {"alpha": 0.2}),
    "Gelu": plain("Gelu", {}, {"approximate": "tanh"}), "LayerNormalization": layer_norm,
    "Softmax": plain("Softmax", {"axis": -1}, {"axis": 0}, {"axis": -1}),
}


def unary(suite, draw):
    for operator, make in UNARY.items():
        for number in range(18):
            opset = max(OPSETS[number % 5], {"HardSwish": 14, "LayerNormalization": 17, "Gelu": 20}.get(operator, 13))
            kind, graph = kinds(number, opset), Graph(opset)
            # Numbers of both signs, mostly.
            zero = draw.zero(kind) if draw.chance(0.2) else draw.numbers(kind)
            x, *_ = entry(draw, graph, kind, shape_of(draw, least=2 if operator == "LayerNormalization" else 1), zero=zero)
            leave(suite, draw, f"qdq_{operator.lower()}", "", graph, make(draw, graph, x), operator, kind, number=number)


def binary(suite, draw):
    for number in range(90):
        operator = ["Add", "Mul", "Add", "Sub"][number % 4]
        opset = OPSETS[number % 5]
        kind, graph = kinds(number, opset), Graph(opset)
        shape = shape_of(draw)
        other = list(shape)
        variant = draw.of(["same", "same", "axis", "scalar", "constant"])
        if variant == "axis":
            other[draw.int(0, len(shape) - 1)] = 1
        elif variant == "scalar":
            other = []
        a, *_ = entry(draw, graph, kind, shape)
        if variant == "constant":
            b = graph.dequantize(graph.const(draw.numbers(kind, *shape[-1:])), draw.scale(), draw.zero(kind))
        else:
            b, *_ = entry(draw, graph, kind, other)
        operands = [a, b] if draw.chance(0.7) else [b, a]
        result = graph.node(operator, operands)
        leave(suite, draw, f"qdq_{operator.lower()}", variant, graph, result, operator, kind, number=number)


def concat(suite, draw):
    for number in range(40):
        opset = OPSETS[number % 5]
        kind, graph = kinds(number, opset), Graph(opset)
        shape = shape_of(draw)
        axis, same, parts = draw.int(-len(shape), len(shape) - 1), number % 2 == 0, []
        parameters = draw.scale(0.01, 0.1), draw.zero(kind)
        for _ in range(draw.int(1, 4)):
            shape[axis] = draw.int(1, 5)
            part, *own = entry(draw, graph, kind, shape, *([True, *parameters] if same else []))
            parts.append(part)
        result = graph.node("Concat", parts, axis=axis)
        given = {"same": tuple(own), "steps": 0} if same else {}
        leave(suite, draw, "qdq_concat", "same" if same else "", graph, result, "Concat", kind, number=number, **given)


def pools(suite, draw):
    for number in range(96):
        operator = ["MaxPool", "AveragePool", "GlobalAveragePool", "AveragePool"][number % 4]
        opset = OPSETS[number % 5]
        kind, graph = kinds(number, opset), Graph(opset)
        rank = draw.of([1, 2, 2])
        image = [draw.of([1, 2]), draw.of([1, 3, 4, 8, 17]), *[draw.int(5, 8) for _ in range(rank)]]
        x, *own = entry(draw, graph, kind, image, quantized=True if operator == "MaxPool" else None)
        attributes = {}
        if operator != "GlobalAveragePool":
            kernel = [draw.int(1, 4) for _ in range(rank)]
            attributes = {"kernel_shape": kernel, "strides": [draw.int(1, min(size, 3)) for size in kernel]}
            padding = draw.of(["none", "pads", "SAME_UPPER", "VALID"])
            if padding == "pads":
                attributes["pads"] = [draw.int(0, size - 1) for size in kernel * 2]
            elif padding != "none":
                attributes["auto_pad"] = padding
            if padding in ("none", "pads"):
                attributes["ceil_mode"] = draw.int(0, 1)
            if operator == "AveragePool":
                attributes["count_include_pad"] = draw.int(0, 1)
        result = graph.node(operator, [x], **attributes)
        given = {"same": tuple(own), "steps": 0} if operator == "MaxPool" else {}
        leave(suite, draw, f"qdq_{operator.lower()}", "", graph, result, operator, kind, number=number, **given)


def movement(suite, draw):
    for number in range(80):
        operator = ["Reshape", "Transpose"][number % 2]
        opset = OPSETS[number % 5]
        kind, graph = kinds(number, opset), Graph(opset)
        shape = shape_of(draw, least=2)
        x, *own = entry(draw, graph, kind, shape, quantized=True)
        if operator == "Reshape":
            new = draw.of([[-1], [shape[0], -1], [-1, shape[-1]], [1, *shape], [0, -1]])
            result = graph.node("Reshape", [x, graph.const(np.array(new, np.int64))])
        else:
            result = graph.node("Transpose", [x], perm=[int(axis) for axis in draw.rng.permutation(len(shape))])
        given = {"same": tuple(own), "steps": 0} if number % 3 else {}
        leave(suite, draw, f"qdq_{operator.lower()}", "", graph, result, operator, kind, number=number, **given)


def resize(suite, draw):
    for number in range(36):
        opset = OPSETS[number % 5]
        kind, graph = kinds(number, opset), Graph(opset)
        image = [1, draw.of([1, 3, 4]), draw.int(2, 6), draw.int(2, 6)]
        mode, coordinates = draw.of([
            ("nearest", "asymmetric"), ("nearest", "half_pixel"), ("linear", "half_pixel"), ("linear", "align_corners"),
            ("cubic", "half_pixel"),
        ])
        x, *own = entry(draw, graph, kind, image, quantized=True)
        scales = np.array([1, 1, draw.of([0.5, 1.5, 2, 3]), draw.of([0.5, 1, 2, 2.5])], np.float32)
        result = graph.node(
            "Resize", [x, None, graph.const(scales)], mode=mode, coordinate_transformation_mode=coordinates,
            **({"nearest_mode": "floor"} if mode == "nearest" else {}),
        )
        given = {"same": tuple(own), "steps": 0} if mode == "nearest" else {}
        leave(suite, draw, "qdq_resize", f"{mode}_{coordinates}", graph, result, "Resize", kind, number=number, **given)


def gemm(suite, draw):
    for number in range(90):
        kind, weight_kind = kinds(number, 21), draw.of(["i8", "i8", "u8", "i4", "u4", "i16"])
        (rows, depth), (_, columns) = shapes(draw, batched=False)
        graph = Graph(21)
        graph.depth(depth)
        trans_a, trans_b = int(draw.chance(0.2)), draw.int(0, 1)
        x, *_ = entry(draw, graph, kind, [depth, rows] if trans_a else [rows, depth])
        shape = (columns,) if draw.chance(0.5) else ()
        weights = draw.numbers(weight_kind, *([columns, depth] if trans_b else [depth, columns]))
        scales = draw.scales(int(np.prod(shape))).reshape(shape)
        zeros = draw.zero(weight_kind, *shape) if draw.chance(0.5) else np.zeros(shape, weights.dtype)
        operands = [x, graph.dequantize(graph.const(weights), scales, zeros, axis=1 - trans_b)]
        if draw.chance(0.6):
            operands.append(graph.const(draw.floats(columns)))
        factors = draw.of([{}, {}, {"alpha": 0.5, "beta": 2.0}])
        result = graph.node("Gemm", operands, transA=trans_a, transB=trans_b, **factors)
        if draw.chance(0.3):
            result = graph.node("Relu", [result])
        variant = f"{weight_kind}{'_column' if shape else ''}_{trans_a}{trans_b}"
        leave(suite, draw, "qdq_gemm", variant, graph, result, "Gemm", draw.of([kind, "u8"]), number=number)


def matmul(suite, draw):
    for number in range(150):
        kind, right_kind = kinds(number, 21), draw.of(["i8", "i8", "u8", "i4", "u4", "u16"])
        left, right = shapes(draw, batched=number % 3 == 2)
        graph = Graph(21)
        graph.depth(left[-1])
        form = draw.of(["constant", "constant", "given", "rows"])
        if form == "rows":
            # Rows of the left factor have parameters of their own.
            scales, zeros = draw.scales(left[-2]), draw.zero(kind, left[-2])
            numbers = graph.input(draw.numbers(kind, *left))
            x = graph.dequantize(numbers, scales, zeros, axis=len(left) - 2 if number % 2 else -2)
        else:
            x, *_ = entry(draw, graph, kind, left)
        if form == "given" and right_kind in ("i8", "u8"):
            y, *_ = entry(draw, graph, right_kind, right)
        else:
            shape = (right[-1],) if draw.chance(0.5) else ()
            zeros = draw.zero(right_kind, *shape) if draw.chance(0.5) else None
            scales = draw.scales(int(np.prod(shape))).reshape(shape)
            y = graph.dequantize(graph.const(draw.numbers(right_kind, *right)), scales, zeros, axis=-1)
        result = graph.node("MatMul", [x, y])
        if draw.chance(0.3):
            result = graph.node("Add", [result, graph.const(draw.floats(right[-1]))])
        leave(suite, draw, "qdq_matmul", f"{right_kind}_{form}", graph, result, "MatMul", draw.of([kind, "u8"]), number=number)


FAMILIES = [unary, binary, concat, pools, movement, resize, gemm, matmul]
