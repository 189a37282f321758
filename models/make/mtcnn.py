"""The three MTCNN networks as ONNX, from the state dictionaries in the Python package facenet-pytorch.

Promises: the same numbers as the PyTorch modules for every picture size. Two things are written differently:
 - PyTorch pools with ceil_mode. At the sizes that occur (even maps before a 2x2 or 3x3 window at stride 2) this is
   floor pooling with one row and one column of padding at the end, which small runtimes support.
 - PyTorch permutes to [N, W, H, C] before the first dense layer. Here the columns of that layer's weight are put
   into the order [C, H, W], so that a plain Flatten is right.
"""

from __future__ import annotations

from pathlib import Path
from typing import Mapping

import numpy as np

from onnx_graph import Graph

PIXELS = "RGB, NCHW, (x-127.5)/128; "

State = Mapping[str, np.ndarray]


class _Layers:
    """Adds layers by the name that they have in the state dictionary."""

    def __init__(self, state: State) -> None:
        self.graph = Graph()
        self._state = state

    def conv(self, x: str, layer: str, output: str | None = None) -> str:
        return self.graph.conv(x, layer, self._state[f"{layer}.weight"], self._state[f"{layer}.bias"], output)

    def conv_prelu(self, x: str, number: int) -> str:
        return self.prelu(self.conv(x, f"conv{number}"), number)

    def prelu(self, x: str, number: int, rank: int = 4) -> str:
        return self.graph.prelu(x, f"prelu{number}", self._state[f"prelu{number}.weight"], rank=rank)

    def dense(self, x: str, layer: str, output: str | None = None) -> str:
        return self.graph.gemm(x, layer, self._state[f"{layer}.weight"], self._state[f"{layer}.bias"], output)

    def dense_of_map(self, x: str, layer: str, channels: int, height: int, width: int) -> str:
        weight = self._state[f"{layer}.weight"]
        by_channel = weight.reshape(-1, width, height, channels).transpose(0, 3, 2, 1).reshape(len(weight), -1)
        return self.graph.gemm(self.graph.flatten(x, "flat"), layer, by_channel, self._state[f"{layer}.bias"])


def write_pnet(state: State, path: Path) -> None:
    """Proposals, fully convolutional: [N,3,H,W] with H, W >= 12."""
    net = _Layers(state)
    x = net.graph.max_pool(net.conv_prelu("input", 1), "pool1", 2, 1)
    x = net.conv_prelu(net.conv_prelu(x, 2), 3)
    net.graph.softmax(net.conv(x, "conv4_1"), "prob")
    net.conv(x, "conv4_2", "reg")
    net.graph.save(path, "pnet", ["N", 3, "H", "W"], [("prob", ["N", 2, "h", "w"]), ("reg", ["N", 4, "h", "w"])],
                   PIXELS + "prob[:,1] = face, reg = x1,y1,x2,y2 offsets; stride 2, cell 12")


def write_rnet(state: State, path: Path) -> None:
    """Refinement of 24x24 candidates."""
    net = _Layers(state)
    x = net.graph.max_pool(net.conv_prelu("input", 1), "pool1", 3, 1)  # 24 -> 22 -> 11
    x = net.graph.max_pool(net.conv_prelu(x, 2), "pool2", 3, 0)  # 9 -> 4
    x = net.conv_prelu(x, 3)  # 3
    x = net.prelu(net.dense_of_map(x, "dense4", 64, 3, 3), 4, rank=2)
    net.graph.softmax(net.dense(x, "dense5_1"), "prob")
    net.dense(x, "dense5_2", "reg")
    net.graph.save(path, "rnet", ["N", 3, 24, 24], [("prob", ["N", 2]), ("reg", ["N", 4])],
                   PIXELS + "prob[:,1] = face")


def write_onet(state: State, path: Path) -> None:
    """Output on 48x48 candidates: face or not, box, five landmarks."""
    net = _Layers(state)
    x = net.graph.max_pool(net.conv_prelu("input", 1), "pool1", 3, 1)  # 48 -> 46 -> 23
    x = net.graph.max_pool(net.conv_prelu(x, 2), "pool2", 3, 0)  # 21 -> 10
    x = net.graph.max_pool(net.conv_prelu(x, 3), "pool3", 2, 0)  # 8 -> 4
    x = net.conv_prelu(x, 4)  # 3
    x = net.prelu(net.dense_of_map(x, "dense5", 128, 3, 3), 5, rank=2)
    net.graph.softmax(net.dense(x, "dense6_1"), "prob")
    net.dense(x, "dense6_2", "reg")
    net.dense(x, "dense6_3", "landmark")
    net.graph.save(path, "onet", ["N", 3, 48, 48],
                   [("prob", ["N", 2]), ("reg", ["N", 4]), ("landmark", ["N", 10])],
                   PIXELS + "prob[:,1] = face; landmark = x0..x4,y0..y4 relative to the box "
                   "(eyes, nose, mouth corners)")
