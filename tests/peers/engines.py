"""What runs the four networks: onnxruntime, ncnn and OpenCV dnn, each on one thread, from the files of models/.

An engine's `run(net, input)` takes NCHW float32 and gives numpy outputs in the order of OUTPUTS, and the milliseconds
of this thread's processor time that the engine itself took: copies into and out of numpy are left out where the
engine's interface allows it.
"""

import importlib.util
import re
import subprocess
import time
from pathlib import Path

import cv2
import ncnn
import numpy as np
import onnxruntime

FILES = {
    "propose": "mtcnn_pnet.onnx",
    "refine": "mtcnn_rnet.onnx",
    "output": "mtcnn_onet.onnx",
    "embed": "mobilefacenet_128.onnx",
}
OUTPUTS = {
    "propose": ["prob", "reg"],
    "refine": ["prob", "reg"],
    "output": ["prob", "reg", "landmark"],
    "embed": ["embedding"],
}
CHANNELS = {"prob": 2, "reg": 4, "landmark": 10, "embedding": 128}
# Sizes to convert for; two for the network whose size is free.
SHAPES = {
    "propose": ["[1,3,60,80]", "[1,3,43,57]"],
    "refine": ["[1,3,24,24]"],
    "output": ["[1,3,48,48]"],
    "embed": ["[1,3,112,112]"],
}


def ms_since(start_ns: int) -> float:
    return (time.thread_time_ns() - start_ns) / 1e6


class OnnxRuntime:
    version = f"onnxruntime {onnxruntime.__version__}, 1 thread, CPU provider, batches"

    def __init__(self, models: Path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.sessions = {
            net: onnxruntime.InferenceSession(models / file, options, providers=["CPUExecutionProvider"])
            for net, file in FILES.items()
        }

    def run(self, net, x):
        session, outputs = self.sessions[net], OUTPUTS[net]
        start = time.thread_time_ns()
        found = session.run(outputs, {"input": x})
        return found, ms_since(start)


class OpenCv:
    version = f"OpenCV {cv2.__version__} dnn, 1 thread, batches, one P-Net for each size of input"

    def __init__(self, models: Path):
        self.models, self.nets = models, {}

    def run(self, net, x):
        # Another size of picture would make a network allocate anew; another number of candidates is part of the work.
        key = (net, x.shape[2:])
        if key not in self.nets:
            loaded = cv2.dnn.readNetFromONNX(str(self.models / FILES[net]))
            self.nets[key] = (loaded, loaded.getUnconnectedOutLayersNames())
        loaded, names = self.nets[key]
        start = time.thread_time_ns()
        loaded.setInput(x)
        found = loaded.forward(names)
        ms = ms_since(start)
        # The names are those of layers, in no stated order; the outputs differ in their number of channels.
        by_channels = {one.shape[1]: one for one in found}
        return [by_channels[CHANNELS[name]] for name in OUTPUTS[net]], ms


class Ncnn:
    """Candidates one by one: ncnn has no batches."""

    def __init__(self, folder: Path, half: bool):
        kind = "fp16 options on, its default" if half else "fp16 options off"
        self.version = f"ncnn {ncnn.__version__}, num_threads 1, {kind}, fp32 weights, converted by pnnx"
        self.nets = {}
        for net in FILES:
            loaded = ncnn.Net()
            loaded.opt.num_threads = 1
            if not half:
                for option in ("use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic"):
                    setattr(loaded.opt, option, False)
            if loaded.load_param(str(folder / f"{net}.param")) or loaded.load_model(str(folder / f"{net}.bin")):
                raise SystemExit(f"ncnn cannot load {net}")
            self.nets[net] = loaded

    def run(self, net, x):
        loaded, names = self.nets[net], [f"out{i}" for i in range(len(OUTPUTS[net]))]
        inputs = [ncnn.Mat(np.ascontiguousarray(one)) for one in x]
        found, start = [], time.thread_time_ns()
        for one in inputs:
            extractor = loaded.create_extractor()
            extractor.input("in0", one)
            found.append([extractor.extract(name)[1] for name in names])
        ms = ms_since(start)
        return [np.stack([np.array(one[i]) for one in found]) for i in range(len(names))], ms


def convert_for_ncnn(models: Path, folder: Path):
    """Writes NET.param and NET.bin of the four networks into `folder`."""
    # The program inside the package: the Python side of it would import torch first.
    pnnx = Path(importlib.util.find_spec("pnnx").submodule_search_locations[0]) / "pnnx"
    for net, file in FILES.items():
        source = folder / f"{net}.onnx"
        source.write_bytes((models / file).read_bytes())
        shapes = [f"{key}={shape}" for key, shape in zip(("inputshape", "inputshape2"), SHAPES[net])]
        done = subprocess.run([pnnx, source, "fp16=0", *shapes], cwd=folder, capture_output=True, text=True)
        param, weights = folder / f"{net}.ncnn.param", folder / f"{net}.ncnn.bin"
        if done.returncode or not param.exists():
            raise SystemExit(f"pnnx cannot convert {file}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        (folder / f"{net}.param").write_text(without_padding(param.read_text()))
        weights.rename(folder / f"{net}.bin")


def without_padding(param: str) -> str:
    """Takes out the padding that pnnx puts before each pooling with ceil_mode.

    ncnn's pooling with `5=0` rounds up by itself. With the padding too, inputs of even size get a row more than they
    should, made of padding alone.
    """
    magic, _, *layers = param.splitlines()
    source_of, kept, blobs = {}, [], set()
    for layer in layers:
        words = layer.split()
        if words[0] == "Padding":
            source_of[words[5]] = words[4]
            continue
        inputs, outputs = int(words[2]), int(words[3])
        words[4 : 4 + inputs] = [source_of.get(blob, blob) for blob in words[4 : 4 + inputs]]
        blobs.update(words[4 : 4 + inputs + outputs])
        kept.append(" ".join(words))
    if any(re.search(r"^Pooling .* 5=(?![01]\b)", layer) for layer in kept):
        raise SystemExit("pnnx writes poolings in another way now; look at without_padding")
    return "\n".join([magic, f"{len(kept)} {len(blobs)}", *kept]) + "\n"
