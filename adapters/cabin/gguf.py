"""Reads a GGUF model as numpy arrays, and writes a GGUF LoRA as llama.cpp's convert_lora_to_gguf lays one
out. The format: ggml's docs/gguf.md. Blocks: F32, F16, Q4_0, Q4_1, Q8_0; another is an error by name."""
import mmap
import struct

import numpy as np

MAGIC, ALIGN = 0x46554747, 32
SCALAR = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
UINT32, FLOAT32, STRING, ARRAY = 4, 6, 8, 9
F32, F16, Q4_0, Q4_1, Q8_0 = 0, 1, 2, 3, 8
BLOCK_BYTES = {Q4_0: 18, Q4_1: 20, Q8_0: 34}
TYPES = {"f32": F32, "f16": F16, "q8_0": Q8_0}


class Model:
    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        self.at = 0
        magic, version, n_tensor, n_kv = self.take("IIQQ")
        if magic != MAGIC or version not in (2, 3):
            raise SystemExit(f"{path}: not a GGUF v2 or v3 file")
        self.kv, self.tensors = {}, {}
        for _ in range(n_kv):
            key = self.string()
            self.kv[key] = self.value(self.take("I"))
        for _ in range(n_tensor):
            name = self.string()
            dims = [self.take("Q") for _ in range(self.take("I"))]
            self.tensors[name] = (dims, self.take("I"), self.take("Q"))
        align = self.kv.get("general.alignment", ALIGN)
        self.base = -(-self.at // align) * align

    def take(self, fmt):
        v = struct.unpack_from("<" + fmt, self.data, self.at)
        self.at += struct.calcsize("<" + fmt)
        return v if len(v) > 1 else v[0]

    def string(self):
        n = self.take("Q")
        self.at += n
        return self.data[self.at - n : self.at].decode("utf-8", "replace")

    def value(self, kind):
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            elem, n = self.take("IQ")
            return [self.value(elem) for _ in range(n)]
        return self.take(SCALAR[kind])

    def tensor(self, name):
        """[rows][columns] f32, or [n] of one row."""
        dims, kind, offset = self.tensors[name]
        n = int(np.prod(dims))
        at = self.base + offset
        if kind == F32:
            x = np.frombuffer(self.data, "<f4", n, at)
        elif kind == F16:
            x = np.frombuffer(self.data, "<f2", n, at).astype("f4")
        elif kind in BLOCK_BYTES:
            raw = np.frombuffer(self.data, "u1", n // 32 * BLOCK_BYTES[kind], at).reshape(-1, BLOCK_BYTES[kind])
            d = raw[:, :2].copy().view("<f2").astype("f4")
            if kind == Q8_0:
                x = d * raw[:, 2:].copy().view("i1")
            else:
                q = raw[:, -16:]
                q = np.concatenate([q & 15, q >> 4], axis=1).astype("f4")
                x = d * (q - 8) if kind == Q4_0 else d * q + raw[:, 2:4].copy().view("<f2").astype("f4")
        else:
            raise SystemExit(f"{name}: type {kind} is none that the trainer reads")
        return x.reshape(dims[::-1])


def q8_0(x):
    """[rows][columns] -> bytes; columns are whole blocks of 32."""
    b = x.reshape(-1, 32).astype("f4")
    d = np.abs(b).max(axis=1, keepdims=True) / 127
    d = d.astype("<f2")
    scale = d.astype("f4")
    q = np.round(np.divide(b, scale, out=np.zeros_like(b), where=scale > 0)).clip(-127, 127).astype("i1")
    return np.concatenate([d.view("u1"), q.view("u1")], axis=1).tobytes()


def write_lora(path, arch, name, alpha, base_hash, pairs, kind, extra=()):
    """pairs: {matrix name: (A [rank][in], B [out][rank])}. A B whose rank is no whole block is F16, as
    convert_lora_to_gguf does."""
    kv = [("general.type", "adapter"), ("general.architecture", arch), ("general.name", name),
          ("adapter.type", "lora"), ("adapter.lora.alpha", float(alpha)), ("waypost.base_model.hash", base_hash), *extra]
    tensors = [(f"{m}.lora_{h}", x) for m, ab in pairs.items() for h, x in zip("ab", ab)]
    head = bytearray(struct.pack("<IIQQ", MAGIC, 3, len(tensors), len(kv)))

    def string(s):
        s = s.encode()
        return struct.pack("<Q", len(s)) + s

    for key, v in kv:
        head += string(key)
        head += struct.pack("<If", FLOAT32, v) if isinstance(v, float) else struct.pack("<I", STRING) + string(v)
    body = bytearray()
    for tensor, x in tensors:
        own = TYPES[kind] if x.shape[1] % 32 == 0 or kind != "q8_0" else F16
        head += string(tensor) + struct.pack("<IQQIQ", 2, x.shape[1], x.shape[0], own, len(body))
        body += q8_0(x) if own == Q8_0 else x.astype({F32: "<f4", F16: "<f2"}[own]).tobytes()
        body += bytes(-len(body) % ALIGN)
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % ALIGN) + body)
