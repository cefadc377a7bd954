"""Less usual forms: open sizes, parameters that are inputs, vectors, constants on the left, sums that are as large as can be."""

import numpy as np

from .build import Graph
from .convolutions import form, geometry, qlinear_conv
from .layers import entry
from .products import float_product, output_parameters, sizes


def open_products(suite, draw):
    """Products whose batch, or number of rows, is open."""
    for number in range(48):
        operator = ["MatMulInteger", "QLinearMatMul", "MatMul", "DynamicQuantizeLinear"][number % 4]
        kind, right_kind = ["u8", "i8"][number % 2], draw.of(["i8", "i8", "u8"] if number % 2 == 0 else ["i8"])
        rows, depth, columns = sizes(draw, 700)
        batch = draw.of([None, 2, 3])
        if number % 10 == 9:
            # There may be none.
            rows = 0
        shape, names = ([rows, depth], {"d0": "rows"}) if batch is None else ([batch, rows, depth], {"d0": "batch", "d1": "rows"})
        graph = Graph()
        if operator == "DynamicQuantizeLinear":
            x, scale, zero = graph.node(operator, [graph.input(draw.floats(*shape), **names)], outputs=3)
            right = graph.const(draw.numbers("i8", depth, columns))
            product = graph.node("MatMulInteger", [x, right, zero, graph.const(np.int8(0))])
            scale = graph.node("Mul", [scale, graph.const(draw.scale())])
            result = graph.node("Mul", [graph.node("Cast", [product], to=1), scale])
            suite.add("open_dynamic", "", graph, result, "MatMulInteger", "dynamic")
            continue
        left, right = draw.numbers(kind, *shape), draw.numbers(right_kind, depth, columns)
        left_scale, right_scale, left_zero = draw.scale(), draw.scales(columns), draw.zero(kind)
        right_zero = draw.zero(right_kind, columns)
        x = graph.input(left, **names)
        if operator == "MatMulInteger":
            result = graph.node(operator, [x, *map(graph.const, (right, left_zero, right_zero))])
            suite.add("open_matmulinteger", kind + right_kind, graph, result, operator, "operator", steps=0)
            continue
        reference, product = float_product(left, right, left_zero, right_zero, left_scale)
        product = reference.node("Mul", [product, reference.const(right_scale)])
        scale, zero = output_parameters(draw, reference, product, kind)
        if operator == "QLinearMatMul":
            constants = left_scale, left_zero, right, right_scale, right_zero, scale, zero
            result = graph.node(operator, [x, *map(graph.const, constants)])
        else:
            y = graph.dequantize(graph.const(right), right_scale, right_zero, axis=1)
            result = graph.quantize(graph.node(operator, [graph.dequantize(x, left_scale, left_zero), y]), scale, zero)
        form_ = "qdq" if operator == "MatMul" else "operator"
        suite.add(f"open_{operator.lower()}", kind + right_kind, graph, result, operator, form_)


def open_convolutions(suite, draw):
    """Convolutions of any number of images of any size."""
    for number in range(36):
        operator = ["QLinearConv", "ConvInteger", "Conv"][number % 3]
        kind = "i8" if number % 4 == 3 and operator != "ConvInteger" else "u8"
        shape = geometry(draw, *form(number))
        if max(shape.image[2:]) > 16 or min(shape.image[2:]) < 2:
            # Open sizes are at most 16.
            shape.image[2:] = [min(max(size, 8), 16) for size in shape.image[2:]]
        names = {"d0": "batch", **({f"d{axis}": f"size{axis}" for axis in range(2, len(shape.image))} if number % 2 else {})}
        graph = Graph()
        x, w = graph.input(draw.numbers(kind, *shape.image), **names), graph.const(draw.numbers("i8", *shape.weights))
        x_scale, x_zero, outputs = draw.scale(), draw.zero(kind), shape.weights[0]
        w_scale, w_zero = draw.scales(outputs), np.zeros(outputs, np.int8)
        if operator == "ConvInteger":
            result = graph.node(operator, [x, w, graph.const(x_zero), graph.const(np.int8(0))], **shape.attributes)
            suite.add("open_convinteger", shape.name, graph, result, operator, "operator", steps=0)
            continue
        operands = [graph.dequantize(x, x_scale, x_zero), graph.dequantize(w, w_scale, w_zero, axis=0)]
        floats = graph.node("Conv", operands, **shape.attributes)
        scale, zero = output_parameters(draw, graph, floats, kind)
        if operator == "QLinearConv":
            graph.nodes.clear()
            operands = [x, graph.const(x_scale), graph.const(x_zero), w, *map(graph.const, (w_scale, w_zero, scale, zero))]
            result = graph.node(operator, operands, **shape.attributes)
        else:
            result = graph.quantize(floats, scale, zero)
        form_ = "qdq" if operator == "Conv" else "operator"
        suite.add(f"open_{operator.lower()}", f"{kind}_{shape.name}", graph, result, operator, form_)


def given_parameters(suite, draw):
    """Scales and zero points that are inputs."""
    for number in range(40):
        operator = ["QLinearMatMul", "MatMulInteger", "QuantizeLinear", "DequantizeLinear", "MatMul"][number % 5]
        kind, graph = ["u8", "i8"][number % 2], Graph()
        rows, depth, columns = sizes(draw, 500)
        left, right = draw.numbers(kind, rows, depth), draw.numbers("i8", depth, columns)
        scale, zero = graph.input(draw.scale()), graph.input(draw.zero(kind))
        if operator in ("QuantizeLinear", "DequantizeLinear"):
            x = draw.floats(rows, depth, scale=4) if operator == "QuantizeLinear" else left
            if number % 4 < 2:
                scale, zero = graph.input(draw.scales(depth)), graph.input(draw.zero(kind, depth))
            result = graph.node(operator, [graph.input(x), scale, zero], axis=1)
            suite.add(f"given_{operator.lower()}", kind, graph, result, operator, "operator")
            continue
        right, x = graph.const(right) if draw.chance(0.6) else graph.input(right), graph.input(left)
        right_scale, right_zero = graph.input(draw.scales(columns)), graph.input(draw.zero("i8", columns))
        if operator == "MatMulInteger":
            result = graph.node(operator, [x, right, zero, right_zero])
            suite.add("given_matmulinteger", kind, graph, result, operator, "operator", steps=0)
            continue
        a = graph.node("DequantizeLinear", [x, scale, zero])
        floats = graph.node("MatMul", [a, graph.node("DequantizeLinear", [right, right_scale, right_zero], axis=1)])
        own = [graph.input(value) for value in output_parameters(draw, graph, floats, kind)]
        if operator == "QLinearMatMul":
            graph.nodes.clear()
            # ONNX Runtime wants zero points of weights in the model.
            right_zero = graph.const(np.zeros(columns, np.int8))
            result = graph.node(operator, [x, scale, zero, right, right_scale, right_zero, *own])
        else:
            result = graph.node("QuantizeLinear", [floats, *own])
        suite.add(f"given_{operator.lower()}", kind, graph, result, operator, "qdq" if operator == "MatMul" else "operator")


def left_constants(suite, draw):
    """Weights on the left, vectors, and factors that are transposed."""
    for number in range(40):
        kind = ["u8", "i8"][number % 2]
        what = ["constant", "vector", "transposed", "twice"][number // 2 % 4]
        rows, depth, columns = sizes(draw, 500)
        graph = Graph()
        graph.depth(depth)
        weights = graph.const(draw.numbers("i8", rows, depth))
        weights = graph.dequantize(weights, draw.scales(rows), np.zeros(rows, np.int8), axis=0)
        x, *_ = entry(draw, graph, kind, [depth, columns])
        if what == "constant":
            result = graph.node("MatMul", [weights, x])
        elif what == "vector":
            x, *_ = entry(draw, graph, kind, [depth])
            result = graph.node("MatMul", draw.of([[weights, x], [x, graph.node("Transpose", [weights], perm=[1, 0])]]))
        elif what == "transposed":
            x, *_ = entry(draw, graph, kind, [columns, depth])
            result = graph.node("MatMul", [x, graph.node("Transpose", [weights], perm=[1, 0])])
        else:
            # The same number is multiplied by weights in two ways.
            x, *_ = entry(draw, graph, kind, [columns, depth])
            other = graph.dequantize(graph.const(draw.numbers("i8", depth, rows)), draw.scale(), np.int8(0))
            both = [graph.node("MatMul", [x, w]) for w in (other, graph.node("Transpose", [weights], perm=[1, 0]))]
            result = graph.node("Add", both)
        scale, zero = output_parameters(draw, graph, result, kind)
        suite.add(f"left_{what}", kind, graph, graph.quantize(result, scale, zero), "MatMul", "qdq")


def volumes(suite, draw):
    shapes = [geometry(draw, ["dense", "depthwise", "groups"][number % 3], 3) for number in range(18)]
    qlinear_conv(suite, draw, "qlinearconv_3d", shapes)


def special_numbers(suite, draw):
    """Infinities, which saturate; nothing but zeros, whose range is empty; halves; and results whose type is an attribute."""
    for number in range(8):
        kind, graph = ["u8", "i8", "u16", "i16"][number % 4], Graph()
        x = draw.floats(3, 5, scale=9)
        x[0, 0], x[1, 1], x[2, 2] = np.inf, -np.inf, np.float32(3e38)
        result = graph.quantize(graph.input(x), draw.scale(), draw.zero(kind))
        suite.add("infinity", kind, graph, result, "QuantizeLinear", "operator")
    for number in range(8):
        kind, graph = ["i8", "u8", "i16", "u16"][number % 4], Graph()
        target = {"i8": 3, "u8": 2, "i16": 5, "u16": 4}[kind]
        operands = [graph.input(draw.floats(4, 7, scale=9)), graph.const(draw.scale())]
        result = graph.node("QuantizeLinear", operands, output_dtype=target)
        suite.add("outputdtype", kind, graph, result, "QuantizeLinear", "operator")
    for number in range(16):
        kind, graph = ["u8", "i8"][number % 2], Graph()
        scale, zero = np.float16(draw.scale(0.01, 0.2)), draw.zero(kind)
        if number % 4 < 2:
            result = graph.quantize(graph.input(draw.floats(4, 7, scale=9).astype(np.float16)), scale, zero)
            suite.add("half_quantizelinear", kind, graph, result, "QuantizeLinear", "operator")
        else:
            result = graph.dequantize(graph.input(draw.numbers(kind, 4, 7)), scale, zero)
            suite.add("half_dequantizelinear", kind, graph, result, "DequantizeLinear", "operator")
    for number in range(6):
        graph = Graph(13)
        x, scale, zero = graph.node("DynamicQuantizeLinear", [graph.input(np.zeros((2, 5), np.float32))], outputs=3)
        if number < 2:
            suite.add("zeros_dynamicquantizelinear", "", graph, [x, scale, zero], "DynamicQuantizeLinear", "operator")
            continue
        product = graph.node("MatMulInteger", [x, graph.const(draw.numbers("i8", 5, 3)), zero])
        result = graph.node("Mul", [graph.node("Cast", [product], to=1), graph.node("Mul", [scale, graph.const(draw.scale())])])
        suite.add("zeros_dynamic", "", graph, result, "MatMulInteger", "dynamic")


def largest_sums(suite, draw):
    """Sums just within 32 bits."""
    for number in range(12):
        kind, right_kind = [("u8", "u8"), ("u8", "i8"), ("i8", "i8")][number % 3]
        product = {"u8": 255, "i8": 128}[kind] * {"u8": 255, "i8": 128}[right_kind]
        depth = (2**31 - 1) // product - draw.int(0, 40)
        left = np.full((2, depth), 255 if kind == "u8" else -128, np.uint8 if kind == "u8" else np.int8)
        right = np.full((depth, 3), 255 if right_kind == "u8" else -128, np.uint8 if right_kind == "u8" else np.int8)
        right[:, 1] = 1
        graph = Graph()
        operator = ["MatMulInteger", "QLinearMatMul"][number // 3 % 2]
        x, y = graph.input(left), graph.const(right)
        if operator == "MatMulInteger":
            zeros = [graph.const(np.zeros((), left.dtype)), graph.const(np.zeros((), right.dtype))] if number >= 6 else []
            result = graph.node(operator, [x, y, *zeros])
        else:
            scale, zero = graph.const(np.float32(1)), graph.const(np.zeros((), left.dtype))
            own = graph.const(np.float32(2.0**24))
            result = graph.node(operator, [x, scale, zero, y, scale, graph.const(np.zeros((), right.dtype)), own, zero])
        suite.add("sums", f"{kind}{right_kind}", graph, result, operator, "operator", steps=int(operator != "MatMulInteger"))


FAMILIES = [open_products, open_convolutions, given_parameters, left_constants, volumes, special_numbers, largest_sums]
