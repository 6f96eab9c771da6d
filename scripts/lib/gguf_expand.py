"""Rewrites a GGUF file with every tensor as F32. The numbers come from ggml's own dequantizers (the
library that llama-cpp-python brings), so that the expansion doesn't depend on ours. Metadata is copied
byte for byte."""
import ctypes
import mmap
import os
import pathlib
import struct

import numpy as np

SCALAR = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
UINT32, STRING, ARRAY = 4, 8, 9


class Traits(ctypes.Structure):
    """struct ggml_type_traits of ggml.h."""

    _fields_ = [
        ("type_name", ctypes.c_char_p),
        ("blck_size", ctypes.c_int64),
        ("blck_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
    ]


def ggml():
    import llama_cpp

    lib = ctypes.CDLL(str(pathlib.Path(llama_cpp.__file__).parent / "lib" / "libggml-base.so"))
    lib.ggml_get_type_traits.restype = ctypes.POINTER(Traits)
    lib.ggml_get_type_traits.argtypes = [ctypes.c_int]
    return lib


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, fmt):
        v = struct.unpack_from("<" + fmt, self.data, self.at)
        self.at += struct.calcsize("<" + fmt)
        return v if len(v) > 1 else v[0]

    def string(self):
        n = self.take("Q")
        s = self.data[self.at : self.at + n]
        self.at += n
        return s

    def skip_value(self, kind):
        if kind == STRING:
            self.string()
        elif kind == ARRAY:
            elem, n = self.take("IQ")
            if elem == STRING:
                for _ in range(n):
                    self.string()
            else:
                self.at += n * SCALAR[elem]
        else:
            self.at += SCALAR[kind]


def dequantize(lib, kind, raw, n):
    if kind == 0:
        return np.frombuffer(raw, dtype="<f4", count=n)
    traits = lib.ggml_get_type_traits(kind).contents
    out = np.empty(n, dtype="<f4")
    src = np.frombuffer(raw, dtype=np.uint8)
    traits.to_float(src.ctypes.data, out.ctypes.data, n)
    return out


def expand(source, target, change=None):
    """change, if given, makes change(name, values[rows][columns], numbers) of each tensor; numbers are
    the file's whole-number keys."""
    lib = ggml()
    with open(source, "rb") as f:
        data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    r = Reader(data)
    magic, version, n_tensor, n_kv = r.take("IIQQ")
    assert magic == 0x46554747 and version in (2, 3), "not a GGUF v2 or v3 file"
    align, kv_from, file_type_at, numbers = 32, r.at, None, {}
    for _ in range(n_kv):
        key, kind = r.string(), r.take("I")
        if key == b"general.alignment":
            align = struct.unpack_from("<I", data, r.at)[0]
        if key == b"general.file_type":
            file_type_at = r.at - kv_from
        if kind == UINT32:
            numbers[key.decode()] = struct.unpack_from("<I", data, r.at)[0]
        r.skip_value(kind)
    kv = bytearray(data[kv_from : r.at])
    if file_type_at is not None:
        struct.pack_into("<I", kv, file_type_at, 0)
    tensors = []
    for _ in range(n_tensor):
        name = r.string()
        dims = [r.take("Q") for _ in range(r.take("I"))]
        kind, offset = r.take("I"), r.take("Q")
        tensors.append((name, dims, kind, offset, int(np.prod(dims))))
    base = -(-r.at // align) * align

    head, at = bytearray(struct.pack("<IIQQ", magic, version, n_tensor, n_kv)) + kv, 0
    for name, dims, _, _, n in tensors:
        head += struct.pack("<Q", len(name)) + name + struct.pack("<I", len(dims))
        head += struct.pack(f"<{len(dims)}Q", *dims) + struct.pack("<IQ", 0, at)
        at += -(-n * 4 // align) * align
    part = f"{target}.part"
    with open(part, "wb") as out:
        out.write(head + bytes(-len(head) % align))
        for name, dims, kind, offset, n in tensors:
            t = lib.ggml_get_type_traits(kind).contents
            size = n // t.blck_size * t.type_size
            raw = data[base + offset : base + offset + size]
            values = dequantize(lib, kind, raw, n)
            if change is not None:
                values = change(name.decode(), values.reshape(-1, dims[0]), numbers).astype("<f4")
            values = values.tobytes()
            out.write(values + bytes(-len(values) % align))
    os.replace(part, target)
