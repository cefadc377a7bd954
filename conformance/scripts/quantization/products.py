"""Products of quantized matrices."""

import numpy as np

from .build import LIMITS, MICROSOFT, TYPES, Graph

DEPTHS = [1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 64, 67]
ROWS = [1, 2, 3, 4, 5, 7, 12, 13]
COLUMNS = [1, 2, 3, 4, 8, 9, 15, 16, 17, 31, 33]
# What ONNX Runtime has kernels for.
PAIRS = [("u8", "i8"), ("u8", "u8"), ("i8", "i8"), ("u8", "i8")]


def sizes(draw, limit=1100):
    """Rows, depth and columns of matrices that are not large."""
    while True:
        rows, depth, columns = draw.of(ROWS), draw.of(DEPTHS), draw.of(COLUMNS)
        if max(rows * depth, depth * columns, rows * columns) <= limit:
            return rows, depth, columns


def shapes(draw, batched):
    """The shapes of two factors, of which one or both may have batches, also such that broadcast."""
    rows, depth, columns = sizes(draw, 400 if batched else 1100)
    left, right = [rows, depth], [depth, columns]
    if batched:
        batch = draw.of([([2], []), ([3], [3]), ([2, 3], [3]), ([1], [4]), ([2, 1], [2]), ([2, 2], [2, 2])])
        left, right = batch[0] + left, batch[1] + right
    return left, right


def operand(draw, graph, value, constant):
    return graph.const(value) if constant else graph.input(value)


def output_parameters(draw, graph, product, kind):
    """A scale and zero point for a product in floats: for its range with 0, as a quantizer chooses them; for a part of it, so
    that some results are out of range; or with a zero point at a limit, so that one sign is."""
    value, = graph.run([product])
    least, most = min(float(np.min(value, initial=0)), 0), max(float(np.max(value, initial=0)), 0)
    share, (first, last) = draw.of([1.0, 1.0, 0.9, 0.6, 1.3]), LIMITS[kind]
    most += 1e-3 * (most == least)
    if draw.chance(0.75):
        scale = np.float32((most - least) * share / (last - first))
        zero = np.clip(np.round(first - least * share / scale), first, last)
    else:
        positive = (most > -least) == draw.chance(0.9)
        scale = np.float32(max(most if positive else -least, (most - least) / 20) * share / (last - first))
        zero = first if positive else last
    return scale, np.array(int(zero)).astype(TYPES[kind])


def float_product(left, right, left_zero, right_zero, scale):
    """A graph with the product in floats, from which the range of a quantized one follows."""
    graph = Graph()
    a = graph.const((left.astype(np.float32) - np.float32(left_zero)) * scale)
    b = graph.const(right.astype(np.float32) - right_zero.astype(np.float32))
    return graph, graph.node("MatMul", [a, b])


def matmul_integer(suite, draw, family="matmulinteger", factors=None):
    factors = factors or [shapes(draw, batched=number % 3 == 2) for number in range(170)]
    for number, (left_shape, right_shape) in enumerate(factors):
        left_kind, right_kind = [*PAIRS, ("i8", "u8")][number % 5]
        left, right = draw.numbers(left_kind, *left_shape), draw.numbers(right_kind, *right_shape)
        if number % 17 == 0:
            # The largest sums that there are.
            left[...], right[...] = draw.of([0, 255]) if left_kind == "u8" else -128, 255 if right_kind == "u8" else -128
        graph, constant = Graph(), draw.chance(0.6)
        operands = [graph.input(left), operand(draw, graph, right, constant)]
        zeros = draw.of(["none", "left", "both", "column", "column"])
        if zeros != "none":
            operands.append(graph.const(draw.zero(left_kind, *draw.of([(), (1,)]))))
        if zeros in ("both", "column"):
            column = tuple(right_shape[:-2] + [1] * (len(right_shape) > 2) + right_shape[-1:])
            shape = column if zeros == "column" else draw.of([(), (1,)])
            operands.append(operand(draw, graph, draw.zero(right_kind, *shape), draw.chance(0.8)))
        variant = f"{left_kind}{right_kind}_{zeros}_{'constant' if constant else 'given'}"
        suite.add(family, variant, graph, graph.node("MatMulInteger", operands), "MatMulInteger", "operator", steps=0)


def qlinear_matmul(suite, draw, family="qlinearmatmul", factors=None):
    factors = factors or [shapes(draw, batched=number % 4 == 3) for number in range(180)]
    for number, (left_shape, right_shape) in enumerate(factors):
        left_kind, right_kind = PAIRS[number % len(PAIRS)]
        left, right = draw.numbers(left_kind, *left_shape), draw.numbers(right_kind, *right_shape)
        per_column = number % 2 == 1 and len(right_shape) == 2
        shape = (right_shape[-1],) if per_column else draw.of([(), (1,)])
        left_scale, left_zero = draw.scale(), draw.zero(left_kind)
        right_scale = np.broadcast_to(draw.scales(int(np.prod(shape))).reshape(shape), shape)
        right_zero = draw.zero(right_kind, *shape)
        reference, product = float_product(left, right, left_zero, right_zero, left_scale)
        product = reference.node("Mul", [product, reference.const(right_scale)])
        scale, zero = output_parameters(draw, reference, product, left_kind)
        graph, constant = Graph(), draw.chance(0.6)
        operands = [
            graph.input(left), graph.const(left_scale), graph.const(left_zero), operand(draw, graph, right, constant),
            graph.const(right_scale), graph.const(right_zero), graph.const(scale), graph.const(zero),
        ]
        variant = f"{left_kind}{right_kind}{'_column' if per_column else ''}_{'constant' if constant else 'given'}"
        suite.add(family, variant, graph, graph.node("QLinearMatMul", operands), "QLinearMatMul", "operator")


# What fills blocks of rows, columns and depth, and leaves a rest.
LARGE = [
    ([50, 300], [300, 70]), ([1, 520], [520, 65]), ([130, 33], [33, 130]), ([3, 2050], [2050, 9]), ([97, 64], [64, 48]),
    ([2, 31, 65], [2, 65, 40]), ([5, 1029], [1029, 17]), ([24, 128], [128, 128]),
]


def large(suite, draw):
    matmul_integer(suite, draw, "matmulinteger_large", LARGE + LARGE[::-1])
    qlinear_matmul(suite, draw, "qlinearmatmul_large", LARGE + LARGE[::-1])


def qgemm(suite, draw):
    for number in range(110):
        left_kind, right_kind = PAIRS[number % 3]
        rows, depth, columns = sizes(draw)
        trans_a, trans_b = draw.int(0, 1), draw.int(0, 1)
        left, right = draw.numbers(left_kind, rows, depth), draw.numbers(right_kind, depth, columns)
        shape = (columns,) if number % 2 else ()
        left_scale, left_zero = draw.scale(), draw.zero(left_kind)
        right_scale = draw.scales(int(np.prod(shape))).reshape(shape)
        right_zero = draw.zero(right_kind, *shape)
        alpha = draw.of([1.0, 1.0, 0.5, 1.7])
        reference, product = float_product(left, right, left_zero, right_zero, left_scale * np.float32(alpha))
        product = reference.node("Mul", [product, reference.const(right_scale)])
        scale, zero = output_parameters(draw, reference, product, left_kind)
        graph, constant = Graph(), draw.chance(0.7)
        operands = [
            graph.input(left.T if trans_a else left), graph.const(left_scale), graph.const(left_zero),
            operand(draw, graph, right.T if trans_b else right, constant), graph.const(right_scale), graph.const(right_zero),
        ]
        bias = draw.chance(0.6)
        shape = draw.of([(columns,), (1, columns), (rows, columns), (rows, 1)]) if bias else ()
        operands.append(graph.const(draw.numbers("i32", *shape, low=-9000, high=9000)) if bias else None)
        floats = number % 5 == 4
        if not floats:
            operands += [graph.const(scale), graph.const(zero)]
        elif not bias:
            operands.pop()
        variant = f"{left_kind}{right_kind}_{trans_a}{trans_b}{'_bias' if bias else ''}{'_floats' if floats else ''}"
        result = graph.node("QGemm", operands, domain=MICROSOFT, transA=trans_a, transB=trans_b, alpha=alpha)
        suite.add("qgemm", variant, graph, result, "QGemm", "operator", domain=MICROSOFT)


def matmul_integer_to_float(suite, draw):
    for number in range(32):
        left_kind, right_kind = PAIRS[number % 3]
        left_shape, right_shape = shapes(draw, batched=number % 4 == 3)
        columns = right_shape[-1]
        shape = (columns,) if number % 2 and len(right_shape) == 2 else ()
        graph = Graph()
        operands = [
            graph.input(draw.numbers(left_kind, *left_shape)), graph.const(draw.numbers(right_kind, *right_shape)),
            graph.const(draw.scale()), graph.const(draw.scales(int(np.prod(shape))).reshape(shape)),
            graph.const(draw.zero(left_kind)), graph.const(draw.zero(right_kind, *shape)),
        ]
        if draw.chance(0.5):
            operands.append(graph.const(draw.floats(columns)))
        result = graph.node("MatMulIntegerToFloat", operands, domain=MICROSOFT)
        name = "MatMulIntegerToFloat"
        suite.add(name.lower(), f"{left_kind}{right_kind}", graph, result, name, "operator", domain=MICROSOFT)


def dynamic_quantize_matmul(suite, draw):
    for number in range(32):
        kind = ["i8", "u8"][number % 2]
        left_shape, right_shape = shapes(draw, batched=False)
        if number % 4 == 3:
            left_shape = [2] + left_shape
        columns = right_shape[-1]
        shape = (columns,) if number % 3 else ()
        graph = Graph()
        operands = [
            graph.input(draw.floats(*left_shape)), graph.const(draw.numbers(kind, *right_shape)),
            graph.const(draw.scales(int(np.prod(shape))).reshape(shape)),
            graph.const(draw.zero(kind, *shape)) if draw.chance(0.6) else None,
        ]
        if draw.chance(0.5):
            operands.append(graph.const(draw.floats(columns)))
        result = graph.node("DynamicQuantizeMatMul", operands, domain=MICROSOFT)
        suite.add("dynamicquantizematmul", kind, graph, result, "DynamicQuantizeMatMul", "operator", domain=MICROSOFT)


def matmul_nbits(suite, draw):
    for number in range(48):
        bits, block = [4, 4, 8][number % 3], [16, 32][number % 2]
        rows, depth, columns = draw.of(ROWS), draw.of([16, 20, 32, 48, 64, 65]), draw.of([1, 2, 4, 7, 8, 16])
        blocks = -(-depth // block)
        graph = Graph()
        graph.depth(depth)
        weights = draw.numbers("u8", columns, blocks, block * bits // 8)
        operands = [graph.input(draw.floats(rows, depth)), graph.const(weights), graph.const(draw.scales(columns * blocks))]
        zeros = draw.of(["none", "packed", "float"])
        if zeros == "packed":
            operands.append(graph.const(draw.numbers("u8", columns * -(-blocks * bits // 8))))
        elif zeros == "float" and bits == 4:
            operands.append(graph.const(draw.floats(columns * blocks, scale=4)))
        result = graph.node("MatMulNBits", operands, domain=MICROSOFT, K=depth, N=columns, bits=bits, block_size=block)
        suite.add("matmulnbits", f"{bits}_{block}_{zeros}", graph, result, "MatMulNBits", "operator", domain=MICROSOFT)


FAMILIES = [
    matmul_integer, qlinear_matmul, large, qgemm, matmul_integer_to_float, dynamic_quantize_matmul, matmul_nbits,
]
