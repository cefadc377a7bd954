#!/usr/bin/env python3
"""Make the cases of `conformance/data/ml.tar.zst`: operators of `ai.onnx.ml`, of strings and of n-grams on random data.

    pip install numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
    scripts/ml_cases.py conformance/data/ml.tar.zst

The outputs are what ONNX Runtime computes, or ONNX's reference evaluator where ONNX Runtime has no kernel or leaves a
transform out, or, for strings that these two treat by the locale of the machine, what Python's own functions say. The
same archive comes out each time. Needs the command `zstd`.
"""

import argparse
import io
import json
import subprocess
import tarfile
import warnings

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

ML = "ai.onnx.ml"
MODES = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ"]
INT, FLOAT, STRING = TensorProto.INT64, TensorProto.FLOAT, TensorProto.STRING


class Cases:
    """The cases made so far."""

    def __init__(self):
        self.files = {}
        self.index = []

    def add(self, name, operator, outputs, inputs, oracle="ort", domain=ML, **attributes):
        """One operator on inputs; `oracle` is `ort`, `ref`, or the outputs themselves."""
        names = [f"x{i}" for i in range(len(inputs))]
        results = [f"y{i}" for i in range(len(outputs))]
        types = [element_type(x) for x in inputs]
        node = helper.make_node(operator, names, results, domain=domain, **attributes)
        graph = helper.make_graph(
            [node],
            name,
            [helper.make_tensor_value_info(n, t, x.shape) for n, t, x in zip(names, types, inputs)],
            [helper.make_tensor_value_info(n, t, None) for n, t in zip(results, outputs)],
        )
        opsets = [helper.make_opsetid("", 20), helper.make_opsetid(ML, 3)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        feed = dict(zip(names, inputs))
        if oracle == "ort":
            expected = ort.InferenceSession(model.SerializeToString()).run(None, feed)
        elif oracle == "ref":
            expected = ReferenceEvaluator(model).run(None, feed)
        else:
            expected = oracle
        name = f"ml_{name}"
        self.files[f"{name}/model.onnx"] = model.SerializeToString()
        for kind, values in (("input", inputs), ("output", expected)):
            for i, value in enumerate(values):
                tensor = numpy_helper.from_array(np.asarray(value))
                self.files[f"{name}/{kind}_{i}.pb"] = tensor.SerializeToString()
        self.index.append(
            {
                "name": name,
                "kind": "ml",
                "operator": operator,
                "domain": domain or "ai.onnx",
                "expanded_of": None,
                "tier": "T1",
                "types": "string" if STRING in types + outputs else "main",
                "rtol": 1e-3,
                "atol": 1e-6,
                "inputs": ["tensor"] * len(inputs),
                "outputs": ["tensor"] * len(outputs),
            }
        )

    def write(self, path):
        """Writes the archive."""
        self.files["index.json"] = json.dumps({"cases": self.index}, indent=1).encode()
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for name in sorted(self.files):
                info = tarfile.TarInfo(name)
                info.size = len(self.files[name])
                archive.addfile(info, io.BytesIO(self.files[name]))
        subprocess.run(["zstd", "-19", "-q", "-f", "-o", path], input=buffer.getvalue(), check=True)


def element_type(x):
    return STRING if x.dtype == object else helper.np_dtype_to_tensor_dtype(x.dtype)


def strings(*texts):
    return np.array(texts, dtype=object)


def floats(rng, count):
    return [float(v) for v in rng.standard_normal(count).astype(np.float32)]


def features(cases, rng):
    x = rng.standard_normal((5, 3)).astype(np.float32)
    odd = x.copy()
    odd[2], odd[3] = 0, -abs(odd[3])
    for norm in ("MAX", "L1", "L2"):
        cases.add(f"normalizer_{norm}", "Normalizer", [FLOAT], [odd], norm=norm)
        cases.add(f"normalizer_{norm}_int", "Normalizer", [FLOAT], [(odd * 9).astype(np.int64)], norm=norm)
    offset, scale = floats(rng, 3), floats(rng, 3)
    cases.add("scaler", "Scaler", [FLOAT], [x], offset=offset, scale=scale)
    cases.add("scaler_one", "Scaler", [FLOAT], [(x * 9).astype(np.int32)], offset=[0.5], scale=[2.0])
    cases.add("scaler_double", "Scaler", [FLOAT], [x.astype(np.float64)], offset=offset, scale=scale)
    holes = x.copy()
    holes[1, 1], holes[2, 0] = np.nan, 7
    nan = float("nan")
    cases.add("imputer_nan", "Imputer", [FLOAT], [holes], imputed_value_floats=[1.0, 2.0, 3.0], replaced_value_float=nan)
    cases.add("imputer_one", "Imputer", [FLOAT], [holes], imputed_value_floats=[5.0], replaced_value_float=7.0)
    ints = np.array([[1, 2], [2, 1]], np.int64)
    cases.add("imputer_int", "Imputer", [INT], [ints], imputed_value_int64s=[5, 6], replaced_value_int64=2)
    cases.add("binarizer", "Binarizer", [FLOAT], [x], threshold=0.3)
    cases.add("extractor", "ArrayFeatureExtractor", [FLOAT], [x, np.array([2, 0], np.int64)])
    cases.add("extractor_row", "ArrayFeatureExtractor", [FLOAT], [x[0], np.array([2, 0], np.int64)])
    labels = strings("setosa", "versicolor", "größe")
    cases.add("extractor_labels", "ArrayFeatureExtractor", [STRING], [labels, np.array([2, 0, 2], np.int64)])
    other = (x * 5).astype(np.int64)[:, :2]
    joined = np.concatenate([x, other.astype(np.float32), np.zeros((5, 1), np.float32)], 1)
    cases.add("vectorizer", "FeatureVectorizer", [FLOAT], [x, other], inputdimensions=[3, 3], oracle=[joined])


def linear(cases, rng):
    x = rng.standard_normal((5, 3)).astype(np.float32)
    for transform in ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO", "PROBIT"):
        arguments = {"post_transform": transform}
        cases.add(
            f"linear_classifier_{transform}",
            "LinearClassifier",
            [INT, FLOAT],
            [x],
            coefficients=floats(rng, 9),
            intercepts=floats(rng, 3),
            classlabels_ints=[3, 5, 9],
            multi_class=1,
            **arguments,
        )
        if transform != "PROBIT":
            cases.add(
                f"linear_classifier_binary_{transform}",
                "LinearClassifier",
                [STRING, FLOAT],
                [x],
                oracle="ort" if transform in ("NONE", "LOGISTIC") else "ref",
                coefficients=floats(rng, 3),
                intercepts=[0.2],
                classlabels_strings=["no", "yes"],
                **arguments,
            )
        cases.add(
            f"linear_regressor_{transform}",
            "LinearRegressor",
            [FLOAT],
            [x],
            coefficients=floats(rng, 6),
            intercepts=[0.2, 0.3],
            targets=2,
            **arguments,
        )


def vectors(cases, rng):
    x = rng.standard_normal((5, 3)).astype(np.float32)
    parameters = [0.4, 0.3, 2.0]

    def classifier(name, classes, probabilities, transform="NONE", kernel="RBF", oracle="ort"):
        counts = [2 + i for i in range(classes)]
        total, pairs = sum(counts), classes * (classes - 1) // 2
        arguments = {}
        if probabilities:
            arguments = {"prob_a": [-abs(v) for v in floats(rng, pairs)], "prob_b": floats(rng, pairs)}
        cases.add(
            name,
            "SVMClassifier",
            [INT, FLOAT],
            [x],
            oracle=oracle,
            coefficients=floats(rng, (classes - 1) * total),
            support_vectors=floats(rng, total * 3),
            vectors_per_class=counts,
            rho=floats(rng, pairs),
            kernel_type=kernel,
            kernel_params=parameters,
            post_transform=transform,
            classlabels_ints=list(range(3, 3 + classes)),
            **arguments,
        )

    for classes in (2, 3, 4):
        for probabilities in (False, True):
            for transform in ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"):
                left_out = classes == 2 and not probabilities and transform.startswith("SOFT")
                kind = "_probabilities" if probabilities else ""
                name = f"svm_classifier_{classes}{kind}_{transform}"
                classifier(name, classes, probabilities, transform, oracle="ref" if left_out else "ort")
    for kernel in ("LINEAR", "POLY", "SIGMOID"):
        classifier(f"svm_classifier_{kernel}", 3, False, kernel=kernel)
    for one_class in (0, 1):
        for kernel in ("RBF", "POLY"):
            cases.add(
                f"svm_regressor_{kernel}_{one_class}",
                "SVMRegressor",
                [FLOAT],
                [x],
                coefficients=floats(rng, 4),
                support_vectors=floats(rng, 12),
                n_supports=4,
                rho=[0.1],
                kernel_type=kernel,
                kernel_params=parameters,
                one_class=one_class,
            )
    arguments = {"coefficients": floats(rng, 3), "rho": [0.1], "kernel_type": "LINEAR", "kernel_params": parameters}
    cases.add("svm_regressor_linear", "SVMRegressor", [FLOAT], [x], **arguments)


def forest(rng, trees, modes, classes, prefix, only=None, missing=False):
    """Attributes of random trees over four features with votes for all classes, or for one."""
    keys = ["treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids"]
    result = {f"nodes_{key}": [] for key in keys}
    result.update({f"{prefix}_{key}": [] for key in ["treeids", "nodeids", "ids", "weights"]})
    if missing:
        result["nodes_missing_value_tracks_true"] = []
    for tree in range(trees):
        nodes = []

        def grow(depth):
            place = len(nodes)
            nodes.append(None)
            if depth == 0 or (place > 0 and rng.random() < 0.15):
                nodes[place] = ("LEAF", 0, 0.0, 0, 0)
                for index in range(classes) if only is None else [only]:
                    for key, value in zip(["treeids", "nodeids", "ids"], [tree, place, index]):
                        result[f"{prefix}_{key}"].append(value)
                    result[f"{prefix}_weights"] += floats(rng, 1)
                return place
            mode, feature = modes[rng.integers(len(modes))], int(rng.integers(4))
            value = float(rng.integers(-3, 4)) * 0.5
            yes, no = grow(depth - 1), grow(depth - 1)
            nodes[place] = (mode, feature, value, yes, no)
            return place

        grow(5)
        for place, (mode, feature, value, yes, no) in enumerate(nodes):
            for key, entry in zip(keys, [tree, place, feature, value, mode, yes, no]):
                result[f"nodes_{key}"].append(entry)
            if missing:
                result["nodes_missing_value_tracks_true"].append(int(rng.integers(2)))
    return result


def trees(cases, rng):
    x = (rng.integers(-4, 5, (9, 4)) * 0.5).astype(np.float32)
    holes = x.copy()
    holes[0, 1], holes[3] = np.nan, np.nan
    for mode in MODES:
        for missing in (False, True):
            name = f"trees_{mode}{'_missing' if missing else ''}"
            arguments = forest(rng, 3, [mode], 1, "target", 0, missing)
            cases.add(name, "TreeEnsembleRegressor", [FLOAT], [holes], n_targets=1, **arguments)
    for aggregate in ("SUM", "AVERAGE", "MIN", "MAX"):
        cases.add(
            f"trees_{aggregate}",
            "TreeEnsembleRegressor",
            [FLOAT],
            [x],
            n_targets=2,
            aggregate_function=aggregate,
            base_values=[0.25, -0.5],
            **forest(rng, 5, MODES, 2, "target"),
        )
    double = x.astype(np.float64)
    cases.add("trees_double", "TreeEnsembleRegressor", [FLOAT], [double], n_targets=1, **forest(rng, 5, MODES, 1, "target"))
    for transform in ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO"):
        cases.add(
            f"trees_classes_{transform}",
            "TreeEnsembleClassifier",
            [STRING, FLOAT],
            [x],
            classlabels_strings=["ab", "c", "größe"],
            post_transform=transform,
            **forest(rng, 5, MODES, 3, "class"),
        )
    for transform in ("NONE", "LOGISTIC"):
        for positive in (False, True):
            arguments = forest(rng, 5, MODES, 2, "class", 0)
            if positive:
                arguments["class_weights"] = [abs(weight) / 5 for weight in arguments["class_weights"]]
            cases.add(
                f"trees_binary_{transform}{'_positive' if positive else ''}",
                "TreeEnsembleClassifier",
                [INT, FLOAT],
                [x],
                classlabels_int64s=[5, 7],
                post_transform=transform,
                base_values=[0.1],
                **arguments,
            )


def encoders(cases):
    words = strings("a", "b", "zz", "é", "", "ab")
    found = strings("last", "none", "none", "yy", "none", "zzz")
    keys, values = ["a", "é", "ab", "a"], ["x", "yy", "zzz", "last"]
    arguments = {"keys_strings": keys, "values_strings": values, "default_string": "none"}
    cases.add("encoder_words", "LabelEncoder", [STRING], [words], oracle=[found], **arguments)
    ints = np.array([[1, 5], [-9, 7]], np.int64)
    names = ["seven", "one", "minus"]
    cases.add("encoder_names", "LabelEncoder", [STRING], [ints], keys_int64s=[7, 1, -9], values_strings=names)
    numbers = np.array([1.5, np.nan, -0.0, 9], np.float32)
    arguments = {"keys_floats": [0.0, 1.5, float("nan")], "values_int64s": [4, 5, 6]}
    found = np.array([5, 6, 4, -1], np.int64)
    cases.add("encoder_floats", "LabelEncoder", [INT], [numbers], oracle=[found], **arguments)
    many = np.arange(-3, 40).astype(np.int64)
    arguments = {"keys_int64s": list(range(0, 37, 3)), "values_int64s": list(range(100, 113)), "default_int64": -5}
    cases.add("encoder_ints", "LabelEncoder", [INT], [many], **arguments)
    arguments = {"cats_strings": ["c", "a"], "cats_int64s": [4, 2]}
    cases.add("mapper_to_ints", "CategoryMapper", [INT], [strings("a", "b", "c")], **arguments)
    cases.add("mapper_to_strings", "CategoryMapper", [STRING], [np.array([4, 2, 9], np.int64)], **arguments)
    ints = np.array([[3, 1], [9, 1]], np.int64)
    cases.add("one_hot_ints", "OneHotEncoder", [FLOAT], [ints], cats_int64s=[1, 3, 5])
    cases.add("one_hot_strings", "OneHotEncoder", [FLOAT], [strings("x", "y", "z")], cats_strings=["z", "x"], zeros=1)


def text(cases):
    rows = strings("a.b.c", "--a----b", "aaaaab aa b", "  x  y   z w ", "ababa aba", "", ".")
    options = [(".", None), ("--", None), ("aa", 1), ("aa", None), ("", 2), (None, 1), ("aba", None), ("aba", 1)]
    for number, (delimiter, limit) in enumerate(options):
        arguments = {} if delimiter is None else {"delimiter": delimiter}
        if limit is not None:
            arguments["maxsplit"] = limit
        cases.add(f"split_{number}", "StringSplit", [STRING, INT], [rows], oracle="ref", domain="", **arguments)
    words = ["Äpfel ÜBER", "straße", "ΛΌΓΟΣ", "Привет МИР", "Tiếng Việt ẾẺ", "ﬀ İı", "ｆｕｌｌ", "日本 aZ", "𐐀"]
    for action, change in (("LOWER", str.lower), ("UPPER", str.upper)):

        def changed(character):
            result = change(character)
            same = len(result) == 1 and len(result.encode()) == len(character.encode()) < 4
            return result if same else character

        found = strings(*["".join(map(changed, word)) for word in words])
        arguments = {"oracle": [found], "domain": "", "case_change_action": action}
        cases.add(f"case_{action}", "StringNormalizer", [STRING], [strings(*words)], **arguments)
    tokens = strings("The", "fox", "AND", "the", "dog")
    stop = {"stopwords": ["the", "And"], "domain": ""}
    cases.add("stopwords", "StringNormalizer", [STRING], [tokens], oracle=[strings("fox", "dog")], **stop)
    found = strings("THE", "FOX", "AND", "DOG")
    arguments = {"is_case_sensitive": 1, "case_change_action": "UPPER", "oracle": [found]}
    cases.add("stopwords_exactly", "StringNormalizer", [STRING], [tokens], **arguments, **stop)


def grams(cases, rng):
    x = rng.integers(0, 5, (3, 9)).astype(np.int64)
    for mode in ("TF", "IDF", "TFIDF"):
        for skips in (0, 2):
            cases.add(
                f"grams_{mode}_{skips}",
                "TfIdfVectorizer",
                [FLOAT],
                [x],
                domain="",
                min_gram_length=1,
                max_gram_length=3,
                max_skip_count=skips,
                ngram_counts=[0, 3, 9],
                ngram_indexes=[0, 1, 2, 5, 3, 4, 6, 7],
                pool_int64s=[1, 2, 3] + [1, 2, 2, 2, 3, 4] + [1, 2, 3, 2, 2, 2],
                mode=mode,
                weights=[0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0],
            )
    cases.add(
        "grams_of_words",
        "TfIdfVectorizer",
        [FLOAT],
        [strings("a", "b", "c", "a", "b")],
        domain="",
        min_gram_length=1,
        max_gram_length=2,
        max_skip_count=1,
        ngram_counts=[0, 2],
        ngram_indexes=[0, 1, 2, 3],
        pool_strings=["a", "c", "a", "b", "b", "a"],
        mode="TF",
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    ort.set_default_logger_severity(4)
    cases, rng = Cases(), np.random.default_rng(7)
    features(cases, rng)
    linear(cases, rng)
    vectors(cases, rng)
    trees(cases, rng)
    encoders(cases)
    text(cases)
    grams(cases, rng)
    cases.write(arguments.archive)
    print(len(cases.index), "cases")


if __name__ == "__main__":
    main()
