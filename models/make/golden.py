"""Writes golden.json: what onnxruntime returns for each network on an input that anyone can make again.

Element i of the input, counted over [N, C, H, W], is low + (high - low) * u(i), where u(i) comes from a 32-bit hash:
h = i * 2654435761 mod 2^32; h = h xor (h >> 15); u = h / 2^32. The tests of services/vision compare with it.

usage: golden.py MODELS_DIR OUT.json        (needs numpy and onnxruntime)
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime

SHAPES = {
    "mtcnn_pnet": (1, 3, 37, 50),
    "mtcnn_rnet": (2, 3, 24, 24),
    "mtcnn_onet": (2, 3, 48, 48),
    "mobilefacenet_128": (1, 3, 112, 112),
}


def synthetic(shape: tuple[int, ...], low: float = -1.0, high: float = 1.0) -> np.ndarray:
    index = np.arange(int(np.prod(shape)), dtype=np.uint64)
    hashed = (index * np.uint64(2654435761)) & np.uint64(0xFFFFFFFF)
    hashed ^= hashed >> np.uint64(15)
    return (low + (high - low) * (hashed / 2.0**32)).astype(np.float32).reshape(shape)


def main() -> None:
    models, out = Path(sys.argv[1]), Path(sys.argv[2])
    networks = []
    for name, shape in SHAPES.items():
        session = onnxruntime.InferenceSession(models / f"{name}.onnx", providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        values = session.run(names, {"input": synthetic(shape)})
        outputs = {n: {"shape": v.shape, "values": [float(f"{x:.7g}") for x in v.ravel()]} for n, v in zip(names, values)}
        networks.append({"file": f"{name}.onnx", "input_shape": shape, "outputs": outputs})
    out.write_text(json.dumps({"made_by": f"onnxruntime {onnxruntime.__version__}", "networks": networks}) + "\n")


if __name__ == "__main__":
    main()
