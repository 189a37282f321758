"""Prints what edge-agent and its peers take for the same frames, side by side, and whether the bounds hold.

All times are processor time of one thread, in milliseconds a frame: medians over frames and rounds. The rounds are
interleaved: in each, edge-agent and every peer take their turn with all frames, so that a slow minute of the machine
is everybody's. Before anything is timed, every peer's networks must give what onnxruntime gives on a frame.

Status 1 when a bound does not hold, or a peer's networks give something else.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import torch

from engines import Ncnn, OnnxRuntime, OpenCv, convert_for_ncnn
from frames import read_frames
from mtcnn import Chain, by_pooling
from whole import FaceRecognition, Facenet, TorchEmbedding

NETS = ["propose", "refine", "output", "embed"]
COLUMNS = ["decode", "propose", "refine", "output", "resample", "detect", "align", "embed", "whole", "networks", "glue"]
TITLES = dict(propose="P-Net", refine="R-Net", output="O-Net", networks="nets only", glue="(glue)")

# Turns of every program in a round: the second and third find the caches as they left them, as in use.
TURNS = 3

# Largest difference from onnxruntime, relative to the largest output (at least 1).
DIFFERENCE_MAX = 1e-4
DIFFERENCE_HALF_MAX = 2e-2  # Half precision has 11 bits, and MobileFaceNet 37 layers.

ORT, NCNN, NCNN_HALF, OPENCV = "onnxruntime", "ncnn", "ncnn, half precision", "OpenCV dnn"
FACENET, FACENET_ORT = "facenet-pytorch + torch", "facenet-pytorch + ort"
DLIB, OURS, TRACT = "face_recognition", "edge-agent", "tract, stock"

# Of edge-agent's whole chain.
ORT_RATIO_MAX, FACENET_RATIO_MAX = 0.9, 1 / 3


def main() -> int:
    args = arguments()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    frames = read_frames(args.frames)
    peers = make_peers(args)
    verify(peers, args, frames)
    load_before = os.getloadavg()[0]
    costs, seen = measure(args, frames, peers)
    rows = {name: row(steps) for name, steps in costs.items()}
    print(f"{cpu_model()}; one thread each; load {load_before:.1f} before, {os.getloadavg()[0]:.1f} after")
    print(f"{len(frames)} frames, {args.rounds} interleaved rounds of {TURNS} turns, faces from {args.min_face} px")
    print()
    print_table(rows)
    print()
    print_candidates(seen, args, frames)
    print_versions(args, peers)
    return verdict(rows)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--agent", type=Path, required=True, help="the edge-agent program")
    parser.add_argument("--models", type=Path, required=True, help="folder with the four networks")
    parser.add_argument("--work", type=Path, required=True, help="folder for converted networks")
    parser.add_argument("--frames", type=Path, required=True, help="folder of pictures, or JPEGs joined end to end")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--min-face", type=int, default=60, metavar="PX")
    return parser.parse_args()


def make_peers(args):
    """Name to what has `frame(encoded)`, `costs` and `seen`; each has run every step once when this returns."""
    convert_for_ncnn(args.models, args.work)
    ort = OnnxRuntime(args.models)
    engines = {
        ORT: ort,
        NCNN: Ncnn(args.work, half=False),
        NCNN_HALF: Ncnn(args.work, half=True),
        OPENCV: OpenCv(args.models),
    }
    peers = {name: Chain(engine, args.min_face) for name, engine in engines.items()}
    peers[FACENET] = Facenet(args.min_face, TorchEmbedding(args.models).run)
    peers[FACENET_ORT] = Facenet(args.min_face, lambda x: ort.run("embed", x))
    try:
        peers[DLIB] = FaceRecognition()
    except Exception as error:
        print(f"face_recognition and dlib are left out: {error}")
    return peers


def verify(peers, args, frames):
    """Compares every network of every peer with onnxruntime, on the inputs that one frame makes."""
    reference = Chain(peers[ORT].engine, args.min_face)
    for frame in frames:
        reference.inputs = []
        reference.frame(frame)
        if {net for net, _ in reference.inputs} == set(NETS):
            break
    else:
        raise SystemExit("no frame has a face of that size, so that not every network can be compared; add one")
    ort = reference.engine
    said = []
    for name, peer in peers.items():
        if isinstance(peer, Chain) and name != ORT:
            worst = max(difference(ort.run(net, x)[0], peer.engine.run(net, x)[0]) for net, x in reference.inputs)
        elif name == FACENET:
            worst = max(facenet_difference(peer, frame, ort), *(
                difference(ort.run(net, x)[0], [peer.embed(x)[0]]) for net, x in reference.inputs if net == "embed"
            ))
        else:
            continue
        bound = DIFFERENCE_HALF_MAX if name == NCNN_HALF else DIFFERENCE_MAX
        said.append(f"{name} {worst:.0e}")
        if not worst <= bound:
            raise SystemExit(f"{name} runs other networks: its outputs differ by {worst:.1e}, at most {bound:.0e}")
    print(f"Networks agree with onnxruntime on a frame with a face; largest relative difference: {', '.join(said)}.")


def difference(reference, outputs) -> float:
    def one(a, b):
        if a.shape != b.shape:
            return np.inf
        return float(np.abs(a - b).max() / max(1.0, np.abs(a).max()))

    return max(one(a, b) for a, b in zip(reference, outputs, strict=True))


def facenet_difference(peer, frame, ort) -> float:
    """Of facenet-pytorch's own three networks; it gives offsets, landmarks and probabilities in another order."""
    peer.inputs = []
    peer.frame(frame)
    inputs, peer.inputs = peer.inputs, None
    return max(
        difference(
            sorted(ort.run(net, x)[0], key=lambda output: output.shape[1]),
            sorted((o.numpy() for o in outputs), key=lambda output: output.shape[1]),
        )
        for net, x, outputs in inputs
    )


def measure(args, frames, peers):
    """Program to step to milliseconds of every turn; and program to counts a frame."""
    costs, seen = defaultdict(lambda: defaultdict(list)), defaultdict(lambda: defaultdict(list))
    for peer in peers.values():
        for frame in frames:
            peer.frame(frame)
    for _ in range(args.rounds):
        ours(args, costs, seen)
        for name, peer in peers.items():
            other_threads = time.process_time_ns() - time.thread_time_ns()
            for frame in frames * TURNS:
                peer.frame(frame)
                for step, ms in completed(peer.costs.ms).items():
                    costs[name][step].append(ms)
                for what, count in peer.seen.items():
                    seen[name][what].append(count)
            other_threads = time.process_time_ns() - time.thread_time_ns() - other_threads
            if other_threads / 1e6 > 0.05 * sum(costs[name]["whole"][-len(frames) * TURNS :]):
                raise SystemExit(f"{name} has used other threads, whose time is not counted; run it on one")
    return costs, seen


def ours(args, costs, seen):
    command = [args.agent, "--models", args.models, "bench", "--json", "--rounds", str(TURNS)]
    command += ["--min-face", str(args.min_face), "--frames", args.frames]
    report = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    stages = {stage: cost["cpu_ms"] for stage, cost in report["stages"].items()}
    stages["detect"] = stages["propose"] + stages["refine"] + stages["output"]
    for step, ms in stages.items():
        costs[OURS][step].append(ms)
    seen[OURS]["faces"].append(report["faces"])
    if "embed_by_tract" in report:
        costs[TRACT]["embed"].append(report["embed_by_tract"]["cpu_ms"])


def completed(ms):
    """The steps of one frame with their sums. Glue is in no sum, except where it is the peer's own."""
    ms = dict(ms)
    if "propose" in ms:
        # A frame without candidates or faces has cost nothing there.
        ms = dict.fromkeys([*NETS, "align"], 0.0) | ms
    if "detect" not in ms:
        ms["detect"] = sum(ms[step] for step in ("propose", "refine", "output", "resample"))
    ms["whole"] = sum(ms.get(step, 0) for step in ("decode", "detect", "align", "embed"))
    if "propose" in ms:
        ms["networks"] = sum(ms[net] for net in NETS)
    return ms


def row(steps):
    return {step: statistics.median(values) for step, values in steps.items()}


def print_table(rows):
    """One line a program, the fastest whole chain first after edge-agent."""
    mine = rows[OURS]["whole"]
    order = sorted(rows, key=lambda name: (name != OURS, rows[name].get("whole", np.inf)))
    titles = [TITLES.get(column, column) for column in COLUMNS]
    print(f"{'CPU ms a frame':24}" + "".join(f"{t:>10}" for t in titles) + f"{'ratio':>8}{'strict':>8}")
    for name in order:
        cells = [f"{rows[name][c]:10.2f}" if c in rows[name] else f"{'-':>10}" for c in COLUMNS]
        ratios = [f"{mine / rows[name][c]:8.2f}" if c in rows[name] else f"{'-':>8}" for c in ("whole", "networks")]
        print(f"{name:24}" + "".join(cells) + "".join(ratios))
    print(
        "\nratio: edge-agent's whole chain to this one's whole chain. strict: edge-agent's whole chain, decoding and\n"
        "all, to this one's four networks alone. Below 1 edge-agent is faster.\n"
        "edge-agent's P-, R- and O-Net include shrinking, cutting out, and overlaps; align includes judging quality.\n"
        "Engines: resample is shrinking and making the inputs; detect is resample and the three networks; glue is\n"
        "what numpy does (thresholds, overlaps) and is in no sum.\n"
        "facenet-pytorch: detect is MTCNN.detect whole, with its resampling and glue, as its users get it.\n"
        "face_recognition: detect is face_locations, HOG on the doubled picture (faces from 40 px), and embed is\n"
        "face_encodings, other networks than models/."
    )


def print_candidates(seen, args, frames):
    """What each had to do a frame: with another resampling, a few candidates more or fewer."""
    exact = Chain(OnnxRuntime(args.models), args.min_face, by_pooling)
    for frame in frames:
        exact.frame(frame)
        for what, count in exact.seen.items():
            seen["as edge-agent resamples"][what].append(count)
    for name, counts in seen.items():
        said = [f"{statistics.mean(counts[w]):.1f} {w}" for w in ("faces", "refine", "output") if w in counts]
        text = ", ".join(said).replace("refine", "candidates for R-Net").replace("output", "for O-Net")
        print(f"{name:24}{text}")
    print()


def print_versions(args, peers):
    version = subprocess.run([args.agent, "--version"], check=True, capture_output=True, text=True).stdout.strip()
    facenet = f"facenet-pytorch 2.6.0, torch {torch.__version__} ({torch.backends.cpu.get_cpu_capability()})"
    engines = [peer.engine.version for peer in peers.values() if isinstance(peer, Chain)]
    others = [facenet] + [peers[DLIB].version] * (DLIB in peers)
    print("\n".join([version, *engines, *others]))
    print()


def verdict(rows) -> int:
    mine = rows[OURS]["whole"]
    ort, ncnn = rows[ORT], min((rows[NCNN], rows[NCNN_HALF]), key=lambda r: r["whole"])

    def facenet(name):
        return mine / (rows[name]["detect"] + rows[name]["embed"])

    bounds = [
        ("onnxruntime's whole chain", mine / ort["whole"], ORT_RATIO_MAX),
        ("onnxruntime's four networks alone", mine / ort["networks"], ORT_RATIO_MAX),
        ("facenet-pytorch's MTCNN.detect + embedding by torch", facenet(FACENET), FACENET_RATIO_MAX),
        ("facenet-pytorch's MTCNN.detect + embedding by onnxruntime", facenet(FACENET_ORT), FACENET_RATIO_MAX),
    ]
    told = [
        ("the peer to beat next, ncnn's whole chain", mine / ncnn["whole"]),
        ("the peer to beat next, ncnn's four networks alone", mine / ncnn["networks"]),
    ]
    print("edge-agent's whole chain, decoding and all, to:")
    for what, ratio, limit in bounds:
        print(f"{'PASS' if ratio <= limit else 'FAIL'}  {ratio:.3f}, at most {limit:.3f}  {what}")
    for what, ratio in told:
        print(f"      {ratio:.3f}                 {what}")
    return 0 if all(ratio <= limit for _, ratio, limit in bounds) else 1


def cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "CPU part")):
            return line.split(":", 1)[1].strip()
    return "unknown processor"


if __name__ == "__main__":
    sys.exit(main())
