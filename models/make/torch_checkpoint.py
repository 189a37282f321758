"""Reads the tensors of a PyTorch checkpoint with numpy alone.

Promises: no code of the file is run. A checkpoint is a pickle, and a pickle may name any function; this reader
lets it name the few that rebuild tensors, and refuses every other by its name. Offsets, shapes and strides are
checked against the stored bytes before a tensor is taken out. Both containers are read: the zip archive
(torch >= 1.6) and the legacy stream before it.

Does not: keep anything that is neither a tensor nor a dictionary of tensors, or read more than SIZE_MAX_BYTES.
"""

from __future__ import annotations

import collections
import io
import pickle
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

SIZE_MAX_BYTES = 256 * 1024 * 1024  # a MobileFaceNet with 512 numbers takes 5 MB
ZIP_MAGIC = b"PK\x03\x04"
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001

ELEMENT_TYPES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}


class CheckpointError(Exception):
    """The file is not a checkpoint that this reader takes; the text says why and what to do, not which file."""


@dataclass(frozen=True)
class _ElementType:
    """Stands for a storage class such as torch.FloatStorage."""

    code: str


@dataclass(frozen=True)
class _Storage:
    """A run of elements, kept elsewhere in the file under `key`."""

    key: str
    code: str
    length: int


@dataclass(frozen=True)
class _View:
    """A tensor: a window on a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read(path: Path) -> dict[str, Any]:
    """The dictionary in `path`, its tensors as numpy arrays, dictionaries nested in it kept as they are."""
    if path.stat().st_size > SIZE_MAX_BYTES:
        raise CheckpointError(f"larger than {SIZE_MAX_BYTES} bytes; a MobileFaceNet is not. Check the file.")
    return read_bytes(path.read_bytes())


def read_bytes(raw: bytes) -> dict[str, Any]:
    """As `read`, for bytes already in memory."""
    stream = io.BytesIO(raw)
    try:
        tree, storages = _read_zip(stream) if raw.startswith(ZIP_MAGIC) else _read_legacy(stream)
        if not isinstance(tree, dict):
            raise CheckpointError(f"it holds a {type(tree).__name__}, not a dictionary of tensors. {_SAVE_AGAIN}")
        return _with_arrays(tree, storages)
    except CheckpointError:
        raise
    except Exception as error:  # a damaged pickle may raise almost anything
        raise CheckpointError(
            f"not a whole PyTorch checkpoint ({type(error).__name__}: {error}). "
            "Fetch or copy it again, and compare its size and hash with its origin."
        ) from error


_SAVE_AGAIN = "Save it again in PyTorch with torch.save(model.state_dict(), PATH)."


def _rebuild_tensor(storage: _Storage, offset: int, shape: Any, strides: Any, *_: Any) -> _View:
    return _View(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def _rebuild_parameter(tensor: _View, *_: Any) -> _View:
    return tensor


_ALLOWED = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}


class _Unpickler(pickle.Unpickler):
    """Loads a pickle that may name only _ALLOWED and the storage classes; notes the storages it refers to."""

    def __init__(self, stream: BinaryIO, storages: dict[str, _Storage]) -> None:
        super().__init__(stream, encoding="utf-8")
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in ELEMENT_TYPES:
            return _ElementType(ELEMENT_TYPES[name])
        if (module, name) in _ALLOWED:
            return _ALLOWED[(module, name)]
        raise CheckpointError(f"the checkpoint names {module}.{name}, which is not run. {_SAVE_AGAIN}")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, element, key, _device, length = pid[:5]
        if kind != "storage" or not isinstance(element, _ElementType):
            raise CheckpointError(f"the checkpoint refers to a {kind!r} of an unknown type. {_SAVE_AGAIN}")
        return self._storages.setdefault(str(key), _Storage(str(key), element.code, int(length)))


def _read_zip(stream: BinaryIO) -> tuple[Any, dict[str, np.ndarray]]:
    with zipfile.ZipFile(stream) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > SIZE_MAX_BYTES:
            raise CheckpointError(f"the archive unpacks to more than {SIZE_MAX_BYTES} bytes. Check the file.")
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise CheckpointError(f"the archive has {len(pickles)} entries */data.pkl, not one. {_SAVE_AGAIN}")
        root = pickles[0].removesuffix("data.pkl")
        if root + "byteorder" in archive.namelist() and archive.read(root + "byteorder") != b"little":
            raise CheckpointError(f"the archive is not little-endian. {_SAVE_AGAIN}")
        wanted: dict[str, _Storage] = {}
        tree = _Unpickler(io.BytesIO(archive.read(pickles[0])), wanted).load()
        return tree, {
            key: np.frombuffer(archive.read(f"{root}data/{key}"), storage.code, storage.length)
            for key, storage in wanted.items()
        }


def _read_legacy(stream: BinaryIO) -> tuple[Any, dict[str, np.ndarray]]:
    wanted: dict[str, _Storage] = {}
    if _Unpickler(stream, {}).load() != LEGACY_MAGIC or _Unpickler(stream, {}).load() != LEGACY_PROTOCOL:
        raise CheckpointError(f"the file is not a PyTorch checkpoint: its first numbers are others. {_SAVE_AGAIN}")
    _Unpickler(stream, {}).load()  # what machine wrote it
    tree = _Unpickler(stream, wanted).load()
    storages = {}
    for key in map(str, _Unpickler(stream, {}).load()):
        storage = wanted[key]
        (length,) = struct.unpack("<q", stream.read(8))
        if length != storage.length:
            raise CheckpointError(f"storage {key} has {length} elements where {storage.length} were announced")
        storages[key] = np.frombuffer(stream.read(length * np.dtype(storage.code).itemsize), storage.code, length)
    return tree, storages


def _with_arrays(tree: dict[str, Any], storages: dict[str, np.ndarray]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, _View):
            found[str(key)] = _array(str(key), value, storages[value.storage.key])
        elif isinstance(value, dict):
            found[str(key)] = _with_arrays(value, storages)
    return found


def _array(key: str, view: _View, storage: np.ndarray) -> np.ndarray:
    """A copy of the window `view` of `storage`, after a check that the window lies inside."""
    if len(view.shape) != len(view.strides) or min((view.offset, *view.shape, *view.strides)) < 0:
        raise CheckpointError(f"tensor {key} has the shape {view.shape} with the strides {view.strides}")
    if 0 in view.shape:
        return np.empty(view.shape, storage.dtype)
    last = view.offset + sum((length - 1) * stride for length, stride in zip(view.shape, view.strides))
    if last >= storage.size or int(np.prod(view.shape)) > storage.size:
        raise CheckpointError(f"tensor {key} reaches past the end of its storage")
    byte_strides = [stride * storage.itemsize for stride in view.strides]
    return np.lib.stride_tricks.as_strided(storage[view.offset :], view.shape, byte_strides).copy()
