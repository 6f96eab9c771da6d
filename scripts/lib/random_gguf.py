"""Writes GGUF files of real shapes with random weights: for speed, never for sense. Blocks are random
bytes with scales that keep activations in range; the vocabulary is made up, but as long as the real one
and with as many merges, because loading it takes time too. The same arguments give the same bytes.

usage: random_gguf.py SHAPE TYPE OUT.gguf"""
import math
import pathlib
import random
import struct
import sys

# Numbers of the models' own files: arch, width, layers, heads, K/V heads, MLP, vocabulary, RoPE base, epsilon,
# context, pre-tokenizer. All tie the head to the embedding.
SHAPES = {
    "smollm2-135m": ("llama", 576, 30, 9, 3, 1536, 49152, 1e5, 1e-5, 8192, "smollm"),
    "qwen2.5-0.5b": ("qwen2", 896, 24, 14, 2, 4864, 151936, 1e6, 1e-6, 32768, "qwen2"),
    "llama3.2-1b": ("llama", 2048, 16, 32, 8, 8192, 128256, 5e5, 1e-5, 131072, "llama-bpe"),
}

# GGUF's number, elements and bytes of a block, f16 fields (offset, value for weights of deviation 1), where
# the deviations of the codes' uniform distributions are behind the values: see gguf's quants.py for layouts.
F32, Q4_0, Q4_1, Q5_0, Q8_0, Q4_K, Q6_K = "F32", "Q4_0", "Q4_1", "Q5_0", "Q8_0", "Q4_K", "Q6_K"
BLOCKS = {
    F32: (0, 1, 4, []),
    Q4_0: (2, 32, 18, [(0, 1 / 4.61)]),  # d (q - 8)
    Q4_1: (3, 32, 20, [(0, 1 / 4.61), (2, -7.5 / 4.61)]),  # d q + m
    Q5_0: (6, 32, 22, [(0, 1 / 9.23)]),  # d (q - 16)
    Q8_0: (8, 32, 34, [(0, 1 / 73.9)]),  # d q
    Q4_K: (12, 256, 144, [(0, 1 / 258), (2, 7.5 / 258)]),  # d sc q - dmin m
    Q6_K: (14, 256, 210, [(208, 1 / 1367)]),  # d sc (q - 32)
}
FILE_TYPE = {Q4_0: 2, Q4_1: 3, Q8_0: 7, "Q4_K_M": 15}
ALIGN = 32


def string(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def kv(key, value, kind):
    """kind: U32, F32, BOOL, STR, or those in a list"""
    codes = {"U32": (4, "<I"), "I32": (5, "<i"), "F32": (6, "<f"), "BOOL": (7, "<?"), "STR": (8, None)}
    if isinstance(value, list):
        code, fmt = codes[kind]
        items = b"".join(string(v) if fmt is None else struct.pack(fmt, v) for v in value)
        return string(key) + struct.pack("<IIQ", 9, code, len(value)) + items
    code, fmt = codes[kind]
    return string(key) + struct.pack("<I", code) + (string(value) if fmt is None else struct.pack(fmt, value))


def byte_letters():
    """GPT-2's printable letter for each byte: itself where it prints, else the next from U+0100 on."""
    prints = set(range(33, 127)) | set(range(161, 173)) | set(range(174, 256))
    others = iter(range(256, 512))
    return [chr(b if b in prints else next(others)) for b in range(256)]


def vocabulary(n, pre, rng):
    """Each token beyond the bytes joins two earlier ones, as BPE's do."""
    letters = byte_letters()
    tokens, merges = letters[:], []
    common = [letters[b] for b in b" etaoinsrhldcumfpgwybvk"]
    known, parts = set(tokens), common[:]
    while len(tokens) < n - 2:
        a, b = rng.choice(parts), rng.choice(parts)
        if a + b in known:
            continue
        known.add(a + b)
        tokens.append(a + b)
        if len(a + b) <= 6:
            parts.append(a + b)
        merges.append(f"{a} {b}")
    tokens += ["<|begin|>", "<|end|>"]
    return b"".join([
        kv("tokenizer.ggml.model", "gpt2", "STR"),
        kv("tokenizer.ggml.pre", pre, "STR"),
        kv("tokenizer.ggml.tokens", tokens, "STR"),
        kv("tokenizer.ggml.token_type", [1] * (n - 2) + [3, 3], "I32"),
        kv("tokenizer.ggml.merges", merges, "STR"),
        kv("tokenizer.ggml.bos_token_id", n - 2, "U32"),
        kv("tokenizer.ggml.eos_token_id", n - 1, "U32"),
        kv("tokenizer.ggml.add_bos_token", False, "BOOL"),
    ]), 8


def type_of(name, n_in, kind, n_layer):
    """llama-quantize's choice: the head gets more bits, in a K mix some values and downs too, and rows that
    a K block doesn't divide fall back to a type of 32."""
    want = Q4_K if kind == "Q4_K_M" else kind
    if name == "token_embd.weight" and kind != Q8_0:
        want = Q6_K
    elif kind == "Q4_K_M" and ("attn_v" in name or "ffn_down" in name):
        i, eighth = int(name.split(".")[1]), n_layer // 8
        if i < eighth or i >= 7 * n_layer // 8 or (i - eighth) % 3 == 2:
            want = Q6_K
    return {Q4_K: Q5_0, Q6_K: Q8_0}.get(want, want) if n_in % 256 else want


def tensors(shape, kind):
    """(name, dims, type)"""
    arch, d, n_layer, n_head, n_kv, ff, n_vocab = shape[:7]
    kvd = d // n_head * n_kv
    out = [("token_embd.weight", (d, n_vocab)), ("output_norm.weight", (d,))]
    if shape is SHAPES["llama3.2-1b"]:
        out.append(("rope_freqs.weight", (d // n_head // 2,)))
    for i in range(n_layer):
        layer = [("attn_norm", (d,)), ("attn_q", (d, d)), ("attn_k", (d, kvd)), ("attn_v", (d, kvd)),
                 ("attn_output", (d, d)), ("ffn_norm", (d,)), ("ffn_gate", (d, ff)), ("ffn_up", (d, ff)),
                 ("ffn_down", (ff, d))]
        out += [(f"blk.{i}.{n}.weight", dims) for n, dims in layer]
        if arch == "qwen2":
            out += [(f"blk.{i}.attn_{n}.bias", (dim,)) for n, dim in (("q", d), ("k", kvd), ("v", kvd))]
    return [(n, dims, F32 if len(dims) == 1 else type_of(n, dims[0], kind, n_layer)) for n, dims in out]


def rope_freqs(n, base):
    """Llama 3's divisors of RoPE's angles (factor 32, 8192 positions before; config.json of Llama 3.2)."""
    out = []
    for i in range(n):
        turns = 8192 * base ** (-i / n) / (2 * math.pi)
        smooth = min(max((turns - 1) / (4 - 1), 0), 1)
        out.append(1 / (smooth + (1 - smooth) / 32))
    return out


def n_bytes(dims, kind):
    _, per_block, size, _ = BLOCKS[kind]
    return math.prod(dims) // per_block * size


def data(name, dims, kind, base, rng):
    """Yields pieces of the tensor's bytes."""
    if name == "rope_freqs.weight":
        yield struct.pack(f"<{dims[0]}f", *rope_freqs(dims[0], base))
    elif kind == F32:
        yield struct.pack("<f", 0.0 if name.endswith("bias") else 1.0) * dims[0]
    else:
        _, _, size, scales = BLOCKS[kind]
        left = n_bytes(dims, kind) // size
        while left > 0:
            n = min(left, 1 << 18)
            piece = bytearray(rng.randbytes(n * size))
            for at, value in scales:
                low, high = struct.pack("<e", value * dims[0] ** -0.5)
                piece[at::size] = bytes([low]) * n
                piece[at + 1 :: size] = bytes([high]) * n
            yield piece
            left -= n


def write(path, shape_name, kind):
    shape = SHAPES[shape_name]
    arch, d, n_layer, n_head, n_kv, ff, n_vocab, base, eps, n_ctx, pre = shape
    rng = random.Random(f"{shape_name} {kind}")
    list_of = tensors(shape, kind)
    vocab, n_vocab_kv = vocabulary(n_vocab, pre, rng)
    meta = [
        kv("general.architecture", arch, "STR"),
        kv("general.name", f"random {shape_name} {kind}", "STR"),
        kv("general.file_type", FILE_TYPE[kind], "U32"),
        kv("general.quantization_version", 2, "U32"),
        kv(f"{arch}.context_length", n_ctx, "U32"),
        kv(f"{arch}.embedding_length", d, "U32"),
        kv(f"{arch}.block_count", n_layer, "U32"),
        kv(f"{arch}.feed_forward_length", ff, "U32"),
        kv(f"{arch}.attention.head_count", n_head, "U32"),
        kv(f"{arch}.attention.head_count_kv", n_kv, "U32"),
        kv(f"{arch}.attention.layer_norm_rms_epsilon", eps, "F32"),
        kv(f"{arch}.rope.freq_base", base, "F32"),
        kv(f"{arch}.rope.dimension_count", d // n_head, "U32"),
        kv(f"{arch}.vocab_size", n_vocab, "U32"),
    ]
    infos, at = b"", 0
    for name, dims, t in list_of:
        infos += string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, BLOCKS[t][0], at)
        at += -(-n_bytes(dims, t) // ALIGN) * ALIGN
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(list_of), len(meta) + n_vocab_kv)
    part = pathlib.Path(f"{path}.part")
    with open(part, "wb") as f:
        f.write(head + b"".join(meta) + vocab + infos)
        f.write(bytes(-f.tell() % ALIGN))
        for name, dims, t in list_of:
            for piece in data(name, dims, t, base, rng):
                f.write(piece)
            f.write(bytes(-f.tell() % ALIGN))
    part.rename(path)


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in SHAPES or sys.argv[2] not in FILE_TYPE:
        sys.exit(f"{__doc__}\nshapes: {' '.join(SHAPES)}\ntypes: {' '.join(FILE_TYPE)}")
    write(sys.argv[3], sys.argv[1], sys.argv[2])
