"""The chain from an encoded frame to embeddings, as edge-agent has it, around whatever runs the networks.

The rules (rounding, thresholds, overlaps) are those of services/vision/src/detect.rs, written with numpy. Pictures
are decoded, shrunk, cut out and turned by OpenCV, for every peer alike. Each step's processor time of this thread is
kept by name; what the named steps do not cover is the glue: thresholds, overlaps and such in numpy.

Shrinking is done as fast as was found while it gives what edge-agent's does: for the levels of the pyramid adaptive
average pooling from summed areas, a quarter of the time of cv2.INTER_AREA; for the many small cuts cv2.INTER_AREA.
"""

import time
from collections import Counter
from contextlib import contextmanager

import cv2
import numpy as np

FACTOR = 0.709
PROPOSE_MIN, REFINE_MIN, OUTPUT_MIN = 0.6, 0.7, 0.7
OVERLAP_LEVEL, OVERLAP = 0.5, 0.7
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


class Costs:
    """Milliseconds of this thread's processor time by step."""

    def __init__(self):
        self.ms = Counter()

    @contextmanager
    def step(self, name: str):
        start = time.thread_time_ns()
        yield
        self.ms[name] += (time.thread_time_ns() - start) / 1e6


class Chain:
    """Runs frames through an engine: `engine.run(net, input)` gives the outputs, and the milliseconds of the run alone.

    `seen` counts candidates and faces; `inputs`, when it is a list, collects (net, input) for verification.
    """

    def __init__(self, engine, min_face: int, shrink_cuts=None):
        self.engine, self.min_face, self.shrink_cuts = engine, min_face, shrink_cuts or by_inter_area
        self.costs, self.seen, self.inputs = Costs(), Counter(), None

    def frame(self, encoded: bytes):
        """Faces of one frame: boxes n x 5, landmarks n x 5 x 2, embeddings n x 128; resets `costs` and `seen`."""
        self.costs, self.seen = Costs(), Counter(refine=0, output=0)
        start = time.thread_time_ns()
        with self.costs.step("decode"):
            image = decode(encoded)
        boxes, points = self.detect(image)
        with self.costs.step("align"):
            faces = [align(image, p) for p in points]
        with self.costs.step("resample"):
            inputs = [blob([face]) for face in faces]
        embeddings = [self.run("embed", x)[0][0] for x in inputs]
        self.seen["faces"] = len(boxes)
        total = (time.thread_time_ns() - start) / 1e6
        self.costs.ms["glue"] = total - sum(self.costs.ms.values())
        return boxes, points, embeddings

    def run(self, net: str, x: np.ndarray):
        if self.inputs is not None:
            self.inputs.append((net, x))
        outputs, ms = self.engine.run(net, x)
        self.costs.ms[net] += ms
        return outputs

    def detect(self, image):
        none = np.zeros((0, 5)), np.zeros((0, 5, 2))
        boxes = self.propose(image)
        for stage in (self.refine, self.output):
            if len(boxes) == 0:
                return none
            boxes, found = stage(image, boxes)
        return boxes, found

    def propose(self, image):
        height, width = image.shape[:2]
        scale = 12 / self.min_face
        side, found = min(height, width) * scale, [np.zeros((0, 9))]
        with self.costs.step("resample"):
            sums = summed(image)
        while side >= 12:
            with self.costs.step("resample"):
                level = pooled(sums, int(width * scale + 1), int(height * scale + 1))
            prob, reg = self.run("propose", level)
            y, x = np.nonzero(prob[0, 1] >= PROPOSE_MIN)
            corners = [np.floor((2 * v + d) / scale) for d in (1, 12) for v in (x, y)]
            level = np.stack([*corners, prob[0, 1, y, x], *reg[0][:, y, x]], 1)
            found.append(level[suppress(level, OVERLAP_LEVEL)])
            scale *= FACTOR
            side *= FACTOR
        found = np.concatenate(found)
        found = found[suppress(found, OVERLAP)]
        return squared(shifted(found[:, :5], found[:, 5:], 0))

    def refine(self, image, boxes):
        boxes, x = self.cut(image, boxes, 24)
        self.seen["refine"] = len(boxes)
        prob, reg = self.run("refine", x) if len(boxes) else (np.zeros((0, 2)), np.zeros((0, 4)))
        passed = prob[:, 1] > REFINE_MIN
        boxes, reg = np.column_stack([boxes[passed, :4], prob[passed, 1]]), reg[passed]
        kept = suppress(boxes, OVERLAP)
        return squared(shifted(boxes[kept], reg[kept], 1)), None

    def output(self, image, boxes):
        boxes, x = self.cut(image, boxes, 48)
        self.seen["output"] = len(boxes)
        empty = np.zeros((0, 2)), np.zeros((0, 4)), np.zeros((0, 10))
        prob, reg, units = self.run("output", x) if len(boxes) else empty
        passed = prob[:, 1] > OUTPUT_MIN
        boxes, reg, units = np.column_stack([boxes[passed, :4], prob[passed, 1]]), reg[passed], units[passed]
        size = boxes[:, 2:4] - boxes[:, 0:2] + 1
        points = units.reshape(-1, 2, 5).transpose(0, 2, 1) * size[:, None] + boxes[:, None, :2] - 1
        boxes = shifted(boxes, reg, 1)
        kept = suppress(boxes, OVERLAP, smaller=True)
        return boxes[kept], points[kept]

    def cut(self, image, boxes, side):
        """The boxes that share pixels with the picture, and those pixels as one input."""
        height, width = image.shape[:2]
        corners = np.trunc(boxes[:, :4]).astype(int)
        x0, y0 = np.maximum(corners[:, 0], 1) - 1, np.maximum(corners[:, 1], 1) - 1
        x1, y1 = np.minimum(corners[:, 2], width), np.minimum(corners[:, 3], height)
        inside = np.flatnonzero((x1 > x0) & (y1 > y0))
        if len(inside) == 0:
            return boxes[inside], None
        with self.costs.step("resample"):
            return boxes[inside], self.shrink_cuts([image[y0[i] : y1[i], x0[i] : x1[i]] for i in inside], side)


def decode(encoded: bytes):
    image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise SystemExit("OpenCV cannot decode a frame; take it out of the frames")
    return image


def suppress(boxes, limit, smaller=False):
    """Indices of what non-maximum suppression keeps; with `smaller`, by the share of the smaller box."""
    extra = 1.0 if smaller else 0.0
    x0, y0, x1, y1, score = boxes.T[:5]
    area = (x1 - x0 + extra) * (y1 - y0 + extra)
    order, kept = np.argsort(-score, kind="stable"), []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        w = np.maximum(0, np.minimum(x1[best], x1[rest]) - np.maximum(x0[best], x0[rest]) + extra)
        h = np.maximum(0, np.minimum(y1[best], y1[rest]) - np.maximum(y0[best], y0[rest]) + extra)
        shared = w * h
        whole = np.minimum(area[best], area[rest]) if smaller else area[best] + area[rest] - shared
        order = rest[shared <= limit * whole]
    return np.array(kept, int)


def shifted(boxes, offsets, extra):
    """Sides moved by `offsets` in units of the box; the scores stay."""
    size = np.tile(boxes[:, 2:4] - boxes[:, 0:2] + extra, 2)
    return np.column_stack([boxes[:, :4] + offsets * size, boxes[:, 4]])


def squared(boxes):
    size = boxes[:, 2:4] - boxes[:, 0:2]
    side = size.max(1, keepdims=True)
    corner = boxes[:, 0:2] + size / 2 - side / 2
    return np.column_stack([corner, corner + side, boxes[:, 4]])


def align(image, points):
    """112 x 112, turned by the least-squares similarity that brings `points` to the template."""
    p, q = points - points.mean(0), TEMPLATE - TEMPLATE.mean(0)
    cos, sin = (p * q).sum() / (p**2).sum(), (p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum() / (p**2).sum()
    turn = np.array([[cos, -sin], [sin, cos]])
    shift = TEMPLATE.mean(0) - turn @ points.mean(0)
    return cv2.warpAffine(image, np.column_stack([turn, shift]), (112, 112), flags=cv2.INTER_LINEAR)


def blob(images):
    """RGB, (x - 127.5) / 128, NCHW, of BGR pictures of one size."""
    return cv2.dnn.blobFromImages(images, 1 / 128, images[0].shape[1::-1], (127.5,) * 3, swapRB=True)


def by_inter_area(cuts, side):
    return blob([cv2.resize(cut, (side, side), interpolation=cv2.INTER_AREA) for cut in cuts])


def by_pooling(cuts, side):
    return np.concatenate([pooled(summed(cut), side, side) for cut in cuts])


def summed(image):
    """Of red, green and blue: the sums over all pixels above and to the left."""
    return [cv2.integral(plane) for plane in reversed(cv2.split(image))]


def pooled(sums, w, h):
    """Adaptive average pooling to `w` x `h`, exactly; (x - 127.5) / 128, NCHW.

    Sums beyond 32 bits wrap around, and their differences come out right all the same.
    """
    (y0, y1), (x0, x1) = bins(h, sums[0].shape[0] - 1), bins(w, sums[0].shape[1] - 1)
    weight = (1 / (128 * (y1 - y0)[:, None] * (x1 - x0))).astype(np.float32)
    level = np.empty((1, 3, h, w), np.float32)
    for plane, into in zip(sums, level[0]):
        rows = plane[y1]
        rows -= plane[y0]
        cells = rows[:, x1]
        cells -= rows[:, x0]
        np.multiply(cells, weight, out=into, casting="unsafe")
    level -= np.float32(127.5 / 128)
    return level


def bins(count, size):
    """The first pixel under each bin, and the one after the last: floor(i size / n) to ceil((i + 1) size / n)."""
    i = np.arange(count)
    return i * size // count, -(-(i + 1) * size // count)
