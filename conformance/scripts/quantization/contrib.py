"""Quantized operators of ONNX Runtime, apart from products."""

import numpy as np

from .build import MICROSOFT, Graph
from .layers import shape_of
from .products import output_parameters


def quantized(draw, graph, kind, shape):
    """A quantized tensor, its scale and its zero point, and the float that it stands for."""
    parameters = draw.scale(0.01, 0.1), draw.zero(kind)
    x = graph.input(draw.numbers(kind, *shape))
    return x, parameters


def finish(suite, draw, family, operator, graph, operands, reference, kind, **attributes):
    """Adds a case whose result has the range of what `reference` gives in floats, which is not part of the case."""
    count = len(graph.nodes)
    scale, zero = output_parameters(draw, graph, reference(), kind)
    del graph.nodes[count:]
    operands = [*operands, graph.const(scale), graph.const(zero)]
    result = graph.node(operator, operands, domain=MICROSOFT, **attributes)
    suite.add(family, kind, graph, result, operator, "operator", domain=MICROSOFT)


def binary(suite, draw):
    for operator in ("Add", "Mul"):
        for number in range(44):
            kind, graph = ["u8", "i8"][number % 2], Graph()
            shape = shape_of(draw)
            other = list(shape)
            if number % 3 == 1:
                other[draw.int(0, len(shape) - 1)] = 1
            elif number % 3 == 2:
                other = draw.of([[], [1], shape[-1:]])
            a, b = quantized(draw, graph, kind, shape), quantized(draw, graph, kind, other)
            a, b = (a, b) if draw.chance(0.7) else (b, a)
            operands = [part for x, parameters in (a, b) for part in (x, *map(graph.const, parameters))]
            floats = lambda: graph.node(operator, [graph.dequantize(x, *parameters) for x, parameters in (a, b)])
            finish(suite, draw, f"qlinear{operator.lower()}", f"QLinear{operator}", graph, operands, floats, kind)


def concat(suite, draw):
    for number in range(24):
        kind, graph = ["u8", "i8"][number % 2], Graph()
        shape, operands = shape_of(draw), []
        axis = draw.int(-len(shape), len(shape) - 1)
        for _ in range(draw.int(1, 4)):
            shape[axis] = draw.int(1, 5)
            x, parameters = quantized(draw, graph, kind, shape)
            operands += [x, *map(graph.const, parameters)]
        own = [graph.const(draw.scale(0.01, 0.1)), graph.const(draw.zero(kind))]
        result = graph.node("QLinearConcat", own + operands, domain=MICROSOFT, axis=axis)
        suite.add("qlinearconcat", kind, graph, result, "QLinearConcat", "operator", domain=MICROSOFT)


def pools(suite, draw):
    for number in range(56):
        kind, graph = ["u8", "i8"][number % 2], Graph()
        operator = ["AveragePool", "GlobalAveragePool"][number // 2 % 2]
        last = draw.int(0, 1) if number >= 28 else 0
        size = [draw.int(4, 7) for _ in range(2 if last else draw.of([1, 2]))]
        channels = draw.of([1, 3, 8, 17])
        image = [draw.of([1, 2]), *([*size, channels] if last else [channels, *size])]
        attributes = {}
        if operator == "AveragePool":
            kernel = [draw.int(1, 4) for _ in size]
            attributes = {
                "kernel_shape": kernel, "strides": [draw.int(1, 2) for _ in kernel],
                "pads": [draw.int(0, size - 1) for size in kernel * 2], "count_include_pad": draw.int(0, 1),
            }
        x, parameters = quantized(draw, graph, kind, image)

        def floats():
            perm = [0, len(image) - 1, *range(1, len(image) - 1)] if last else [*range(len(image))]
            y = graph.node("Transpose", [graph.dequantize(x, *parameters)], perm=perm)
            return graph.node(operator, [y], **attributes)

        given = {"channels_last": 1} if last else {}
        given |= attributes
        operands = [x, *map(graph.const, parameters)]
        finish(suite, draw, f"qlinear{operator.lower()}", f"QLinear{operator}", graph, operands, floats, kind, **given)


def functions(suite, draw):
    for operator in ("LeakyRelu", "Sigmoid", "Softmax"):
        for number in range(22):
            kind, graph = ["u8", "i8"][number % 2], Graph()
            shape = shape_of(draw, least=2)
            x, parameters = quantized(draw, graph, kind, shape)
            alpha, axis = draw.of([0.01, 0.1, 0.5]), draw.of([-1, -1, 0])
            attributes = {"LeakyRelu": {"alpha": alpha}, "Softmax": {"axis": axis}}.get(operator, {})
            given = attributes | ({"opset": 13} if operator == "Softmax" else {})
            operands = [x, *map(graph.const, parameters)]
            if operator == "Softmax":
                # The scale of shares is fixed.
                zero = np.uint8(0) if kind == "u8" else np.int8(-128)
                operands += [graph.const(np.float32(1 / 256)), graph.const(zero)]
                result = graph.node("QLinearSoftmax", operands, domain=MICROSOFT, **given)
                suite.add("qlinearsoftmax", kind, graph, result, "QLinearSoftmax", "operator", domain=MICROSOFT)
                continue
            floats = lambda: graph.node(operator, [graph.dequantize(x, *parameters)], **attributes)
            finish(suite, draw, f"qlinear{operator.lower()}", f"QLinear{operator}", graph, operands, floats, kind, **given)


def lstm(suite, draw):
    for number in range(20):
        direction = ["forward", "reverse", "bidirectional"][number % 3]
        directions = 2 if direction == "bidirectional" else 1
        steps, batch, width, hidden = draw.int(1, 4), draw.int(1, 3), draw.of([2, 3, 8]), draw.of([3, 4, 8])
        kind = ["i8", "u8"][number // 3 % 2]
        per_column = number % 2 == 1
        shape = (directions, 4 * hidden) if per_column else (directions,)
        graph = Graph()
        parameters = lambda: [
            graph.const(draw.scales(int(np.prod(shape)), low=0.002, high=0.02).reshape(shape)),
            graph.const(np.full(shape, draw.zero(kind) if kind == "u8" else np.int8(0))),
        ]
        states = [graph.input(draw.floats(directions, batch, hidden)) if draw.chance(0.5) else None for _ in range(2)]
        operands = [
            graph.input(draw.floats(steps, batch, width)), graph.const(draw.numbers(kind, directions, width, 4 * hidden)),
            graph.const(draw.numbers(kind, directions, hidden, 4 * hidden)),
            graph.const(draw.floats(directions, 8 * hidden)) if draw.chance(0.7) else None, None, *states,
            graph.const(draw.floats(directions, 3 * hidden)) if draw.chance(0.3) else None, *parameters(), *parameters(),
        ]
        graph.depth(4 * steps * (width + hidden))
        name, given = "DynamicQuantizeLSTM", {"direction": direction, "hidden_size": hidden}
        outputs = graph.node(name, operands, outputs=3, domain=MICROSOFT, **given)
        suite.add(name.lower(), f"{kind}_{direction}", graph, outputs, name, "operator", domain=MICROSOFT)


def attention(suite, draw):
    for number in range(24):
        kind, weight_kind = "u8", ["i8", "u8"][number % 2]
        batch, rows, width, heads, size = draw.int(1, 2), draw.int(1, 5), draw.of([4, 8, 16]), draw.of([1, 2, 3]), draw.of([4, 8])
        hidden = heads * size
        per_column = number % 3 == 2
        shape = (3 * hidden,) if per_column else ()
        graph = Graph()
        graph.depth(width + size + rows)
        mask = draw.of(["none", "lengths", "mask"])
        operands = [
            graph.input(draw.numbers(kind, batch, rows, width)), graph.const(draw.numbers(weight_kind, width, 3 * hidden)),
            graph.const(draw.floats(3 * hidden)), graph.const(draw.scale(0.005, 0.05)),
            graph.const(draw.scales(int(np.prod(shape)), low=0.001, high=0.01).reshape(shape)),
            {
                "none": lambda: None,
                "lengths": lambda: graph.input(draw.rng.integers(1, rows + 1, batch).astype(np.int32)),
                # The first place is never masked: there must be one.
                "mask": lambda: graph.input((draw.numbers("u8", batch, rows) % 2 | (np.arange(rows) == 0)).astype(np.int32)),
            }[mask](),
            graph.const(draw.zero(kind)),
            graph.const(np.zeros(shape, np.int8) if weight_kind == "i8" else draw.zero("u8", *shape)),
        ]
        attributes = {"num_heads": heads, "unidirectional": draw.int(0, 1)}
        outputs = graph.node("QAttention", operands, domain=MICROSOFT, **attributes)
        suite.add("qattention", f"{weight_kind}_{mask}", graph, outputs, "QAttention", "operator", domain=MICROSOFT)


FAMILIES = [binary, concat, pools, functions, lstm, attention]
