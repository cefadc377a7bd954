#!/usr/bin/env python3
"""Makes `parameters.tar.zst`: runs of node cases with other parameters than those of the suite.

    pip install onnx==1.23.2 onnxruntime==1.32.0 numpy
    python scripts/parameters.py [FOLDER]

In the node cases of the suite shapes, axes, paddings, counts and the like are inputs, and the declared shape of an output is
all the room that there is for it. For each such case this draws other values for them, evaluates the model with the
reference evaluator of onnx, and stores what fits (at most 5 runs) and what does not fit (at most 2). Where ONNX Runtime can run
the model too but gives other outputs, the values are left out: the standard does not say enough about them.

The same archive comes out each time. Needs the command `zstd`.
"""

import json
import pathlib
import sys
import warnings
import zlib

warnings.filterwarnings("ignore")

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from onnx.backend.test import loader
from onnx.reference import ReferenceEvaluator

import export

FITTING, TOO_LARGE, TRIES = 5, 2, 200
MAX_INT = np.iinfo(np.int64).max


class Node:
    """The one node of a case: operands by their position, and what is known about it."""

    def __init__(self, model, inputs, rng):
        self.node, = model.graph.node
        self.rng = rng
        names = [port.name for port in export.inputs_of(model.graph)]
        self.places = [names.index(name) if name in names else None for name in self.node.input]
        self.inputs = inputs
        self.attributes = {a.name: onnx.helper.get_attribute_value(a) for a in self.node.attribute}
        self.declared = [shape_of(port) for port in model.graph.output]

    def has(self, position):
        return position < len(self.places) and self.places[position] is not None

    def get(self, position):
        return self.inputs[self.places[position]] if self.has(position) else None

    def int(self, low, high):
        """From `low` to `high`."""
        return int(self.rng.integers(low, high + 1))

    def ints(self, low, high):
        return [self.int(a, b) for a, b in zip(low, high)]

    def axes(self, rank, count):
        """Different axes, some counted from the end."""
        axes = self.rng.permutation(rank)[:count]
        return [int(axis) - rank if self.int(0, 1) else int(axis) for axis in axes]


def shape_of(port):
    """The declared shape; `None` for the rank or a size that is not declared."""
    tensor = port.type.tensor_type
    if not port.type.HasField("tensor_type") or not tensor.HasField("shape"):
        return None
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in tensor.shape.dim]


def reshape(node):
    data, shape = node.get(0), node.get(1)
    new = list(node.declared[0])
    kind = node.int(0, 3)
    axis = node.int(0, len(new) - 1) if new else 0
    if kind == 0 and new:
        new[axis] = -1
    elif kind == 1 and axis < data.ndim and new and not node.attributes.get("allowzero"):
        new[axis] = 0
    elif kind == 2:
        new = [int(size) for size in node.rng.permutation(new)]
    elif new:
        new[axis] += node.int(1, 2)
    return {1: new}


def expand(node):
    shape = [node.int(0, 1) * (int(size) - 1) + 1 for size in node.get(1)]
    if node.int(0, 4) == 0 and shape:
        shape[node.int(0, len(shape) - 1)] += 1
    return {1: shape}


def tile(node):
    return {1: [node.int(0, int(count) + (node.int(0, 4) == 0)) for count in node.get(1)]}


def slice_(node):
    data = node.get(0)
    count = len(node.get(1))
    axes = [int(axis) for axis in node.get(3)] if node.has(3) else list(range(count))
    new = {}
    if node.has(3) and node.int(0, 2):
        axes = new[3] = node.axes(data.ndim, count)
    sizes = [data.shape[axis] for axis in axes]
    new[1] = node.ints([-size - 2 for size in sizes], [size + 1 for size in sizes])
    new[2] = [MAX_INT if node.int(0, 5) == 0 else node.int(-size - 2, size + 2) for size in sizes]
    if node.has(4):
        new[4] = [(1, 1, 2, 3, -1, -2)[node.int(0, 5)] for _ in sizes]
    return new


def pad(node):
    data = node.get(0)
    count = data.ndim
    new = {}
    if node.has(3):
        count = len(node.get(3))
        new[3] = node.axes(data.ndim, count)
    largest = int(max(node.get(1)))
    least = -1 if node.attributes.get("mode", b"constant") == b"constant" else 0
    new[1] = [node.int(least, largest) for _ in range(2 * count)]
    if node.has(2) and np.ndim(node.get(2)) == 0:
        new[2] = node.int(-3, 3)
    return new


def top_k(node):
    return {1: [node.int(1, node.get(0).shape[node.attributes.get("axis", -1)])]}


def one_hot(node):
    depth = node.get(1)
    new = {1: np.full_like(depth, node.int(1, int(depth.reshape(-1)[0]) + 1))}
    if node.int(0, 1):
        new[2] = node.get(2)[::-1] * 2
    return new


def range_(node):
    count = node.declared[0][0]
    start, delta = node.int(-9, 9), node.int(1, 3) * node.rng.choice([-1, 1])
    return {0: start, 1: start + delta * node.int(0, count + 1), 2: delta}


def split(node):
    sizes = np.array(node.get(1)).reshape(-1)
    cuts = sorted(node.int(0, int(sizes.sum())) for _ in sizes[1:])
    return {1: np.diff([0, *cuts, int(sizes.sum())])}


def axes_(node):
    """Other axes, as many as before."""
    axes = node.get(1)
    rank = node.get(0).ndim + (len(axes) if node.node.op_type == "Unsqueeze" else 0)
    return {1: node.axes(rank, len(axes))}


def reduce_axes(node):
    rank = node.get(0).ndim
    return {1: node.axes(rank, node.int(0, rank))}


def axis(node):
    rank = node.get(0).ndim
    return {1: node.int(-rank, rank - 1)}


def trilu(node):
    rows, columns = node.get(0).shape[-2:]
    return {1: node.int(-rows - 1, columns + 1)}


def dropout(node):
    training = node.get(2)
    return None if training is not None and training else {1: node.rng.random()}


def clip(node):
    data = node.get(0).reshape(-1)
    if not len(data):
        return None
    bounds = sorted(node.rng.choice(data) for _ in range(2))
    return {position: bounds[position - 1] for position in (1, 2) if node.has(position)}


def smaller(position):
    """A shape of smaller sizes."""
    return lambda node: {position: [node.int(1, int(size)) for size in node.get(position)]}


def constant_of_shape(node):
    return {0: [node.int(0, int(size) + (node.int(0, 9) == 0)) for size in node.get(0)]}


def center_crop_pad(node):
    return {1: [node.int(1, int(size) + (node.int(0, 9) == 0)) for size in node.get(1)]}


def resize(node):
    new = {}
    if node.has(2) and node.get(2).size:
        scales = [float(scale) for scale in node.get(2)]
        new[2] = [scale if scale == 1 else round(node.rng.uniform(min(0.4, scale), scale), 2) for scale in scales]
    elif node.has(3):
        new[3] = [node.int(1, int(size)) for size in node.get(3)]
    if node.has(1) and node.get(1).size and node.int(0, 1):
        count = node.get(1).size // 2
        starts = node.rng.uniform(0, 0.5, count).round(2)
        new[1] = np.concatenate([starts, starts + node.rng.uniform(0.1, 0.5, count).round(2)])
    return new


def upsample(node):
    return {1: [scale if scale == 1 else round(node.rng.uniform(1, scale), 2) for scale in node.get(1).tolist()]}


def col2im(node):
    image, block = node.get(1), node.get(2)
    return {1: node.rng.permutation(image), 2: node.rng.permutation(block)}


def affine_grid(node):
    size = [int(size) for size in node.get(1)]
    return {1: size[:2] + [node.int(1, size) for size in size[2:]]}


def mel(node):
    bins, length, rate, low, high = (int(np.array(node.get(i)).reshape(-1)[0]) for i in range(5))
    low = node.int(0, low + 5)
    return {0: node.int(2, bins), 1: 2 * node.int(length // 4, length // 2), 2: rate, 3: low, 4: node.int(rate // 4, high)}


def size(node):
    return {0: node.int(1, int(node.get(0)) + (node.int(0, 9) == 0))}


def stft(node):
    return {1: node.int(int(node.get(1)), int(node.get(1)) + 9)}


def dft(node):
    new = {}
    if node.has(1):
        new[1] = node.int(2, int(node.get(1)) + 1)
    if node.has(2):
        rank = node.get(0).ndim
        new[2] = node.int(1, rank - 2) - (rank if node.int(0, 1) else 0)
    return new


def non_max_suppression(node):
    new = {}
    if node.has(2):
        new[2] = [node.int(0, int(node.get(2).reshape(-1)[0]))]
    if node.has(3):
        new[3] = [round(node.rng.uniform(0.1, 0.9), 2)]
    if node.has(4):
        new[4] = [round(node.rng.uniform(0, 0.95), 2)]
    return new


def compress(node):
    return {1: node.rng.random(len(node.get(1))) < 0.5}


def zeros(node):
    """Some other elements that are 0."""
    data = node.rng.permutation(node.get(0).reshape(-1))
    return {0: np.where(node.rng.random(data.size) < 0.3, 0, data).reshape(node.get(0).shape)}


def repeated(node):
    """Elements that repeat others."""
    data = node.get(0)
    return {0: node.rng.choice(data.reshape(-1), data.shape)}


def condition(node):
    return {0: not node.get(0)}


def loop(node):
    new = {0: node.int(0, int(node.get(0)))} if node.has(0) else {}
    if node.has(1) and node.int(0, 5) == 0:
        new[1] = False
    return new


def position(at):
    def new(node):
        count = len(node.get(0))
        return {at: node.int(-count, count - (node.node.op_type != "SequenceInsert"))}

    return new


def split_to_sequence(node):
    along = node.get(0).shape[node.attributes.get("axis", 0)]
    if node.get(1).ndim == 0:
        return {1: node.int(1, along)}
    return split(node)


def lengths(position, axis):
    """Lengths of at most the size of an axis of the first operand."""
    def new(node):
        if not node.has(position):
            return None
        largest = node.get(0).shape[node.attributes.get("time_axis", axis)]
        return {position: [node.int(1, largest) for _ in node.get(position)]}

    return new


def below(position):
    """Numbers from 0 to the largest one there is."""
    def new(node):
        if not node.has(position) or not node.get(position).size:
            return None
        values = node.get(position)
        return {position: node.rng.integers(0, int(values.max()) + 1, values.shape)}

    return new


CHANGES = {
    "Reshape": reshape, "Expand": expand, "Tile": tile, "Slice": slice_, "Pad": pad, "TopK": top_k, "OneHot": one_hot,
    "Range": range_, "Split": split, "Squeeze": axes_, "Unsqueeze": axes_, "CumSum": axis, "CumProd": axis, "Trilu": trilu,
    "Dropout": dropout, "Clip": clip, "ConstantOfShape": constant_of_shape, "CenterCropPad": center_crop_pad,
    "Resize": resize, "Upsample": upsample, "Col2Im": col2im, "AffineGrid": affine_grid, "MelWeightMatrix": mel,
    "HannWindow": size, "HammingWindow": size, "BlackmanWindow": size, "STFT": stft, "DFT": dft,
    "NonMaxSuppression": non_max_suppression, "Compress": compress, "NonZero": zeros, "Unique": repeated, "If": condition,
    "Loop": loop, "SequenceAt": position(1), "SequenceErase": position(1), "SequenceInsert": position(2),
    "SplitToSequence": split_to_sequence, "RNN": lengths(4, 0), "GRU": lengths(4, 0), "LSTM": lengths(4, 0),
    "ReverseSequence": lengths(1, 0), "RotaryEmbedding": below(3), "Attention": below(6), "TensorScatter": below(2),
}
for reduction in "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare".split():
    CHANGES["Reduce" + reduction] = reduce_axes


def to_value(proto):
    if isinstance(proto, onnx.SequenceProto):
        return numpy_helper.to_list(proto)
    if isinstance(proto, onnx.OptionalProto):
        return numpy_helper.to_optional(proto)
    return numpy_helper.to_array(proto)


def same(a, b):
    """Whether two engines agree."""
    if a is None or b is None:
        return a is b
    if isinstance(a, list) or isinstance(b, list):
        return isinstance(a, list) and isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return False
    if a.dtype == object or a.dtype.kind in "SU":
        return (a == b).all()
    a, b = a.astype(np.float64), b.astype(np.float64)
    return np.allclose(a, b, rtol=1e-3, atol=noise(a), equal_nan=True)


def noise(output):
    """How far from 0 sums may be that should be 0, given the largest of them."""
    output = np.abs(np.asarray(output, dtype=np.float64))
    return 1e-6 * max(1, output.max(initial=0, where=np.isfinite(output)))


class Engines:
    """The reference evaluator, and ONNX Runtime for a second opinion."""

    def __init__(self, model):
        self.names = [port.name for port in export.inputs_of(model.graph)]
        self.reference = ReferenceEvaluator(model)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            self.second = onnxruntime.InferenceSession(model.SerializeToString(), options)
        except Exception:
            self.second = None

    def run(self, inputs):
        """The outputs; `None` if they cannot be computed or are in doubt."""
        feed = dict(zip(self.names, inputs))
        try:
            outputs = self.reference.run(None, feed)
        except Exception:
            return None
        try:
            others = self.second.run(None, feed) if self.second else None
        except Exception:
            others = None
        return None if others is not None and not same(list(outputs), list(others)) else outputs


def fits(output, declared):
    """Whether there is room for an output; `None` if its rank is another than the declared one."""
    if declared is None or not isinstance(output, (np.ndarray, np.generic)):
        return True
    shape = np.shape(output)
    if len(shape) != len(declared):
        return None
    return all(room is None or size <= room for size, room in zip(shape, declared))


def runs_of(model, protos, name):
    """Further runs of a case: the changed inputs, and what they lead to."""
    values = [to_value(proto) for proto in protos]
    node = Node(model, values, np.random.default_rng(zlib.crc32(name.encode())))
    change = CHANGES.get(node.node.op_type)
    if change is None:
        return []
    engines, runs, seen = Engines(model), {True: [], False: []}, []
    for _ in range(TRIES):
        try:
            changes = change(node)
        except (IndexError, TypeError, ValueError, AttributeError):
            # The case has no such parameter.
            return []
        inputs, changed = list(values), []
        for position, value in (changes or {}).items():
            if not node.has(position):
                continue
            place = node.places[position]
            old = np.asarray(values[place])
            new = np.asarray(value).astype(old.dtype)
            if new.ndim == 0 and old.ndim == 1:
                new = new.reshape(1)
            if new.shape != old.shape:
                continue
            if not np.array_equal(new, old):
                changed.append(place)
                inputs[place] = new
        key = [inputs[place].tobytes() for place in sorted(changed)], sorted(changed)
        if not changed or key in seen:
            continue
        seen.append(key)
        outputs = engines.run(inputs)
        if outputs is None:
            continue
        room = [fits(output, declared) for output, declared in zip(outputs, node.declared)]
        fit = all(room)
        if len(runs[fit]) < (FITTING if fit else TOO_LARGE):
            # There is no output of another rank to compare with.
            runs[fit].append((sorted(changed), inputs, None if None in room else outputs))
        if len(runs[True]) == FITTING and len(runs[False]) == TOO_LARGE:
            break
    return [(*run, False) for run in runs[True]] + [(*run, True) for run in runs[False]]


def main():
    assert (onnx.__version__, onnxruntime.__version__) == (export.VERSION, "1.32.0"), "other versions are needed"
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent / "data")
    cases = {case.name: case for case in loader.load_model_tests(kind="node")}
    files, entries = {}, []
    for name, case in sorted(cases.items()):
        model, inputs, _ = export.load(case)
        if len(model.graph.node) != 1 or "_expanded" in name:
            continue
        ports = export.inputs_of(model.graph)
        protos = [export.to_proto(value, port) for value, port in zip(inputs, ports)]
        runs = runs_of(model, protos, name)
        if not runs:
            continue
        names = [name]
        # The body of a function rounds at other places than the operator, which half precision shows.
        if not any(export.type_name(port.type) in export.HALF for port in model.graph.output):
            names += sorted(twin for twin in cases if twin.startswith(name + "_expanded"))
        entry = {"names": names, "runs": []}
        for number, (changed, inputs, outputs, refused) in enumerate(runs, 1):
            for place in changed:
                content = export.to_proto(inputs[place], ports[place]).SerializeToString(deterministic=True)
                files[f"{name}/{number}/input_{place}.pb"] = content
            for place, (port, output) in enumerate(zip(model.graph.output, outputs or [])):
                content = export.to_proto(output, port).SerializeToString(deterministic=True)
                files[f"{name}/{number}/output_{place}.pb"] = content
            numbers = [o for o in outputs or [] if isinstance(o, np.ndarray) and o.dtype.kind == "f"]
            entry["runs"].append({
                "inputs": changed, "outputs": outputs is not None, "refused": refused,
                "atol": max([case.atol, *map(noise, numbers)]),
            })
        entries.append(entry)
    index = {"onnx": onnx.__version__, "cases": entries}
    files["index.json"] = json.dumps(index, indent=0, sort_keys=True).encode()
    export.write_archive(folder / "parameters.tar.zst", files)
    runs = [run for entry in entries for run in entry["runs"]]
    print(f"{len(entries)} cases, {len(runs)} runs, {sum(run['refused'] for run in runs)} of them without room")


if __name__ == "__main__":
    main()
