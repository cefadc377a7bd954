"""Runs a model with an engine that has a binding for Python, and times it when told to.

    python worker.py ENGINE MODEL INPUTS.npz OUTPUTS.npz THREADS

Loads the model for the shapes of the inputs, runs it once, writes the outputs and prints `ready VERSION`. For each line
`WARM RUNS` of the standard input it then runs the model WARM times, and RUNS times with a clock, and prints these times
in nanoseconds on one line. Between lines it waits for the next one and computes nothing.

Inputs are handed over and outputs are given room once, before the first run, so that a timed call is little more than
the engine's own work.
"""

import os
import sys
import time

import numpy as np


def onnxruntime(path, inputs, threads, _activations):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Symbolic dimensions get their sizes, so that shapes are known when the session optimizes the graph.
    probe = ort.SessionOptions()
    probe.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    probe.log_severity_level = 4
    declared = ort.InferenceSession(path, probe, providers=["CPUExecutionProvider"]).get_inputs()
    sizes = {}
    for port in declared:
        for dim, size in zip(port.shape, inputs[port.name].shape):
            if isinstance(dim, str):
                sizes.setdefault(dim, set()).add(size)
    for dim, found in sizes.items():
        # Some models call all of their dimensions `?`.
        if len(found) == 1:
            options.add_free_dimension_override_by_name(dim, found.pop())
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    for port in session.get_inputs():
        binding.bind_cpu_input(port.name, np.ascontiguousarray(inputs[port.name]))
    names = [port.name for port in session.get_outputs()]
    for name in names:
        binding.bind_output(name, "cpu")

    def run():
        session.run_with_iobinding(binding)

    def outputs():
        return dict(zip(names, binding.copy_outputs_to_cpu()))

    return ort.__version__, run, outputs


def openvino(path, inputs, threads, activations):
    import openvino as ov
    from openvino._pyopenvino import InferRequest

    core = ov.Core()
    model = core.read_model(path)
    model.reshape({port: list(inputs[_name(port, inputs)].shape) for port in model.inputs})
    compiled = core.compile_model(
        model,
        "CPU",
        {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            # The others compute in float32, too.
            "INFERENCE_PRECISION_HINT": "f32",
            # Unless they may round what they multiply with quantized weights, in groups of as many as by default.
            **({} if activations == "int8" else {"DYNAMIC_QUANTIZATION_GROUP_SIZE": 0}),
        },
    )
    request = compiled.create_infer_request()
    tensors = []
    for index, port in enumerate(compiled.inputs):
        # A copy that the tensor shares, because an array that a file holds may be read-only.
        array = np.array(inputs[_name(port, inputs)], order="C")
        tensors.append(ov.Tensor(array, shared_memory=array.ndim > 0))
        request.set_input_tensor(index, tensors[-1])
    # The method of the class below `ov.InferRequest`, which does not look at inputs that are there already.
    infer = InferRequest.infer

    def run():
        infer(request, {}, True, False)

    def outputs():
        found = {}
        for index, port in enumerate(compiled.outputs):
            array = np.array(request.get_output_tensor(index).data)
            # All names of the port, among which is the model's own one.
            found.update((name, array) for name in port.get_names())
        return found

    # The request does not keep the memory of its inputs alive.
    run.tensors = tensors
    return ov.__version__.split("-")[0], run, outputs


def _name(port, inputs):
    """The name of a port that the inputs know: a model's own one is not always the first."""
    return next(name for name in port.get_names() if name in inputs)


def main():
    engine, model, inputs, outputs, threads, activations = sys.argv[1:]
    # What an engine prints is none of the conversation.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(line):
        answers.write(line + "\n")
        answers.flush()

    load = {"onnxruntime": onnxruntime, "openvino": openvino}[engine]
    try:
        with np.load(inputs) as archive:
            arrays = dict(archive)
        version, run, results = load(model, arrays, int(threads), activations)
        run()
        np.savez(outputs, **results())
    except Exception as error:  # Whatever it is, the driver shows it and goes on.
        answer("error " + " ".join(str(error).split())[:300])
        return
    answer(f"ready {version}")
    clock = time.perf_counter_ns
    for line in sys.stdin:
        warm, runs = map(int, line.split())
        for _ in range(warm):
            run()
        times = []
        for _ in range(runs):
            start = clock()
            run()
            times.append(clock() - start)
        answer(" ".join(map(str, times)))


main()
