"""Writes the ONNX files of this folder: one graph, one input, float32, operator set 13, IR 8.

Promises: the same calls give the same bytes. The order of the calls, every name and PRODUCER are in the file, and
the file's hash is in the manifest, so a change here changes the hash of every network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPERATOR_SET = 13
IR_VERSION = 8
PRODUCER = "models/convert"

Shape = Sequence[int | str]


class Graph:
    """Nodes in the order they are added. Each method returns the name of what its node puts out."""

    def __init__(self) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []

    def conv(self, x: str, name: str, weight: np.ndarray, bias: np.ndarray, output: str | None = None,
             *, stride: int = 1, pads: Sequence[int] = (0, 0, 0, 0), **attributes: Any) -> str:
        """Weight [out, in / group, kh, kw]; `attributes` are ONNX's `group` and `dilations`."""
        inputs = [x, self._weight(f"{name}.w", weight), self._weight(f"{name}.b", bias)]
        return self._node("Conv", inputs, name, output, kernel_shape=list(weight.shape[2:]),
                          strides=[stride, stride], pads=list(pads), **attributes)

    def prelu(self, x: str, name: str, slope: np.ndarray, *, rank: int = 4) -> str:
        """One slope a channel, for a map [N, C, H, W] (rank 4) or a vector [N, C] (rank 2)."""
        shaped = slope.reshape(-1, 1, 1) if rank == 4 else slope.reshape(1, -1)
        return self._node("PRelu", [x, self._weight(f"{name}.slope", shaped)], name)

    def gemm(self, x: str, name: str, weight: np.ndarray, bias: np.ndarray, output: str | None = None) -> str:
        """Weight [out, in]."""
        inputs = [x, self._weight(f"{name}.w", weight), self._weight(f"{name}.b", bias)]
        return self._node("Gemm", inputs, name, output, transB=1)

    def max_pool(self, x: str, name: str, size: int, end_padding: int) -> str:
        """Stride 2; `end_padding` rows and columns at the bottom and the right."""
        return self._node("MaxPool", [x], name, kernel_shape=[size, size], strides=[2, 2],
                          pads=[0, 0, end_padding, end_padding])

    def add(self, x: str, y: str, name: str) -> str:
        return self._node("Add", [x, y], name)

    def flatten(self, x: str, name: str) -> str:
        return self._node("Flatten", [x], name, axis=1)

    def softmax(self, x: str, name: str) -> str:
        """Over the channels."""
        return self._node("Softmax", [x], name, axis=1)

    def save(self, path: Path, name: str, input_shape: Shape, outputs: Sequence[tuple[str, Shape]], doc: str) -> None:
        """Checks the graph, shapes included, and writes it."""
        infos = [helper.make_tensor_value_info(out, TensorProto.FLOAT, list(shape)) for out, shape in outputs]
        source = helper.make_tensor_value_info("input", TensorProto.FLOAT, list(input_shape))
        graph = helper.make_graph(self._nodes, name, [source], infos, self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPERATOR_SET)],
                                  producer_name=PRODUCER, ir_version=IR_VERSION)
        model.doc_string = doc
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)

    def _weight(self, name: str, values: np.ndarray) -> str:
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
        return name

    def _node(self, operator: str, inputs: list[str], name: str, output: str | None = None, **attributes: Any) -> str:
        output = output or name
        self._nodes.append(helper.make_node(operator, inputs, [output], name=name, **attributes))
        return output
