#!/usr/bin/env python3
"""Makes `quantized.tar.zst`: quantized layers and chains of them, with the outputs of ONNX Runtime.

    pip install onnx==1.23.2 onnxruntime==1.32.0 numpy
    python scripts/quantized.py [FOLDER [SEED]]

ONNX Runtime computes without optimizing the graph, so that what stands between conversions is computed in floats. Its kernels
must multiply bytes without saturating: this needs a processor with VNNI.

With a seed, which may be any word, there are other cases of the same kinds, to look for mistakes with. Without one, the same
archive comes out each time on the same kind of processor. Needs the command `zstd`.
"""

import json
import pathlib
import sys
import zlib

import onnx
import onnxruntime

import export
from quantization import chains, contrib, conversions, convolutions, edges, layers, products
from quantization.build import Draw, Suite

VERSION = "1.32.0"


def main():
    assert (onnx.__version__, onnxruntime.__version__) == (export.VERSION, VERSION), "other versions are needed"
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent / "data")
    seed = sys.argv[2] if len(sys.argv) > 2 else ""
    suite = Suite()
    for module in (products, convolutions, layers, conversions, chains, edges, contrib):
        for family in module.FAMILIES:
            # Each family has a seed of its own: a change to one leaves the others as they are.
            family(suite, Draw(zlib.crc32(f"{module.__name__}.{family.__name__}{seed}".encode())))
    suite.entries.sort(key=lambda entry: entry["name"])
    index = {"onnx": onnx.__version__, "onnxruntime": VERSION, "cases": suite.entries}
    suite.files["index.json"] = json.dumps(index, indent=0, sort_keys=True).encode()
    path = folder / "quantized.tar.zst"
    export.write_archive(path, suite.files)
    for family, count in suite.counts.items():
        print(f"{count + 1:5} {family}")
    for family, refused in suite.refused.items():
        print(f"{len(refused):5} of {family} that ONNX Runtime refuses, such as {refused[0]}")
    print(f"{len(suite.entries)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
