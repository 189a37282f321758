"""Writes portraits.json: what the reference implementation finds in the bundled portraits.

The faces are those of facenet-pytorch 2.6.0's MTCNN (min_face_size=40, all faces, by falling area), the embeddings
those of onnxruntime on models/mobilefacenet_128.onnx after cv2.warpAffine to the five points of the manifest. The
system tests of edge-agent compare with them.

usage: make.py REPOSITORY OUT.json        (needs facenet-pytorch 2.6.0, onnxruntime, opencv-python-headless, pillow)
"""

import json
import sys
import tomllib
from pathlib import Path

import cv2
import facenet_pytorch
import numpy as np
import onnxruntime
import torch
from PIL import Image

PICTURES = [
    "gallery/Barack Obama/obama.jpg",
    "gallery/Barack Obama/obama2.jpg",
    "pictures/obama3.jpg",
    "pictures/biden.jpg",
    "pictures/astronaut.png",
]


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The turn, scale and shift from `source` to `target` with the least squared distance, as 2 x 3."""
    a, b = source - source.mean(0), target - target.mean(0)
    size = (a**2).sum()
    c = (a * b).sum() / size
    s = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum() / size
    turn = np.array([[c, -s], [s, c]])
    return np.concatenate([turn, (target.mean(0) - turn @ source.mean(0))[:, None]], 1)


def embedding(session: onnxruntime.InferenceSession, pixels: np.ndarray, points: np.ndarray, template: np.ndarray):
    aligned = cv2.warpAffine(pixels, similarity(points, template), (112, 112), flags=cv2.INTER_LINEAR)
    values = ((aligned.astype(np.float32) - 127.5) * 0.0078125).transpose(2, 0, 1)[None]
    (raw,) = session.run(["embedding"], {"input": values})
    return raw[0] / np.linalg.norm(raw[0])


def main() -> None:
    repository, out = Path(sys.argv[1]), Path(sys.argv[2])
    models = repository / "models"
    networks = tomllib.loads((models / "manifest.toml").read_text())["network"]
    (entry,) = [n for n in networks if n["role"] == "embedding"]
    template = np.array(entry["alignment"], np.float64)
    session = onnxruntime.InferenceSession(models / entry["file"], providers=["CPUExecutionProvider"])
    detector = facenet_pytorch.MTCNN(min_face_size=40, keep_all=True, select_largest=True, device="cpu")
    pictures = []
    for name in PICTURES:
        image = Image.open(repository / "deploy/demo" / name).convert("RGB")
        boxes, scores, landmarks = detector.detect(image, landmarks=True)
        faces = [
            {
                "box": [round(float(v), 3) for v in box],
                "score": round(float(score), 5),
                "landmarks": [[round(float(v), 3) for v in point] for point in points],
                "embedding": [round(float(v), 6) for v in embedding(session, np.array(image), points.astype(float), template)],
            }
            for box, score, points in zip(boxes, scores, landmarks)
        ]
        pictures.append({"file": name, "width": image.width, "height": image.height, "faces": faces})
    made_by = (
        f"facenet-pytorch 2.6.0 on torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, "
        f"OpenCV {cv2.__version__}"
    )
    out.write_text(json.dumps({"made_by": made_by, "pictures": pictures}) + "\n")


if __name__ == "__main__":
    main()
