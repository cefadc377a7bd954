"""Makes `conformance/data/contrib.tar.zst`: operators of ONNX Runtime, and recurrent layers in every form, with the
outputs that ONNX Runtime computes without optimizing the graph.

    pip install numpy==2.3.2 onnx==1.23.2 onnxruntime==1.32.0 zstandard==0.25.0
    python scripts/contrib_cases.py

A case is one node. Its tolerance follows from the length of its sums: `terms` roundings of values as large as the
largest output, each of half a unit in the last place, of which either side may have made as many.
"""

import io
import itertools
import json
import pathlib
import tarfile

import numpy as np
import onnx
import onnxruntime
import zstandard
from onnx import helper, numpy_helper

MICROSOFT = "com.microsoft"
ONNX = "ai.onnx"
TARGET = pathlib.Path(__file__).parent.parent / "conformance" / "data" / "contrib.tar.zst"

cases = []
files = {}


def noise(*shape, scale=1.0):
    """Numbers that depend on nothing but their order."""
    noise.state = getattr(noise, "state", None) or np.random.default_rng(2026)
    return (noise.state.uniform(-1, 1, shape) * scale).astype(np.float32)


def case(operator, variant, inputs, outputs, terms, domain=MICROSOFT, constant=(), **attributes):
    """Adds a case. `inputs` are arrays or `None`; those whose places are in `constant` are part of the model.
    `outputs` is the number of results, or a list of truth values that says which are wanted."""
    name = "_".join(["contrib", operator.lower(), variant])
    wanted = [True] * outputs if isinstance(outputs, int) else outputs
    names = ["" if value is None else f"x{i}" for i, value in enumerate(inputs)]
    results = [f"y{i}" if want else "" for i, want in enumerate(wanted)]
    node = helper.make_node(
        operator, names, results, domain="" if domain == ONNX else domain, **attributes
    )
    given = {f"x{i}": value for i, value in enumerate(inputs) if value is not None}
    fixed = {f"x{i}" for i in constant}
    graph = helper.make_graph(
        [node],
        name,
        [
            helper.make_tensor_value_info(key, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
            for key, value in given.items()
            if key not in fixed
        ],
        [onnx.ValueInfoProto(name=key) for key in results if key],
        [numpy_helper.from_array(value, key) for key, value in given.items() if key in fixed],
    )
    model = helper.make_model(
        graph,
        producer_name="onnxide",
        ir_version=10,
        opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid(MICROSOFT, 1)],
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    free = {key: value for key, value in given.items() if key not in fixed}
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    values = session.run(None, free)
    # The types of outputs are known once there are outputs.
    model.graph.ClearField("output")
    for key, value in zip((key for key in results if key), values):
        dtype = helper.np_dtype_to_tensor_dtype(value.dtype)
        model.graph.output.append(helper.make_tensor_value_info(key, dtype, value.shape))
    assert all(np.all(np.isfinite(value)) for value in values), name
    assert name not in {other["name"] for other in cases}, name

    unit = 2.0**-23
    largest = max(float(np.max(np.abs(value), initial=0)) for value in values)
    kinds = lambda arrays: [onnx_type(value.dtype) for value in arrays]
    cases.append(
        {
            "name": name,
            "kind": "contrib",
            "operator": operator,
            "domain": domain,
            "expanded_of": None,
            "tier": "T1",
            "types": "main",
            "rtol": 8 * unit,
            "atol": terms * unit * largest,
            "inputs": kinds(free.values()),
            "outputs": kinds(values),
        }
    )
    files[f"{name}/model.onnx"] = model.SerializeToString()
    for kind, arrays in [("input", free.values()), ("output", values)]:
        for i, value in enumerate(arrays):
            files[f"{name}/{kind}_{i}.pb"] = numpy_helper.from_array(value).SerializeToString()


def onnx_type(dtype):
    return {"float32": "float", "float64": "double", "float16": "float16"}.get(str(dtype), str(dtype))


def activations():
    x, bias = noise(3, 8, scale=4), noise(8)
    case("Gelu", "plain", [x], 1, 8)
    case("FastGelu", "plain", [x], 1, 8)
    case("FastGelu", "bias", [x, bias], 1, 8)
    case("BiasGelu", "plain", [x, bias], 1, 8)
    case("QuickGelu", "plain", [x], 1, 8)
    case("QuickGelu", "alpha", [x], 1, 8, alpha=1.0)


def products():
    for a, b in itertools.product([0, 1], repeat=2):
        left = noise(2, 5, 3) if a else noise(2, 3, 5)
        right = noise(2, 4, 5) if b else noise(2, 5, 4)
        case("FusedMatMul", f"trans_{a}{b}", [left, right], 1, 8, transA=a, transB=b, alpha=0.7)
        case("TransposeMatMul", f"trans_{a}{b}", [left, right], 1, 8, transA=a, transB=b, alpha=0.7)
        left = noise(5, 2, 3) if a else noise(3, 2, 5)
        case(
            "FusedMatMul", f"batch_{a}{b}", [left, right], 1, 8, transBatchA=1, transA=a, transB=b
        )
    for name, parameters in [
        ("Relu", {}),
        ("LeakyRelu", {"activation_alpha": 0.3}),
        ("Tanh", {}),
        ("Sigmoid", {}),
        ("HardSigmoid", {"activation_alpha": 0.4, "activation_beta": 0.6}),
    ]:
        inputs = [noise(3, 5), noise(5, 4), noise(4)]
        case("FusedGemm", name.lower(), inputs, 1, 12, activation=name, alpha=0.5, beta=2.0, **parameters)
    for name, parameters in [
        ("Relu", []),
        ("LeakyRelu", [0.3]),
        ("Tanh", []),
        ("Sigmoid", []),
        ("HardSigmoid", [0.4, 0.6]),
        ("Clip", [-0.2, 0.5]),
    ]:
        inputs = [noise(1, 2, 5, 5), noise(3, 2, 3, 3), noise(3)]
        given = {"activation_params": parameters} if parameters else {}
        case("FusedConv", name.lower(), inputs, 1, 24, constant=[1, 2], activation=name, pads=[1, 1, 1, 1], **given)
    inputs = [noise(1, 2, 5, 5), noise(3, 2, 3, 3), noise(3), noise(1, 3, 3, 3)]
    case("FusedConv", "sum", inputs, 1, 24, constant=[1, 2], activation="Relu")
    inputs = [noise(1, 4, 5, 5), noise(4, 2, 3, 3), noise(4)]
    case("FusedConv", "groups", inputs, 1, 24, activation="Relu", group=2, strides=[2, 2])


def norms():
    x, skip, scale, shift, bias = noise(2, 3, 8), noise(2, 3, 8), noise(8), noise(8), noise(8)
    case("SkipLayerNormalization", "plain", [x, skip, scale], 1, 24, epsilon=1e-5)
    case("SkipLayerNormalization", "shift", [x, skip, scale, shift], 1, 24)
    case("SkipLayerNormalization", "bias", [x, skip, scale, shift, bias], 1, 24)
    case("SkipLayerNormalization", "sum", [x, skip, scale, shift, bias], [True, False, False, True], 24)
    case("SkipLayerNormalization", "broadcast", [x, noise(3, 8), scale, shift], 1, 24)
    case("SkipLayerNormalization", "broadcast_1", [x, noise(1, 3, 8), scale, None, bias], 1, 24)
    case("SkipSimplifiedLayerNormalization", "plain", [x, skip, scale], 1, 24)
    case("SkipSimplifiedLayerNormalization", "sum", [x, skip, scale, bias], [True, False, False, True], 24)
    case("SimplifiedLayerNormalization", "plain", [x, scale], 1, 24, domain=ONNX, axis=-1, epsilon=1e-6)
    case("SimplifiedLayerNormalization", "axis", [x, noise(3, 8)], 1, 40, domain=ONNX, axis=1)
    words = np.array([[1, 5, 2], [0, 3, 6]], np.int32)
    segments = np.array([[0, 0, 1], [1, 0, 1]], np.int32)
    mask = np.array([[1, 1, 0], [1, 1, 1]], np.int32)
    places = np.array([[2, 0, 1], [3, 3, 0]], np.int32)
    tables = [noise(7, 8), noise(4, 8), noise(2, 8), scale, shift]
    embed = "EmbedLayerNormalization"
    case(embed, "segments", [words, segments, *tables], 2, 24)
    case(embed, "words", [words, None, *tables[:2], None, *tables[3:]], 2, 24)
    case(embed, "mask", [words, segments, *tables, mask], 2, 24)
    case(embed, "positions", [words, segments, *tables, mask, places], 3, 24, epsilon=1e-6)


def angles(rows, pairs):
    turns = np.arange(rows)[:, None] / 10.0 ** (np.arange(pairs)[None] / pairs)
    return np.cos(turns).astype(np.float32), np.sin(turns).astype(np.float32)


def rotary():
    cos, sin = angles(9, 4)
    offset, places = np.array([3], np.int64), np.array([[0, 2, 4], [8, 1, 1]], np.int64)
    for interleaved in [0, 1]:
        for kind, position in [("offset", offset), ("positions", places)]:
            name = f"{kind}_{interleaved}"
            given = {"interleaved": interleaved}
            case("RotaryEmbedding", name, [noise(2, 3, 16), position, cos, sin], 1, 4, **given)
            case("RotaryEmbedding", f"heads_{name}", [noise(2, 2, 3, 8), position, cos, sin], 1, 4, **given)
            part = {"num_heads": 2, "rotary_embedding_dim": 8, **given}
            case("RotaryEmbedding", f"part_{name}", [noise(2, 3, 24), position, cos, sin], 1, 4, **part)


def attention():
    heads, size, batch, queries = 2, 4, 2, 3
    width = heads * size
    mha = "MultiHeadAttention"
    terms = 40

    def qkv(keys, values=size):
        return noise(batch, queries, width), noise(batch, keys, width), noise(batch, keys, heads * values)

    bias = noise(3 * width)
    for causal in [0, 1]:
        given = {"num_heads": heads, "unidirectional": causal}
        case(mha, f"plain_{causal}", list(qkv(3)), 1, terms, **given)
        case(mha, f"bias_{causal}", [*qkv(3), bias], 1, terms, scale=0.4, **given)
        lengths = np.array([2, 3], np.int32)
        case(mha, f"lengths_{causal}", [*qkv(3), bias, lengths], 1, terms, **given)
        added = noise(batch, heads, queries, 3)
        case(mha, f"added_{causal}", [*qkv(3), None, None, added], 1, terms, **given)
        past = noise(batch, heads, 2, size), noise(batch, heads, 2, size)
        case(mha, f"past_{causal}", [*qkv(3), bias, None, None, *past], 3, terms, **given)
        mask = np.array([[1, 1, 0, 1, 1], [1, 0, 1, 1, 0]], np.int32)
        case(mha, f"past_mask_{causal}", [*qkv(3), bias, mask, noise(1, 1, 3, 5), *past], 3, terms, **given)
    case(mha, "cross", list(qkv(5)), 1, terms, num_heads=heads)
    case(mha, "sizes", list(qkv(5, 6)), 1, terms, num_heads=heads)
    case(mha, "mask", [*qkv(5), None, mask], 1, terms, num_heads=heads, mask_filter_value=-1000.0)
    case(mha, "heads", [noise(batch, queries, width), noise(batch, heads, 5, size), noise(batch, heads, 5, size)], 1, terms, num_heads=heads)
    ends = np.array([[1, 1, 1, 0, 1], [1, 1, 0, 1, 1], [0, 1, 1, 1, 1]], np.int32)
    case(mha, "mask_3d", [*qkv(5), None, np.stack([ends, ends[::-1]])], 1, terms, num_heads=heads)

    weights = noise(6, 3 * width, scale=0.5)
    for causal in [0, 1]:
        given = {"num_heads": heads, "unidirectional": causal}
        x = noise(batch, queries, 6)
        case("Attention", f"plain_{causal}", [x, weights, bias], 1, terms + 12, **given)
        case("Attention", f"lengths_{causal}", [x, weights, bias, np.array([2, 3], np.int32)], 1, terms + 12, **given)
        both = np.array([3, 2, 1, 0], np.int32)
        case("Attention", f"ends_{causal}", [x, weights, bias, both], 1, terms + 12, **given)
        mask = np.array([[1, 1, 0], [1, 0, 1]], np.int32)
        case("Attention", f"mask_{causal}", [x, weights, bias, mask], 1, terms + 12, **given)
        past = noise(2, batch, heads, 4, size)
        case("Attention", f"past_{causal}", [x, weights, bias, None, past], 2, terms + 12, **given)
        added = noise(batch, heads, queries, queries)
        case("Attention", f"added_{causal}", [x, weights, bias, None, None, added], 1, terms + 12, scale=0.3, **given)
    sizes = {"num_heads": heads, "qkv_hidden_sizes": [8, 8, 12]}
    case("Attention", "sizes", [x, noise(6, 28, scale=0.5), noise(28)], 1, terms + 12, constant=[1, 2], **sizes)
    mask = np.stack([ends[:, :3], ends[:, 2:]])
    case("Attention", "mask_3d", [x, weights, bias, mask], 1, terms + 12, num_heads=heads)


def grouped_query():
    heads, shared, size = 4, 2, 16
    name = "GroupQueryAttention"
    cos, sin = angles(16, size // 2)
    terms = 80

    def inputs(length, past, lengths, total, room=None, packed=False, turned=False, added=None):
        batch = len(lengths)
        if packed:
            x = [noise(batch, length, (heads + 2 * shared) * size), None, None]
        else:
            x = [noise(batch, length, n * size) for n in (heads, shared, shared)]
        room = past if room is None else room
        x += [noise(batch, shared, room, size), noise(batch, shared, room, size)] if room else [None, None]
        x += [np.array(lengths, np.int32) - 1, np.array(total, np.int32)]
        if turned or added is not None:
            x += [cos, sin] if turned else [None, None]
        if added is not None:
            x += [None, added]
        return x

    base = {"num_heads": heads, "kv_num_heads": shared}
    # The largest length is part of the model or not.
    for kind, fixed in [("fixed", [6]), ("given", [])]:
        case(name, f"prompt_{kind}", inputs(5, 0, [5, 5], 5), 3, terms, constant=fixed, **base)
        case(name, f"decode_{kind}", inputs(1, 4, [5, 5], 5), 3, terms, constant=fixed, **base)
        case(name, f"room_{kind}", inputs(1, 4, [5, 3], 5, room=8), 3, terms, constant=fixed, **base)
        case(name, f"chunk_{kind}", inputs(3, 4, [7], 7), 3, terms, constant=fixed, **base)
    for packed, interleaved in itertools.product([False, True], [0, 1]):
        kind = f"{'packed' if packed else 'apart'}_{interleaved}"
        turned = {"do_rotary": 1, "rotary_interleaved": interleaved, **base}
        case(name, f"rotary_prompt_{kind}", inputs(4, 0, [4, 4], 4, packed=packed, turned=True), 3, terms, **turned)
        case(name, f"rotary_decode_{kind}", inputs(1, 6, [7, 7], 7, packed=packed, turned=True), 3, terms, **turned)
        case(name, f"rotary_room_{kind}", inputs(1, 6, [7, 4], 7, room=9, packed=packed, turned=True), 3, terms, **turned)
    case(name, "window", inputs(6, 0, [6, 6], 6), 3, terms, local_window_size=3, **base)
    case(name, "window_decode", inputs(1, 7, [8, 8], 8), 3, terms, local_window_size=3, **base)
    case(name, "softcap", inputs(4, 0, [4, 4], 4), 3, terms, softcap=1.5, scale=0.9, **base)
    added = noise(1, 1, 4, 4)
    case(name, "added", inputs(4, 0, [4, 4], 4, added=added), 3, terms, **base)
    equal = {"num_heads": 2, "kv_num_heads": 2}
    x = [noise(2, 3, 16) for _ in range(3)] + [None, None, np.array([2, 2], np.int32), np.array(3, np.int32)]
    case(name, "one_each", x, 3, terms, **equal)


def recurrent():
    steps, batch, width, hidden = 4, 3, 2, 5
    for operator, gates, usual in [("LSTM", 4, 3), ("GRU", 3, 2), ("RNN", 1, 1)]:
        states = 2 if operator == "LSTM" else 1
        terms = 4 * steps * (width + hidden)

        def inputs(directions, lengths=None, initial=True, peepholes=False, bias=True):
            x = [noise(steps, batch, width, scale=2)]
            x += [noise(directions, gates * hidden, n, scale=0.7) for n in (width, hidden)]
            x += [noise(directions, 2 * gates * hidden) if bias else None]
            x += [None if lengths is None else np.array(lengths, np.int32)]
            x += [noise(directions, batch, hidden) if initial else None for _ in range(states)]
            return x + ([noise(directions, 3 * hidden)] if peepholes else [])

        def add(variant, values, constant=(), **attributes):
            case(operator, variant, values, 1 + states, terms, domain=ONNX, constant=constant, hidden_size=hidden, **attributes)

        before = [0, 1] if operator == "GRU" else [None]
        for direction, reset in itertools.product(["forward", "reverse", "bidirectional"], before):
            directions = 2 if direction == "bidirectional" else 1
            given = {"direction": direction} | ({} if reset is None else {"linear_before_reset": reset})
            kind = direction + ("" if reset is None else f"_{reset}")
            add(f"given_{kind}", inputs(directions), **given)
            add(f"constant_{kind}", inputs(directions), constant=[1, 2, 3], **given)
            add(f"lengths_{kind}", inputs(directions, [4, 1, 3]), constant=[1, 2, 3], **given)
            add(f"clip_{kind}", inputs(directions), clip=0.6, **given)
            if operator == "LSTM":
                add(f"peepholes_{kind}", inputs(directions, peepholes=True), **given)
                add(f"peepholes_clip_{kind}", inputs(directions, peepholes=True), clip=0.6, **given)
                add(f"input_forget_{kind}", inputs(directions), input_forget=1, **given)
        add("zeros", inputs(1, initial=False, bias=False))
        functions = [
            ["Relu"] * usual,
            ["Softsign"] * usual,
            ["HardSigmoid"] * usual,
            ["Affine"] * usual,
            ["ThresholdedRelu"] * usual,
            ["LeakyRelu"] * usual,
            ["ScaledTanh"] * usual,
            ["Elu"] * usual,
            ["Softplus"] * usual if usual < 3 else ["Sigmoid", "Softplus", "Softplus"],
        ]
        for names in functions:
            alpha = [0.3 + 0.1 * i for i in range(usual)]
            beta = [0.5 - 0.1 * i for i in range(usual)]
            given = {}
            if names[0] in ["HardSigmoid", "Affine", "ThresholdedRelu", "LeakyRelu", "ScaledTanh", "Elu"]:
                given["activation_alpha"] = alpha
            if names[0] in ["HardSigmoid", "Affine", "ScaledTanh"]:
                given["activation_beta"] = beta
            add(f"function_{names[-1].lower()}", inputs(1), activations=names, **given)
        mixed = (["Sigmoid", "LeakyRelu", "Tanh"] if usual == 3 else ["HardSigmoid", "LeakyRelu", "Tanh"])[:usual]
        add("functions_of_both", inputs(2), direction="bidirectional", activations=mixed + ["Tanh"] * usual)


def main():
    for make in [activations, products, norms, rotary, attention, grouped_query, recurrent]:
        make()
    files["index.json"] = json.dumps({"cases": sorted(cases, key=lambda entry: entry["name"])}, indent=1).encode()
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size = len(files[name])
            archive.addfile(entry, io.BytesIO(files[name]))
    TARGET.write_bytes(zstandard.ZstdCompressor(level=19).compress(data.getvalue()))
    print(f"{len(cases)} cases, {TARGET.stat().st_size} bytes")


main()
