"""Conversions by themselves, weights without quantized activations, and quantization while running."""

import numpy as np

from .build import Graph
from .convolutions import form, geometry
from .layers import OPSETS, leave, shape_of
from .products import sizes


def convert(suite, draw):
    """`QuantizeLinear` and `DequantizeLinear`, for a tensor, along an axis and by blocks."""
    for number in range(130):
        forth = number % 2 == 0
        operator = "QuantizeLinear" if forth else "DequantizeLinear"
        granularity = ["tensor", "axis", "block"][number // 2 % 3]
        opset = 21 if granularity == "block" else OPSETS[number % 5]
        names = ["u8", "i8", "u16", "i16", "u4", "i4"] if opset == 21 else ["u8", "i8"] + ([] if forth else ["i32"])
        kind, graph = names[number // 6 % len(names)], Graph(opset)
        shape = shape_of(draw, least=1 if granularity == "tensor" else 2)
        axis = draw.int(0, len(shape) - 1)
        attributes, parameters = {}, []
        if granularity != "tensor":
            attributes["axis"] = axis - draw.of([0, len(shape)])
            parameters = [shape[axis]]
        if granularity == "block":
            attributes["block_size"] = draw.of([2, 3, 4])
            parameters = list(shape)
            parameters[axis] = -(-shape[axis] // attributes["block_size"])
        scale = draw.scales(int(np.prod(parameters)), low=0.01, high=0.5).reshape(parameters)
        zero = np.zeros(parameters, np.int32) if kind == "i32" else draw.zero(kind, *parameters)
        if draw.chance(0.2) and kind in ("u8", "i8", "i32") and not (forth and kind == "i8"):
            zero = None
        if forth:
            x = graph.input(draw.floats(*shape, scale=draw.of([1, 4, 40])))
            operands = [x, graph.const(scale)] + ([] if zero is None else [graph.const(zero)])
            result = graph.node(operator, operands, **attributes)
            if kind in ("u4", "i4"):
                # Numbers of four bits are no output.
                result = graph.rounded(result, scale, zero, **attributes)
        else:
            low, high = (-(2**20), 2**20) if kind == "i32" else (None, None)
            numbers = draw.numbers(kind, *shape, low=low, high=high)
            x = graph.const(numbers) if kind in ("u4", "i4") else graph.input(numbers)
            result = graph.dequantize(x, scale, zero, **attributes)
            if kind in ("u4", "i4"):
                result = graph.node("Add", [result, graph.input(draw.floats(*shape))])
        suite.add(operator.lower(), f"{kind}_{granularity}", graph, result, operator, "operator")


def weight_only(suite, draw):
    """Products of floats with weights in few bits: converted by `DequantizeLinear`, also by blocks, or by `Cast` and
    `Mul`."""
    for number in range(130):
        way = ["blocks", "column", "cast", "blocks"][number % 4]
        kind = draw.of(["i8", "u8"] if way == "cast" else ["i4", "u4", "i8", "u8", "i4"])
        rows, depth, columns = sizes(draw)
        graph = Graph(21)
        graph.depth(depth)
        weights = graph.const(draw.numbers(kind, depth, columns))
        if way == "cast":
            w = graph.node("Cast", [weights], to=1)
            if kind == "u8":
                w = graph.node("Sub", [w, graph.const(np.float32(draw.int(0, 255)))])
            w = graph.node("Mul", [w, graph.const(draw.scales(columns) if draw.chance(0.6) else draw.scale())])
        else:
            block = draw.of([2, 4, 16, 32])
            blocks = -(-depth // block)
            shape = (blocks, columns) if way == "blocks" else (columns,)
            attributes = {"axis": 0, "block_size": block} if way == "blocks" else {"axis": 1}
            zeros = draw.zero(kind, *shape) if draw.chance(0.6) else None
            w = graph.dequantize(weights, draw.scales(int(np.prod(shape))).reshape(shape), zeros, **attributes)
        result = graph.node("MatMul", [graph.input(draw.floats(rows, depth)), w])
        if draw.chance(0.3):
            result = graph.node("Add", [result, graph.const(draw.floats(columns))])
        suite.add("weightonly", f"{kind}_{way}", graph, result, "MatMul", "qdq")


def dynamic_quantize(suite, draw):
    for number in range(24):
        graph = Graph(13)
        x = draw.floats(*shape_of(draw), scale=draw.of([0.1, 1, 30]))
        x = [x, np.abs(x), -np.abs(x)][number % 3] + np.float32(draw.of([0, 0, 2]))
        outputs = graph.node("DynamicQuantizeLinear", [graph.input(x)], outputs=3)
        suite.add("dynamicquantizelinear", "", graph, outputs, "DynamicQuantizeLinear", "operator")


def dynamic_matmul(graph, draw, x, depth, columns, number):
    """A product with weights in bytes, as quantization while running writes it."""
    weight_kind = ["i8", "u8"][number % 2]
    q, scale, zero = graph.node("DynamicQuantizeLinear", [x], outputs=3)
    shape = (columns,) if number % 3 else ()
    weights = graph.const(draw.numbers(weight_kind, depth, columns))
    weight_zero = np.zeros(shape, np.int8) if weight_kind == "i8" else draw.zero(weight_kind, *shape)
    product = graph.node("MatMulInteger", [q, weights, zero, graph.const(weight_zero)])
    weight_scale = graph.const(draw.scales(int(np.prod(shape)), low=0.001, high=0.02).reshape(shape))
    scales = graph.node("Mul", [scale, weight_scale])
    result = graph.node("Mul", [graph.node("Cast", [product], to=1), scales])
    return graph.node("Add", [result, graph.const(draw.floats(columns))]) if draw.chance(0.6) else result


def dynamic_products(suite, draw):
    for number in range(80):
        rows, depth, columns = sizes(draw)
        graph = Graph(13)
        shape = [2, rows, depth] if number % 4 == 3 else [rows, depth]
        result = dynamic_matmul(graph, draw, graph.input(draw.floats(*shape)), depth, columns, number)
        if number % 5 == 4:
            result = graph.node("Relu", [result])
        suite.add("dynamic_matmul", ["i8", "u8"][number % 2], graph, result, "MatMulInteger", "dynamic")


def dynamic_convolutions(suite, draw):
    for number in range(60):
        shape = geometry(draw, *form(number))
        graph = Graph(13)
        q, scale, zero = graph.node("DynamicQuantizeLinear", [graph.input(draw.floats(*shape.image))], outputs=3)
        kind = ["u8", "i8"][number % 2]
        weights = graph.const(draw.numbers(kind, *shape.weights))
        weight_zero = graph.const(draw.zero(kind) if kind == "u8" else np.int8(0))
        product = graph.node("ConvInteger", [q, weights, zero, weight_zero], **shape.attributes)
        scales = graph.node("Mul", [scale, graph.const(draw.scale())])
        result = graph.node("Mul", [graph.node("Cast", [product], to=1), scales])
        if draw.chance(0.5):
            bias = draw.floats(*([1, shape.weights[0]] + [1] * (len(shape.weights) - 2)))
            result = graph.node("Add", [result, graph.const(bias)])
        suite.add("dynamic_conv", f"{kind}_{shape.name}", graph, result, "ConvInteger", "dynamic")


FAMILIES = [convert, weight_only, dynamic_quantize, dynamic_products, dynamic_convolutions]
