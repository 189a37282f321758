"""Holds edge-agent against the reference implementation's answers, bound by bound. Needs Python only.

usage: compare.py EDGE_AGENT DIR       DIR with faces/ and reference/

Prints every figure with its bound and returns 1 when one does not hold.

Of set.json it must be known that its detector resampled with OpenCV's INTER_AREA, while pictures*.json (and our
detector) average as torch does; a single probe or stranger then falls on one or the other side of a threshold. So a
rate holds when it is within half a point, or better, or when the reference's rate lies in our 95 % interval; those
that need the interval are marked.
"""

import json
import math
import subprocess
import sys
from pathlib import Path

RATE_TOLERANCE = 0.005


class Verdict:
    """Collects bounds that hold and bounds that do not."""

    def __init__(self) -> None:
        self.failed = 0

    def check(self, what: str, holds: bool, note: str = "") -> None:
        self.failed += not holds
        print(f"  {'ok  ' if holds else 'FAIL'} {what}{'  ' + note if note else ''}")


def run(program: str, *arguments: str) -> list[dict]:
    done = subprocess.run([program, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def overlap(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    area = lambda r: (r[2] - r[0]) * (r[3] - r[1])
    return width * height / (area(a) + area(b) - width * height)


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b)) / math.hypot(*a) / math.hypot(*b)


def largest_difference(a: list, b: list) -> float:
    flat = lambda v: [x for p in v for x in p] if isinstance(v[0], list) else v
    return max(abs(x - y) for x, y in zip(flat(a), flat(b)))


def pairs_of(program: str, reference: list[dict], root: Path, score_min: float):
    """Each reference face of at least `score_min` with our face that overlaps it most, or None."""
    found = run(program, "detect", "--json", "--embed", *[str(root / picture["image"]) for picture in reference])
    for picture, ours in zip(reference, found):
        for face in picture["faces"]:
            if face["score"] >= score_min:
                yield face, max(ours["faces"], key=lambda f: overlap(f["box"], face["box"]), default=None)
    empty = [o for p, o in zip(reference, found) if not p["faces"]]
    yield None, [f for ours in empty for f in ours["faces"] if f["score"] >= 0.95]


def same_pixels(program: str, directory: Path, verdict: Verdict) -> None:
    """PNG: the same bytes reach both detectors, so the answers must be the same."""
    reference = json.loads((directory / "reference/pictures_png.json").read_text())
    pairs = [p for p in pairs_of(program, reference, directory / "reference", 0.9) if p[0]]
    matched = [(a, b) for a, b in pairs if b and overlap(a["box"], b["box"]) > 0.5]
    print(f"pictures_png.json: {len(pairs)} faces")
    verdict.check(f"{len(matched)} found", len(matched) == len(pairs), "(bound: all)")
    for key, bound in (("box", 1.0), ("landmarks", 1.0)):
        worst = max(largest_difference(a[key], b[key]) for a, b in matched)
        verdict.check(f"{key} within {worst:.5f} px", worst <= bound, f"(bound: {bound} px)")
    worst = min(cosine(a["embedding"], b["embedding"]) for a, b in matched)
    verdict.check(f"embeddings at cosine {worst:.6f} and more", worst >= 0.999, "(bound: 0.999)")


def same_photographs(program: str, directory: Path, verdict: Verdict) -> None:
    """JPEG: decoders may differ in single grey levels."""
    reference = json.loads((directory / "reference/pictures.json").read_text())
    *pairs, (_, false_faces) = pairs_of(program, reference, directory / "faces", 0.95)
    matched = [(a, b) for a, b in pairs if b and overlap(a["box"], b["box"]) >= 0.85]
    share = len(matched) / len(pairs)
    print(f"pictures.json: {len(pairs)} faces")
    verdict.check(f"{len(matched)} found at IoU 0.85 ({share:.2%})", share >= 0.99, "(bound: 99 %)")
    worst = min(cosine(a["embedding"], b["embedding"]) for a, b in matched if a.get("embedding"))
    verdict.check(f"their embeddings at cosine {worst:.6f} and more", worst >= 0.98, "(bound: 0.98)")
    verdict.check(f"{len(false_faces)} faces of 0.95 where the reference has none", not false_faces, "(bound: none)")


def compare_rate(verdict: Verdict, what: str, ours: dict, reference: float, lower_is_better: bool = False) -> None:
    difference = ours["rate"] - reference
    near = abs(difference) <= RATE_TOLERANCE + 1e-9
    better = (difference < 0) == lower_is_better
    low, high = ours["interval"]
    note = "" if near else "better" if better else "by sampling: the reference lies in our 95 % interval"
    text = f"{what}: {ours['rate']:.4f}, reference {reference:.4f} ({100 * difference:+.2f} points)"
    verdict.check(text, near or better or low <= reference <= high, note)


def rates(program: str, directory: Path, verdict: Verdict) -> None:
    reference = json.loads((directory / "reference/set.json").read_text())
    root = str(directory / "faces")
    for subset, enrolments in (("lfw", (1, 2, 3)), ("asian", (1, 2))):
        ours, theirs = run(program, "evaluate", "verify", "--root", root, "--subset", subset, "--json")[0], reference[f"verify_{subset}"]
        print(f"verify {subset}: {ours['pairs']} pairs")
        compare_rate(verdict, "accuracy", ours["accuracy"], theirs["accuracy"])
        for far in ("0.01", "0.001"):
            compare_rate(verdict, f"TAR at FAR {far}", ours["tar_at_far"][far]["tar"], theirs[f"tar_at_far_{far}"][0])
        for enrol in enrolments:
            ours = run(program, "evaluate", "identify", "--root", root, "--subset", subset, "--enrol", str(enrol), "--json")[0]
            identified(verdict, ours, reference[f"identify_{subset}_{enrol}"])


def identified(verdict: Verdict, ours: dict, theirs: dict) -> None:
    print(f"identify {ours['subset']}, {ours['gallery']} people enrolled with {ours['enrol']} pictures each")
    compare_rate(verdict, "rank-1", ours["rank1"], theirs["rank1"])
    for fpir in ("0.01", "0.003"):
        at = ours["tpir_at_fpir"][fpir]
        compare_rate(verdict, f"TPIR at FPIR {fpir}", at["tpir"], theirs[f"tpir_at_fpir_{fpir}"][0])
    for threshold in ("0.4", "0.5", "0.6"):
        at, reference = ours["at_threshold"][threshold], theirs[f"at_{threshold}"]
        compare_rate(verdict, f"TPIR at {threshold}", at["tpir"], reference["tpir"])
        compare_rate(verdict, f"FPIR at {threshold}", at["fpir"], reference["fpir"], lower_is_better=True)
    calibrated = ours["calibrated"]
    let_in, most = calibrated["fpir"]["count"], calibrated["strangers_expected_at_most"]
    text = f"calibrated for FPIR {calibrated['target_fpir']}: threshold {calibrated['threshold']:.4f} let in {let_in}"
    verdict.check(f"{text} of {calibrated['fpir']['of']} strangers", let_in <= most, f"(bound: {most})")
    for population, at in ours["calibrated_on"].items():
        print(f"       calibrated on {population} alone: {at['threshold']:.4f} would have let in {at['fpir']['count']}")


def main() -> int:
    program, directory = sys.argv[1], Path(sys.argv[2])
    verdict = Verdict()
    same_pixels(program, directory, verdict)
    same_photographs(program, directory, verdict)
    rates(program, directory, verdict)
    print("all bounds hold" if not verdict.failed else f"{verdict.failed} bounds do not hold")
    return min(verdict.failed, 1)


if __name__ == "__main__":
    sys.exit(main())
