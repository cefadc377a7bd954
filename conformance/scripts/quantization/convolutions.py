"""Quantized convolutions."""

from dataclasses import dataclass, field

import numpy as np

from .build import Graph
from .products import output_parameters

CHANNELS = [1, 2, 3, 4, 5, 8, 15, 16, 17, 33]
KERNELS = {
    1: [[1], [3], [5], [7]],
    2: [[1, 1], [3, 3], [5, 5], [7, 7], [1, 3], [3, 1], [5, 3], [3, 5], [1, 7], [2, 2], [3, 3], [1, 1]],
    3: [[1, 1, 1], [3, 3, 3], [1, 3, 3], [2, 2, 2], [3, 1, 1]],
}


@dataclass
class Geometry:
    """The shapes of a convolution, and its attributes."""

    image: list
    weights: list
    group: int
    attributes: dict = field(default_factory=dict)

    @property
    def depth(self):
        return int(np.prod(self.weights[1:]))

    @property
    def name(self):
        kernel = "x".join(map(str, self.weights[2:]))
        kind = {1: ""}.get(self.group, "_depthwise" if self.weights[1] == 1 else f"_groups{self.group}")
        return f"{self.image[1]}to{self.weights[0]}_{kernel}{kind}"


def channels(draw, form):
    """Channels of the image, of the result and of each group."""
    if form == "dense":
        inputs = draw.of(CHANNELS)
        return inputs, draw.of(CHANNELS), 1
    if form == "depthwise":
        inputs = draw.of(CHANNELS[1:])
        return inputs, inputs * draw.of([1, 1, 1, 2, 3]), inputs
    group = draw.of([2, 3, 4])
    return group * draw.of([2, 3, 4, 5]), group * draw.of([1, 2, 3, 4, 5, 8]), group


def geometry(draw, form, rank):
    """A convolution of a form that is not large."""
    while True:
        inputs, outputs, group = channels(draw, form)
        kernel = draw.of(KERNELS[rank])
        strides = [draw.of([1, 1, 1, 2, 3]) for _ in kernel]
        dilations = [draw.of([1, 1, 1, 2, 3]) if size > 1 else 1 for size in kernel]
        spans = [dilation * (size - 1) + 1 for size, dilation in zip(kernel, dilations)]
        attributes = {}
        if draw.chance(0.7):
            attributes["strides"] = strides
        else:
            strides = [1] * rank
        if draw.chance(0.4):
            attributes["dilations"] = dilations
        else:
            spans = list(kernel)
        padding = draw.of(["none", "same", "any", "any", "SAME_UPPER", "SAME_LOWER", "VALID"])
        pads = [0] * (2 * rank)
        if padding.startswith("SAME") and "dilations" in attributes:
            # ONNX Runtime has no such convolution.
            continue
        if padding == "same":
            pads = [span // 2 for span in spans] * 2
        elif padding == "any":
            pads = [draw.int(0, span - 1) for span in spans * 2]
        elif padding != "none":
            attributes["auto_pad"] = padding
        if padding in ("same", "any"):
            attributes["pads"] = pads
        results = [draw.int(1, 7) for _ in kernel]
        if padding.startswith("SAME"):
            spans = [1] * rank
        sizes = [
            max(1, (result - 1) * stride + draw.int(0, stride - 1) + span - sum(pads[axis::rank]))
            for axis, (result, stride, span) in enumerate(zip(results, strides, spans))
        ]
        image = [draw.of([1, 1, 1, 2]), inputs, *sizes]
        weights = [outputs, inputs // group, *kernel]
        if np.prod(image) <= 1300 and np.prod(weights) <= 1800 and outputs * np.prod(results) <= 900:
            if draw.chance(0.5):
                attributes["kernel_shape"] = kernel
            return Geometry(image, weights, group, attributes | ({"group": group} if group > 1 else {}))


def column(values, rank):
    """Parameters of output channels, along the first of so many axes."""
    return np.asarray(values).reshape([-1] + [1] * (rank - 1)) if np.size(values) > 1 else values


def form(number):
    """The form and the rank of a case: every form with every rank."""
    return ["dense", "depthwise", "groups", "dense", "depthwise"][number % 5], 1 if number % 4 == 3 else 2


def float_result(shape, image, weights, image_zero, weight_zero, scales, bias=None):
    """A graph with the convolution in floats, from which the range of a quantized one follows."""
    graph = Graph()
    rank = len(shape.weights)
    weights = weights.astype(np.float32) - column(weight_zero.astype(np.float32), rank)
    operands = [graph.const(image.astype(np.float32) - np.float32(image_zero)), graph.const(weights)]
    if bias is not None:
        operands.append(graph.const(bias.astype(np.float32)))
    result = graph.node("Conv", operands, **shape.attributes)
    return graph, graph.node("Mul", [result, graph.const(column(scales, rank - 1))])


def qlinear_conv(suite, draw, family="qlinearconv", shapes=None):
    pairs = [("u8", "i8"), ("u8", "u8"), ("i8", "i8")]
    shapes = shapes or [geometry(draw, *form(number)) for number in range(460)]
    for number, shape in enumerate(shapes):
        kind, weight_kind = pairs[number % 3]
        image, weights = draw.numbers(kind, *shape.image), draw.numbers(weight_kind, *shape.weights)
        if number % 29 == 0:
            image[...], weights[...] = 255 if kind == "u8" else -128, draw.of([-128, 127]) if weight_kind == "i8" else 255
        per_channel = number % 2 == 1
        count = (shape.weights[0],) if per_channel else ()
        image_scale, image_zero = draw.scale(), draw.zero(kind)
        weight_scale = draw.scales(int(np.prod(count))).reshape(count)
        # ONNX Runtime wants the same zero point for all channels.
        weight_zero = np.full(count, draw.zero(weight_kind)) if draw.chance(0.6) else np.zeros(count, weights.dtype)
        bias = draw.numbers("i32", shape.weights[0], low=-20000, high=20000) if draw.chance(0.5) else None
        reference, result = float_result(shape, image, weights, image_zero, weight_zero, image_scale * weight_scale, bias)
        scale, zero = output_parameters(draw, reference, result, kind)
        graph, constant = Graph(), draw.chance(0.9)
        operands = [
            graph.input(image), graph.const(image_scale), graph.const(image_zero),
            graph.const(weights) if constant else graph.input(weights),
            graph.const(weight_scale), graph.const(weight_zero), graph.const(scale), graph.const(zero),
        ]
        operands += [] if bias is None else [graph.const(bias)]
        variant = f"{kind}{weight_kind}_{shape.name}{'_channel' if per_channel else ''}{'' if constant else '_given'}"
        result = graph.node("QLinearConv", operands, **shape.attributes)
        suite.add(family, variant, graph, result, "QLinearConv", "operator")


# What fills blocks of rows, columns and depth, and leaves a rest.
LARGE = [
    Geometry([1, 32, 11, 13], [40, 32, 3, 3], 1, {"pads": [1, 1, 1, 1]}),
    Geometry([1, 67, 9, 9], [130, 67, 1, 1], 1),
    Geometry([1, 130, 7, 7], [35, 130, 1, 1], 1),
    Geometry([1, 3, 33, 31], [24, 3, 3, 3], 1, {"pads": [0, 0, 1, 1], "strides": [2, 2]}),
    Geometry([1, 4, 29, 29], [16, 4, 7, 7], 1, {"pads": [3, 3, 3, 3], "strides": [2, 2]}),
    Geometry([1, 70, 15, 17], [70, 1, 3, 3], 70, {"pads": [1, 1, 1, 1], "group": 70}),
    Geometry([1, 48, 19, 18], [48, 1, 5, 5], 48, {"pads": [2, 2, 2, 2], "strides": [2, 2], "group": 48}),
    Geometry([1, 33, 16, 16], [66, 1, 3, 3], 33, {"pads": [0, 1, 1, 0], "strides": [1, 2], "group": 33}),
    Geometry([1, 64, 8, 9], [64, 16, 3, 3], 4, {"pads": [1, 1, 1, 1], "group": 4}),
    Geometry([1, 40, 200], [24, 40, 9], 1, {"pads": [4, 4]}),
    Geometry([1, 24, 150], [24, 24, 3], 1, {"dilations": [4], "pads": [8, 0]}),
    Geometry([1, 36, 131], [36, 1, 7], 36, {"pads": [3, 3], "strides": [3], "group": 36}),
]


def large_conv(suite, draw):
    # Twice, so that each shape has other types and parameters.
    qlinear_conv(suite, draw, "qlinearconv_large", LARGE + LARGE[::-1])


def conv_integer(suite, draw):
    for number in range(150):
        kind, weight_kind = [("u8", "u8"), ("u8", "i8")][number % 2]
        shape = geometry(draw, *form(number))
        graph, constant = Graph(), draw.chance(0.8)
        weights = draw.numbers(weight_kind, *shape.weights)
        operands = [graph.input(draw.numbers(kind, *shape.image)), graph.const(weights) if constant else graph.input(weights)]
        zeros = draw.of(["none", "image", "both", "both"])
        if zeros != "none":
            operands.append(graph.const(draw.zero(kind)))
        if zeros == "both":
            operands.append(graph.const(draw.zero(weight_kind)))
        variant = f"{kind}{weight_kind}_{shape.name}_{zeros}{'' if constant else '_given'}"
        result = graph.node("ConvInteger", operands, **shape.attributes)
        suite.add("convinteger", variant, graph, result, "ConvInteger", "operator", steps=0)


def qdq_conv(suite, draw):
    """Convolutions between conversions, whose weights may have zero points that differ."""
    for number in range(300):
        kind = ["u8", "i8", "u8", "i8", "u16", "i16"][number % 6]
        weight_kind = draw.of(["i8", "i8", "u8", "i8", "i4", "u4"] if number % 3 else ["i8", "i16"])
        shape = geometry(draw, *form(number))
        per_channel = number % 2 == 1 and shape.weights[0] > 1
        count = (shape.weights[0],) if per_channel else ()
        image, weights = draw.numbers(kind, *shape.image), draw.numbers(weight_kind, *shape.weights)
        graph = Graph(21)
        graph.depth(shape.depth)
        image_scale, weight_scale = draw.scale(), draw.scales(int(np.prod(count))).reshape(count)
        given = draw.chance(0.7)
        image_zero = draw.zero(kind)
        if given:
            x = graph.dequantize(graph.input(image), image_scale, image_zero)
        else:
            low, high = draw.of([(-1, 1), (0, 4), (-3, 1)])
            grid = np.round(draw.rng.uniform(low, high, shape.image) * 64) / 64
            x = graph.input(grid.astype(np.float32))
            scale = np.float32((high - low) / (255 if kind[1:] == "8" else 65535))
            x = graph.dequantize(graph.quantize(x, scale, image_zero), scale, image_zero)
        symmetric = draw.chance(0.5)
        weight_zero = np.zeros(count, weights.dtype) if symmetric else draw.zero(weight_kind, *count)
        operands = [x, graph.dequantize(graph.const(weights), weight_scale, weight_zero, axis=0)]
        bias = draw.of(["none", "float", "quantized"])
        outputs = shape.weights[0]
        if bias == "float":
            operands.append(graph.const(draw.floats(outputs)))
        elif bias == "quantized":
            scales = np.broadcast_to(image_scale * weight_scale, (outputs,)).astype(np.float32)
            numbers = draw.numbers("i32", outputs, low=-9000, high=9000)
            operands.append(graph.dequantize(graph.const(numbers), scales, np.zeros(outputs, np.int32), axis=0))
        result = graph.node("Conv", operands, **shape.attributes)
        activation = draw.of([None, None, "Relu", "Clip"])
        output_kind = draw.of([kind, kind, "u8", "i8"])
        before = result
        if activation == "Relu":
            result = graph.node("Relu", [result])
        elif activation == "Clip":
            result = graph.node("Clip", [result, graph.const(np.float32(0)), graph.const(np.float32(6))])
        scale, zero = output_parameters(draw, graph, before if draw.chance(0.2) else result, output_kind)
        result = graph.quantize(result, scale, zero)
        if number % 5 == 4:
            result = graph.rounded(result, scale, zero)
        variant = f"{kind}{weight_kind}_{shape.name}{'_channel' if per_channel else ''}{'_bias' if bias != 'none' else ''}"
        suite.add("qdq_conv", variant, graph, result, "Conv", "qdq")


FAMILIES = [qlinear_conv, large_conv, conv_integer, qdq_conv]
