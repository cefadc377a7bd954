"""Two or three layers in a row."""

import numpy as np

from .build import Graph
from .conversions import dynamic_matmul
from .layers import entry, leave
from .products import output_parameters


def between(draw, graph, x, kind):
    """Quantizes a value and back."""
    scale, zero = output_parameters(draw, graph, x, kind)
    return graph.dequantize(graph.quantize(x, scale, zero), scale, zero), (scale, zero)


def weights(draw, graph, *shape, axis=0, kind="i8"):
    per_channel = draw.chance(0.6)
    count = (shape[axis],) if per_channel else ()
    scales = draw.scales(int(np.prod(count)), low=0.01, high=0.04).reshape(count)
    return graph.dequantize(graph.const(draw.numbers(kind, *shape)), scales, np.zeros(count, np.int8), axis=axis)


def conv(draw, graph, x, inputs, outputs, size, group=1, stride=1):
    w = weights(draw, graph, outputs, inputs // group, size, size)
    graph.depth(inputs // group * size * size)
    operands = [x, w] + ([graph.const(draw.floats(outputs))] if draw.chance(0.6) else [])
    return graph.node("Conv", operands, pads=[size // 2] * 4, strides=[stride] * 2, group=group)


def residual(suite, draw):
    """Convolution, `Relu`, convolution with the image added to it, and a pool."""
    for number in range(45):
        kind, graph = ["u8", "i8"][number % 2], Graph([13, 17, 21][number % 3])
        channels = draw.of([2, 3, 4, 8])
        x, *_ = entry(draw, graph, kind, [draw.of([1, 2]), channels, draw.int(3, 7), draw.int(3, 7)])
        inner = draw.of([2, 4, 5, 8])
        y = graph.node("Relu", [conv(draw, graph, x, channels, inner, draw.of([1, 3]))])
        y, _ = between(draw, graph, y, kind)
        y, _ = between(draw, graph, conv(draw, graph, y, inner, channels, draw.of([1, 3])), kind)
        y = graph.node("Add", [y, x] if number % 4 else [x, y])
        if draw.chance(0.5):
            y = graph.node("Relu", [y])
        y, own = between(draw, graph, y, kind)
        pool = draw.of(["MaxPool", "AveragePool", "GlobalAveragePool"])
        attributes = {} if pool == "GlobalAveragePool" else {"kernel_shape": [2, 2], "strides": [2, 2]}
        y = graph.node(pool, [y], **attributes)
        given = {"same": own} if pool == "MaxPool" else {}
        leave(suite, draw, "chain_residual", pool.lower(), graph, y, "<model>", kind, number=number, **given)


def separable(suite, draw):
    """A convolution of one pixel, one of each channel, and another of one pixel."""
    for number in range(40):
        kind, graph = ["u8", "i8"][number % 2], Graph([13, 17, 21][number % 3])
        channels, inner, outputs = draw.of([1, 3, 4, 8]), draw.of([4, 8, 15, 16]), draw.of([3, 4, 8, 17])
        x, *_ = entry(draw, graph, kind, [1, channels, draw.int(3, 6), draw.int(3, 6)])
        bounds = lambda y: graph.node("Clip", [y, graph.const(np.float32(0)), graph.const(np.float32(6))])
        y, _ = between(draw, graph, bounds(conv(draw, graph, x, channels, inner, 1)), kind)
        y = conv(draw, graph, y, inner, inner, 3, group=inner, stride=draw.of([1, 2]))
        y, _ = between(draw, graph, bounds(y), kind)
        y = conv(draw, graph, y, inner, outputs, 1)
        leave(suite, draw, "chain_separable", "", graph, y, "<model>", kind, number=number)


def perceptron(suite, draw):
    """Two products with `Relu`, `Gelu` or normalization between them."""
    for number in range(45):
        kind, graph = ["u8", "i8"][number % 2], Graph(21)
        depth, inner, outputs = draw.of([3, 8, 16, 17]), draw.of([5, 8, 16, 33]), draw.of([1, 4, 10, 17])
        graph.depth(depth + inner)
        shape = draw.of([[draw.int(1, 7), depth], [2, draw.int(1, 4), depth]])
        x, *_ = entry(draw, graph, kind, shape)
        y = graph.node("MatMul", [x, weights(draw, graph, depth, inner, axis=1)])
        y = graph.node("Add", [y, graph.const(draw.floats(inner))])
        middle = draw.of(["Relu", "Gelu", "LayerNormalization", "Tanh"])
        if middle == "LayerNormalization":
            y = graph.node(middle, [y, graph.const(draw.floats(inner)), graph.const(draw.floats(inner))])
        else:
            y = graph.node(middle, [y])
        y, _ = between(draw, graph, y, kind)
        y = graph.node("MatMul", [y, weights(draw, graph, inner, outputs, axis=1)])
        leave(suite, draw, "chain_perceptron", middle.lower(), graph, y, "<model>", kind, number=number)


def attention(suite, draw):
    """Products of two values that are both computed, with `Softmax` between them."""
    for number in range(24):
        kind, graph = ["u8", "i8"][number % 2], Graph(21)
        batch, rows, size, keys = draw.of([[], [2], [2, 3]]), draw.int(1, 6), draw.of([4, 5, 8, 16]), draw.int(2, 7)
        graph.depth(size + keys)
        q, *_ = entry(draw, graph, kind, [*batch, rows, size])
        k, *_ = entry(draw, graph, kind, [*batch, keys, size])
        v, *_ = entry(draw, graph, kind, [*batch, keys, size])
        perm = [*range(len(batch)), len(batch) + 1, len(batch)]
        scores = graph.node("MatMul", [q, graph.node("Transpose", [k], perm=perm)])
        scores = graph.node("Mul", [scores, graph.const(np.float32(1 / np.sqrt(size)))])
        scores, _ = between(draw, graph, scores, kind)
        shares = graph.node("Softmax", [scores], axis=-1)
        scale, zero = np.float32(1 / 256), np.array(0 if kind == "u8" else -128, np.uint8 if kind == "u8" else np.int8)
        shares = graph.dequantize(graph.quantize(shares, scale, zero), scale, zero)
        leave(suite, draw, "chain_attention", "", graph, graph.node("MatMul", [shares, v]), "<model>", kind, number=number)


def integers(suite, draw):
    """`QLinearConv`, `MaxPool` of bytes, `QLinearConv` and `QLinearMatMul`."""
    for number in range(40):
        kind, graph = ["u8", "i8"][number % 2], Graph(13)
        channels, inner, outputs = draw.of([1, 3, 4]), draw.of([4, 8, 16]), draw.of([2, 5, 8])

        def qlinear(x, scale, zero, inputs, results, size):
            w, w_scale, w_zero = draw.numbers("i8", results, inputs, size, size), draw.scales(results), np.zeros(results, np.int8)
            image = graph.dequantize(x, scale, zero)
            y = graph.node("Conv", [image, graph.dequantize(graph.const(w), w_scale, w_zero, axis=0)], pads=[size // 2] * 4)
            parameters = output_parameters(draw, graph, y, kind)
            # The nodes in floats were for the scale only.
            del graph.nodes[-3:]
            operands = [x, *map(graph.const, (scale, zero, w, w_scale, w_zero, *parameters))]
            return graph.node("QLinearConv", operands, pads=[size // 2] * 4), *parameters

        scale, zero = draw.scale(), draw.zero(kind)
        x = graph.input(draw.numbers(kind, 1, channels, draw.int(4, 7), draw.int(4, 7)))
        x, scale, zero = qlinear(x, scale, zero, channels, inner, draw.of([1, 3]))
        if draw.chance(0.5):
            x = graph.node("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])
        x, scale, zero = qlinear(x, scale, zero, inner, outputs, draw.of([1, 3]))
        if draw.chance(0.5):
            x = graph.node("Relu", [graph.dequantize(x, scale, zero)])
            x = graph.quantize(x, scale, zero)
        suite.add("chain_qlinear", kind, graph, x, "<model>", "chain")


def dynamic(suite, draw):
    """Two products, with quantization while running before each."""
    for number in range(30):
        graph, depth = Graph(17), draw.of([3, 8, 17])
        x, inner, outputs = graph.input(draw.floats(draw.int(1, 6), depth)), draw.of([4, 8, 33]), draw.of([1, 5, 16])
        y = graph.node(draw.of(["Relu", "Tanh"]), [dynamic_matmul(graph, draw, x, depth, inner, number)])
        y = dynamic_matmul(graph, draw, y, inner, outputs, number + draw.int(0, 1))
        suite.add("chain_dynamic", "", graph, y, "<model>", "chain")


FAMILIES = [residual, separable, perceptron, attention, integers, dynamic]
