"""Programs that people use as they come: facenet-pytorch with torch, and face_recognition with dlib."""

import importlib.metadata
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
from facenet_pytorch import MTCNN

from engines import FILES, ms_since
from mtcnn import Costs, align, decode

MTCNN_NETS = {"propose": "pnet", "refine": "rnet", "output": "onet"}


class TorchEmbedding:
    """The embedding network of models/ in torch, node by node."""

    def __init__(self, models: Path):
        graph = onnx.load(models / FILES["embed"]).graph
        self.weights = {w.name: torch.from_numpy(onnx.numpy_helper.to_array(w).copy()) for w in graph.initializer}
        self.nodes = [
            (n.op_type, list(n.input), n.output[0], {a.name: onnx.helper.get_attribute_value(a) for a in n.attribute})
            for n in graph.node
        ]
        for kind, inputs, _, _ in self.nodes:
            if kind == "PRelu":
                self.weights[inputs[1]] = self.weights[inputs[1]].flatten()

    @torch.inference_mode()
    def run(self, x: np.ndarray):
        values = dict(self.weights, input=torch.from_numpy(x))
        start = time.thread_time_ns()
        for kind, inputs, output, options in self.nodes:
            values[output] = torch_node(kind, [values[i] for i in inputs], options)
        return values["embedding"].numpy(), ms_since(start)


def torch_node(kind, inputs, options):
    if kind == "Conv":
        x, weight, bias = inputs
        top, left, bottom, right = options["pads"]
        if (top, left) == (bottom, right):
            padding = (top, left)
        else:
            x, padding = torch.nn.functional.pad(x, (left, right, top, bottom)), 0
        return torch.conv2d(x, weight, bias, options["strides"], padding, 1, options.get("group", 1))
    if kind == "PRelu":
        return torch.prelu(*inputs)
    if kind == "Add":
        return inputs[0] + inputs[1]
    if kind == "Flatten":
        return inputs[0].flatten(1)
    if kind == "Gemm" and options.get("transB"):
        return torch.nn.functional.linear(*inputs)
    raise SystemExit(f"the embedding network has a new kind of node, {kind}; add it to tests/peers/whole.py")


class Facenet:
    """facenet-pytorch's MTCNN.detect as it is, alignment by OpenCV, and an embedding by torch or by an engine."""

    def __init__(self, min_face: int, embed):
        self.mtcnn = MTCNN(min_face_size=min_face, keep_all=True, post_process=False, device="cpu")
        self.embed, self.costs, self.seen, self.inputs = embed, Costs(), Counter(), None
        for net, name in MTCNN_NETS.items():
            self.time_net(net, getattr(self.mtcnn, name))

    def time_net(self, net, module):
        """Adds what the network itself takes to the step `net`, while detect runs."""
        def begin(_, inputs):
            self.seen[net] += 0 if net == "propose" else len(inputs[0])
            self.start_ns = time.thread_time_ns()

        def end(_, inputs, outputs):
            self.costs.ms[net] += ms_since(self.start_ns)
            if self.inputs is not None:
                self.inputs.append((net, inputs[0].numpy(), outputs))

        module.register_forward_pre_hook(begin)
        module.register_forward_hook(end)

    def frame(self, encoded: bytes):
        self.costs, self.seen = Costs(), Counter(refine=0, output=0)
        with self.costs.step("decode"):
            image = decode(encoded)
            rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        with self.costs.step("detect"):
            boxes, _, points = self.mtcnn.detect(rgb, landmarks=True)
        boxes, points = (np.zeros((0, 4)), []) if boxes is None else (boxes, points)
        for at in points:
            with self.costs.step("align"):
                face = align(image, np.asarray(at, float))
                blob = cv2.dnn.blobFromImage(face, 1 / 128, (112, 112), (127.5,) * 3, swapRB=True)
            self.costs.ms["embed"] += self.embed(blob)[1]
        self.seen["faces"] = len(boxes)
        return boxes, points, None


class FaceRecognition:
    """face_recognition's two calls with what they default to: HOG on the doubled picture, then 128 numbers."""

    def __init__(self):
        import dlib
        import face_recognition

        self.library = face_recognition
        version = importlib.metadata.version
        self.version = f"face_recognition {version('face_recognition')}, dlib {dlib.__version__}"
        self.costs, self.seen = Costs(), Counter()

    def frame(self, encoded: bytes):
        self.costs, self.seen = Costs(), Counter()
        with self.costs.step("decode"):
            rgb = cv2.cvtColor(decode(encoded), cv2.COLOR_BGR2RGB)
        with self.costs.step("detect"):
            places = self.library.face_locations(rgb)
        with self.costs.step("embed"):
            self.library.face_encodings(rgb, places)
        self.seen["faces"] = len(places)
        return places, None, None
