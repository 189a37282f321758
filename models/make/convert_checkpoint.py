"""Converts a PyTorch MobileFaceNet checkpoint to ONNX and prints its manifest entry.

Takes: the layout of the repository InsightFace_Pytorch (TreB1eN), any embedding length, in either container of
torch.save, the dictionary itself or one under "state_dict", its keys with or without "module." in front.
Promises: no code of the checkpoint is run; nothing is written unless every tensor of the layout is there, with its
shape, and nothing is left over. Batch normalisation is folded in float64. The output is not L2-normalised (the
layout's own last step): who compares embeddings normalises them.
Does not: measure anything. The entry has no calibration.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import torch_checkpoint
from onnx_graph import Graph

BN_EPSILON = 1e-5  # PyTorch's default, which the layout keeps
MEAN = 127.5
SCALE = 1 / 127.5  # ToTensor and Normalize(0.5, 0.5): (x / 255 - 0.5) / 0.5
ALIGNMENT = "[[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
BN_KEYS = ("weight", "bias", "running_mean", "running_var")
LISTED_MAX = 8
FEATURES = 512  # what the layer `linear` sees

Tensors = dict[str, np.ndarray]


class LayoutError(Exception):
    """The checkpoint is not a MobileFaceNet of the layout; the text names the keys and says what to do."""


@dataclass(frozen=True)
class Convolution:
    """One convolution with its batch normalisation, under `prefix` in the checkpoint."""

    prefix: str
    inputs: int
    outputs: int
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    depthwise: bool = False
    activated: bool = True

    def shapes(self) -> dict[str, tuple[int, ...]]:
        width = 1 if self.depthwise else self.inputs
        found: dict[str, tuple[int, ...]] = {
            f"{self.prefix}.conv.weight": (self.outputs, width, self.kernel, self.kernel)}
        found |= {f"{self.prefix}.bn.{key}": (self.outputs,) for key in BN_KEYS}
        return found | ({f"{self.prefix}.prelu.weight": (self.outputs,)} if self.activated else {})


@dataclass(frozen=True)
class Block:
    """Convolutions in a row; a residual block adds its input to its output."""

    parts: tuple[Convolution, ...]
    residual: bool = False


def _bottleneck(prefix: str, inputs: int, inner: int, outputs: int, stride: int) -> Block:
    return Block((
        Convolution(f"{prefix}.conv", inputs, inner),
        Convolution(f"{prefix}.conv_dw", inner, inner, 3, stride, 1, depthwise=True),
        Convolution(f"{prefix}.project", inner, outputs, activated=False),
    ), residual=stride == 1)


def _residuals(prefix: str, count: int, width: int, inner: int) -> list[Block]:
    return [_bottleneck(f"{prefix}.model.{i}", width, inner, width, 1) for i in range(count)]


LAYOUT: list[Block] = [
    Block((Convolution("conv1", 3, 64, 3, 2, 1),)),
    Block((Convolution("conv2_dw", 64, 64, 3, 1, 1, depthwise=True),)),
    _bottleneck("conv_23", 64, 128, 64, 2),
    *_residuals("conv_3", 4, 64, 128),
    _bottleneck("conv_34", 64, 256, 128, 2),
    *_residuals("conv_4", 6, 128, 256),
    _bottleneck("conv_45", 128, 512, 128, 2),
    *_residuals("conv_5", 2, 128, 256),
    Block((Convolution("conv_6_sep", 128, FEATURES),)),
    Block((Convolution("conv_6_dw", FEATURES, FEATURES, 7, depthwise=True, activated=False),)),
]


def tensors_of(checkpoint: dict[str, object]) -> Tensors:
    """The network's tensors: out of "state_dict" if there is one, without "module." and without step counters."""
    inner = checkpoint.get("state_dict", checkpoint)
    if not isinstance(inner, dict):
        raise LayoutError("the checkpoint's \"state_dict\" is not a dictionary. Save model.state_dict() itself.")
    return {key.removeprefix("module."): value for key, value in inner.items()
            if not key.endswith(".num_batches_tracked")}


def check(tensors: Tensors) -> int:
    """The embedding length, if `tensors` are the layout's, all of them and no other."""
    if any(key.startswith("prob.") for key in tensors):
        raise LayoutError("the checkpoint has a layer `prob`: it is a MiniFASNet, a liveness network that classifies, "
                          "not a face embedding. This command does not convert it; see models/cards/liveness.md for "
                          "what the liveness slot takes.")
    length = len(tensors["linear.weight"]) if np.ndim(tensors.get("linear.weight")) == 2 else 0
    expected = {key: shape for block in LAYOUT for part in block.parts for key, shape in part.shapes().items()}
    expected |= {"linear.weight": (length, FEATURES)} | {f"bn.{key}": (length,) for key in BN_KEYS}
    missing = [key for key in expected if key not in tensors]
    left_over = [key for key in tensors if key not in expected]
    misshapen = [f"{key} {np.shape(tensors[key])} for {shape}" for key, shape in expected.items()
                 if key in tensors and np.shape(tensors[key]) != shape]
    faults = [f"{what}: {_listed(keys)}" for what, keys in
              (("missing", missing), ("left over", left_over), ("of another shape", misshapen)) if keys]
    if faults:
        raise LayoutError("not the MobileFaceNet of InsightFace_Pytorch; " + "; ".join(faults) +
                          ". If it is another network, export it to ONNX with its own code and write the manifest "
                          "entry by hand; if a key is only named otherwise, rename it in PyTorch and save again.")
    broken = [key for key in expected if not np.isfinite(tensors[key]).all()]
    if broken:
        raise LayoutError(f"numbers that are not finite in: {_listed(broken)}. Take a checkpoint from before the "
                          "training went wrong.")
    return length


def write(tensors: Tensors, path: Path) -> None:
    """The ONNX file of checked tensors."""
    graph, x = Graph(), "input"
    for block in LAYOUT:
        start = x
        for part in block.parts:
            x = _convolution(graph, x, part, tensors)
        if block.residual:
            x = graph.add(start, x, block.parts[0].prefix.removesuffix(".conv") + ".add")
    factor, shift = _folded(tensors, "bn")
    weight = tensors["linear.weight"].astype(np.float64) * factor[:, None]
    graph.gemm(graph.flatten(x, "flat"), "linear", weight, shift, "embedding")
    graph.save(path, "mobilefacenet", ["N", 3, 112, 112], [("embedding", ["N", len(weight)])],
               f"MobileFaceNet {len(weight)}-d; NCHW, (x-127.5)/127.5, 112x112 five-point aligned; "
               "output is not L2-normalised")


def _convolution(graph: Graph, x: str, part: Convolution, tensors: Tensors) -> str:
    factor, shift = _folded(tensors, f"{part.prefix}.bn")
    weight = tensors[f"{part.prefix}.conv.weight"].astype(np.float64) * factor[:, None, None, None]
    x = graph.conv(x, part.prefix, weight, shift, stride=part.stride, pads=[part.padding] * 4,
                   group=part.inputs if part.depthwise else 1, dilations=[1, 1])
    return graph.prelu(x, f"{part.prefix}.prelu", tensors[f"{part.prefix}.prelu.weight"]) if part.activated else x


def _folded(tensors: Tensors, prefix: str) -> tuple[np.ndarray, np.ndarray]:
    """Batch normalisation as y = factor * x + shift."""
    weight, bias, mean, variance = (tensors[f"{prefix}.{key}"].astype(np.float64) for key in BN_KEYS)
    factor = weight / np.sqrt(variance + BN_EPSILON)
    return factor, bias - mean * factor


def manifest_entry(arguments: argparse.Namespace, name: str, length: int) -> str:
    """The [[network]] table for models/manifest.toml."""
    digest = hashlib.sha256(arguments.out.read_bytes()).hexdigest()
    source = hashlib.sha256(arguments.checkpoint.read_bytes()).hexdigest()
    pixels = f'colour = "{arguments.colour}", mean = {MEAN}, scale = {SCALE:.15g}'
    origin = arguments.origin or f"converted from {arguments.checkpoint.name}, sha256 {source}"
    return f"""[[network]]
name = {_quoted(name)}
role = "embedding"
version = "1"
file = {_quoted(arguments.out.name)}
sha256 = "{digest}"
licence = {_quoted(arguments.licence)}
origin = {_quoted(origin)}
card = {_quoted(f"cards/{name}.md")}
input = {{ name = "input", shape = ["N", 3, 112, 112], {pixels} }}
outputs = [{{ name = "embedding", shape = ["N", {length}] }}]
embedding_length = {length}
alignment = {ALIGNMENT}
# No calibration yet: the threshold of another network does not hold for this one.
# `edge-agent evaluate` measures one on pictures of known people."""


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _listed(keys: list[str]) -> str:
    more = f" and {len(keys) - LISTED_MAX} more" if len(keys) > LISTED_MAX else ""
    return ", ".join(keys[:LISTED_MAX]) + more


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter,
                                     epilog="convert_checkpoint.sh --help explains each option.")
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT.pth")
    parser.add_argument("out", type=Path, metavar="OUT.onnx")
    parser.add_argument("--name")
    parser.add_argument("--licence", metavar="TEXT", default="not stated")
    parser.add_argument("--origin", metavar="TEXT")
    parser.add_argument("--colour", choices=("RGB", "BGR"), default="BGR")
    return parser.parse_args()


def main() -> int:
    arguments = _arguments()
    name = arguments.name or arguments.out.stem
    try:
        if not NAME.fullmatch(name):
            raise LayoutError(f"the name {name!r} is not made of 1 to 64 letters, digits, dots, dashes and "
                              "underscores; give another with --name.")
        tensors = tensors_of(torch_checkpoint.read(arguments.checkpoint))
        length = check(tensors)
        write(tensors, arguments.out)
        print(manifest_entry(arguments, name, length))
    except OSError as error:
        print(f"convert_checkpoint: {error}", file=sys.stderr)
        return 1
    except (LayoutError, torch_checkpoint.CheckpointError) as error:
        print(f"convert_checkpoint: {arguments.checkpoint}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
