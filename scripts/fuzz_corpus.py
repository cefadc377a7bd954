#!/usr/bin/env python3
"""Chooses the seeds of the fuzzer and of mutations from the models of the official ONNX backend suite.

Usage: fuzz_corpus.py SUITE DIRECTORY

SUITE is the unpacked archive of `conformance/data/node.tar.zst`. Of the cases with the same operators and attributes
the smallest goes to DIRECTORY, unless it has more than 6 KiB.
"""

import sys
from pathlib import Path

import onnx

LIMIT = 6 << 10


def features(graph):
    """Returns the operators of a graph and its subgraphs, with the attributes that they have."""
    found = set()
    for node in graph.node:
        found.add((node.domain, node.op_type, *sorted(attribute.name for attribute in node.attribute)))
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                found |= features(inner)
    return found


def main():
    suite, directory = map(Path, sys.argv[1:])
    directory.mkdir(parents=True, exist_ok=True)
    chosen = {}
    for path in sorted(suite.glob("node.*/model.onnx"), key=lambda path: (path.stat().st_size, path)):
        if path.stat().st_size <= LIMIT:
            key = frozenset(features(onnx.load(path, load_external_data=False).graph))
            chosen.setdefault(key, path)
    for path in chosen.values():
        name = path.parent.name.removeprefix("node.").removeprefix("test_")
        (directory / f"{name}.onnx").write_bytes(path.read_bytes())


if __name__ == "__main__":
    main()
