"""Prints the table of `docs/memory.md`.

    python3 scripts/memory.py MODELS

MODELS is a folder with the models of `benches/peers/models.toml`, each as NAME.onnx or NAME/model.onnx.
"""

import pathlib
import subprocess
import sys
import tomllib

# The sizes of inputs that `models.toml` leaves to their references.
SIZES = {
    "ppocr_cls_mobile_v2": {"x_0": 1, "x_2": 48, "x_3": 192},
    "ppocrv4_det": {f"p2o.DynamicDimension.{axis}": size for axis, size in enumerate([1, 320, 320])},
    "ppocrv4_rec": {"p2o.DynamicDimension.0": 1, "x_2": 48, "p2o.DynamicDimension.1": 320},
}

ROOT = pathlib.Path(__file__).parent.parent


def main():
    folder = pathlib.Path(sys.argv[1])
    with open(ROOT / "benches/peers/models.toml", "rb") as file:
        models = tomllib.load(file)["model"]
    arguments = []
    for model in models:
        paths = [folder / f"{model['name']}.onnx", folder / model["name"] / "model.onnx"]
        path = next((path for path in paths if path.exists()), None)
        if path is None:
            print(f"{model['name']} is missing", file=sys.stderr)
            continue
        dims = {**SIZES.get(model["name"], {}), **model.get("dims", {})}
        arguments.append(",".join([str(path), *(f"{name}={size}" for name, size in dims.items())]))
    command = ["cargo", "run", "--quiet", "-p", "onnxide-codegen", "--example", "memory", "--", *arguments]
    sys.exit(subprocess.run(command, cwd=ROOT).returncode)


if __name__ == "__main__":
    main()
