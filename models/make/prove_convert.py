"""Proves convert_checkpoint.py against PyTorch, and that it refuses what it must.

Promises: exit status 0 only if, for embeddings of 128 and 512 numbers, from both containers of torch.save, bare and
nested under "state_dict" with "module.", alone and three at a time, ONNX Runtime gives what PyTorch gives within
TOLERANCE of the largest number; and if every case of REFUSALS ends with exit status 1, the words it must name, no
output file and no code of the checkpoint run. The network here is written from the key names of the layout, not
from the converter's table. Weights and statistics are random, the same at every run: it needs no trained network.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any, Callable

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

CONVERTER = Path(__file__).with_name("convert_checkpoint.py")
TOLERANCE = 1e-4  # float32 over 50 layers, summed in another order
OUTPUT_MIN, OUTPUT_MAX = 0.1, 100.0  # a network whose output dies or explodes proves nothing
OPERATORS = {"Conv", "PRelu", "Add", "Flatten", "Gemm"}
SEED = 20

State = dict[str, torch.Tensor]


class ConvBn(nn.Module):
    """Convolution, batch normalisation and, unless linear, PReLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, padding: int = 0,
                 groups: int = 1, linear: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)
        if not linear:
            self.prelu = nn.PReLU(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.bn(self.conv(x))
        return self.prelu(x) if hasattr(self, "prelu") else x


class Bottleneck(nn.Module):
    """Widens, convolves each channel, narrows; at stride 1 between equal widths it is residual if asked."""

    def __init__(self, inputs: int, inner: int, outputs: int, stride: int, residual: bool) -> None:
        super().__init__()
        self.conv = ConvBn(inputs, inner)
        self.conv_dw = ConvBn(inner, inner, 3, stride, 1, groups=inner)
        self.project = ConvBn(inner, outputs, linear=True)
        self.residual = residual

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.project(self.conv_dw(self.conv(x)))
        return x + y if self.residual else y


class Residuals(nn.Module):
    def __init__(self, count: int, width: int, inner: int) -> None:
        super().__init__()
        self.model = nn.Sequential(*(Bottleneck(width, inner, width, 1, True) for _ in range(count)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x)


class MobileFaceNet(nn.Module):
    """As the key names of InsightFace_Pytorch say, but for the normalisation of the output at the end."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.conv1 = ConvBn(3, 64, 3, 2, 1)
        self.conv2_dw = ConvBn(64, 64, 3, 1, 1, groups=64)
        self.conv_23 = Bottleneck(64, 128, 64, 2, False)
        self.conv_3 = Residuals(4, 64, 128)
        self.conv_34 = Bottleneck(64, 256, 128, 2, False)
        self.conv_4 = Residuals(6, 128, 256)
        self.conv_45 = Bottleneck(128, 512, 128, 2, False)
        self.conv_5 = Residuals(2, 128, 256)
        self.conv_6_sep = ConvBn(128, 512)
        self.conv_6_dw = ConvBn(512, 512, 7, groups=512, linear=True)
        self.linear = nn.Linear(512, length, bias=False)
        self.bn = nn.BatchNorm1d(length)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv_3(self.conv_23(self.conv2_dw(self.conv1(x))))
        x = self.conv_5(self.conv_45(self.conv_4(self.conv_34(x))))
        return self.bn(self.linear(torch.flatten(self.conv_6_dw(self.conv_6_sep(x)), 1)))


def random_network(length: int) -> MobileFaceNet:
    """Every tensor random, statistics and slopes too, scaled so that a signal neither dies nor explodes."""
    torch.manual_seed(SEED + length)
    network = MobileFaceNet(length).eval()
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, a=0.25)
        elif isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0.05, 0.5)
        elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            strength = 0.3 if ".project." in name else 1.0
            nn.init.uniform_(module.weight, 0.5 * strength, 1.5 * strength)
            nn.init.normal_(module.bias, 0.0, 0.2)
            nn.init.normal_(module.running_mean, 0.0, 0.3)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return network


def convert(checkpoint: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CONVERTER), str(checkpoint), str(out), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def prove_numbers(folder: Path) -> list[float]:
    """Converts every variant, prints its worst difference, and returns them all."""
    worst: list[float] = []
    for length in (128, 512):
        network = random_network(length)
        nested = {"epoch": 3, "state_dict": {f"module.{key}": value for key, value in network.state_dict().items()}}
        for container, zipped in (("zip", True), ("legacy", False)):
            for form, content in (("bare", network.state_dict()), ("nested", nested)):
                checkpoint = folder / f"{container}_{form}_{length}.pth"
                torch.save(content, checkpoint, _use_new_zipfile_serialization=zipped)
                worst += _compare(network, length, checkpoint)
    return worst


def _compare(network: MobileFaceNet, length: int, checkpoint: Path) -> list[float]:
    out = checkpoint.with_suffix(".onnx")
    done = convert(checkpoint, out, "--origin", 'a "test"')
    if done.returncode != 0:
        raise SystemExit(f"prove_convert: {checkpoint.name} was not converted: {done.stderr}")
    _check_file(out, length, tomllib.loads(done.stdout)["network"][0])
    session = onnxruntime.InferenceSession(out, providers=["CPUExecutionProvider"])
    generator = np.random.default_rng(SEED)
    differences = []
    for batch in (1, 3):
        x = generator.uniform(-1, 1, (batch, 3, 112, 112)).astype(np.float32)
        with torch.no_grad():
            expected = network(torch.from_numpy(x)).numpy()
        largest = float(np.abs(expected).max())
        if not OUTPUT_MIN < largest < OUTPUT_MAX:
            raise SystemExit(f"prove_convert: the random network puts out {largest}; scale its weights otherwise")
        found = session.run(["embedding"], {"input": x})[0]
        difference = float(np.abs(found - expected).max()) / largest
        print(f"{checkpoint.name:22}  batch {batch}  largest output {largest:5.2f}  worst difference {difference:.1e}")
        differences.append(difference)
    return differences


def _check_file(out: Path, length: int, entry: dict[str, Any]) -> None:
    model = onnx.load(out)
    facts = {
        "operators": ({node.op_type for node in model.graph.node}, OPERATORS),
        "operator set": ([opset.version for opset in model.opset_import], [13]),
        "IR": (model.ir_version, 8),
        "sha256": (entry["sha256"], hashlib.sha256(out.read_bytes()).hexdigest()),
        "embedding length": (entry["embedding_length"], length),
        "output": (entry["outputs"], [{"name": "embedding", "shape": ["N", length]}]),
        "origin": (entry["origin"], 'a "test"'),
        "colour": (entry["input"]["colour"], "BGR"),
        "scale": (round(entry["input"]["scale"] * 127.5, 12), 1.0),
    }
    for fact, (found, expected) in facts.items():
        if found != expected:
            raise SystemExit(f"prove_convert: {out.name}: {fact} is {found}, expected {expected}")


class MakesFolder:
    """Unpickled carelessly, it makes the folder `target`: the trace of code that was run."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.target),)


def _changed(state: State, remove: str = "", **added: torch.Tensor) -> State:
    kept = {key: value for key, value in state.items() if key != remove}
    return kept | {key.replace("__", "."): value for key, value in added.items()}


def prove_refusals(folder: Path) -> list[str]:
    """Runs every case, prints it, and returns those that were not refused as they must be."""
    state, trace = random_network(128).state_dict(), folder / "trace"
    one = torch.ones(1)
    cases: list[tuple[str, bool, Any, str]] = [  # case, zip container, content, what the refusal must name
        ("a missing key", True, _changed(state, remove="conv_4.model.5.project.bn.running_var"),
         "missing: conv_4.model.5.project.bn.running_var"),
        ("a left-over key", False, _changed(state, conv_9__weight=one), "left over: conv_9.weight"),
        ("another width", True, _changed(state, conv1__conv__weight=torch.ones(32, 3, 3, 3)), "conv1.conv.weight"),
        ("a number that is none", True, _changed(state, bn__bias=torch.full((128,), torch.nan)), "bn.bias"),
        ("a MiniFASNet", True, _changed(state, prob__weight=torch.ones(3, 128)), "MiniFASNet"),
        ("a whole network, not its dictionary", True, {"model": nn.PReLU(3)}, "torch.nn.modules.activation.PReLU"),
        ("code in a zip checkpoint", True, {"linear.weight": MakesFolder(trace)}, f"{os.mkdir.__module__}.mkdir"),
        ("code in a legacy checkpoint", False, {"linear.weight": MakesFolder(trace)}, f"{os.mkdir.__module__}.mkdir"),
    ]
    files: list[tuple[str, Path, str]] = []
    for number, (case, zipped, content, words) in enumerate(cases):
        files.append((case, folder / f"refused_{number}.pth", words))
        torch.save(content, files[-1][1], _use_new_zipfile_serialization=zipped)
    damaged = {
        "a truncated zip checkpoint": (folder / "zip_bare_128.pth").read_bytes()[:1_000_000],
        "a truncated legacy checkpoint": (folder / "legacy_bare_128.pth").read_bytes()[:1_000_000],
        "an empty file": b"",
    }
    for number, (case, raw) in enumerate(damaged.items()):
        files.append((case, folder / f"damaged_{number}.pth", "not a whole PyTorch checkpoint"))
        files[-1][1].write_bytes(raw)
    files.append(("code in a legacy checkpoint's first number", folder / "first.pth", f"{os.mkdir.__module__}.mkdir"))
    files[-1][1].write_bytes(pickle.dumps(MakesFolder(trace), protocol=2))
    return [case for case, path, words in files if not _refused(case, path, words, trace)]


def _refused(case: str, checkpoint: Path, words: str, trace: Path) -> bool:
    out = checkpoint.with_suffix(".onnx")
    done = convert(checkpoint, out)
    faults = [fault for fault, present in (
        (f"exit status {done.returncode}", done.returncode != 1),
        (f"does not name {words!r} but says {done.stderr.strip()!r}", words not in done.stderr),
        ("wrote a file", out.exists()),
        ("ran code", trace.exists())) if present]
    print(f"{case}: {'; '.join(faults) or 'refused'}")
    return not faults


def prove_that_the_code_would_run(folder: Path) -> None:
    """Without this, a harmless checkpoint would prove nothing."""
    trace = folder / "careless"
    pickle.loads(pickle.dumps(MakesFolder(trace)))
    if not trace.is_dir():
        raise SystemExit("prove_convert: the pickle that should run code runs none, so its refusal proves nothing")


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        worst = max(prove_numbers(folder))
        prove_that_the_code_would_run(folder)
        accepted = prove_refusals(folder)
    right = worst <= TOLERANCE and not accepted
    print(f"worst difference {worst:.1e} of the largest output, tolerance {TOLERANCE:.0e}; "
          f"{len(accepted)} cases not refused as they must be: {'right' if right else 'WRONG'}")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
