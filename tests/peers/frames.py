"""Frames as files have them: a folder of pictures in the order of their names, or JPEGs joined end to end."""

from pathlib import Path

SOI, EOI, SOS = 0xD8, 0xD9, 0xDA


def read_frames(path: Path) -> list[bytes]:
    """The encoded frames of `path`, the same ones that `edge-agent bench --frames` takes."""
    if path.is_dir():
        frames = [file.read_bytes() for file in sorted(path.iterdir()) if file.is_file()]
    else:
        frames = list(joined_jpegs(path.read_bytes()))
    if not frames:
        raise SystemExit(f"{path} holds no frame")
    return frames


def joined_jpegs(data: bytes):
    """Cuts by walking the segments: a thumbnail inside one has markers of its own."""
    start = data.find(b"\xff\xd8\xff")
    while start >= 0:
        end = jpeg_end(data, start + 2)
        if end is None:
            return
        yield data[start:end]
        start = data.find(b"\xff\xd8\xff", end)


def jpeg_end(data: bytes, at: int) -> int | None:
    """The first byte after the JPEG whose first segment is at `at`; None when it is cut off."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            return None
        marker = data[at + 1]
        if marker == EOI:
            return at + 2
        if marker == 0xFF:
            at += 1
        elif marker in (0x00, 0x01, SOI) or 0xD0 <= marker <= 0xD7:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
