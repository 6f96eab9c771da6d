"""Gemma 3 by its formulas, in double precision, from an F32 file: for comparing engines where llama.cpp
itself is not exact (it rounds GELU to f16). Whole prompt at once, no caches, no tricks."""
import mmap

import numpy as np

from gguf_expand import Reader

PERIOD, LOCAL_BASE = 6, 10000.0


def tensors(path):
    """{name: f32 array, rows first}, mapped."""
    with open(path, "rb") as f:
        data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
    r = Reader(data)
    _, _, n_tensor, n_kv = r.take("IIQQ")
    for _ in range(n_kv):
        r.string()
        r.skip_value(r.take("I"))
    out = {}
    for _ in range(n_tensor):
        name = r.string().decode()
        dims = [r.take("Q") for _ in range(r.take("I"))]
        kind, offset = r.take("I"), r.take("Q")
        assert kind == 0, f"{name} is not F32"
        out[name] = (dims[::-1], offset)
    base = -(-r.at // 32) * 32
    return {name: np.frombuffer(data, "<f4", int(np.prod(dims)), base + offset).reshape(dims)
            for name, (dims, offset) in out.items()}


def norm(x, w, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w


def rope(x, base):
    """x: [position][head][dim], pairs (i, i + dim/2)."""
    half = x.shape[-1] // 2
    angle = np.arange(len(x))[:, None] * base ** (-np.arange(half) / half)
    c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
    u, v = x[..., :half], x[..., half:]
    return np.concatenate([u * c - v * s, u * s + v * c], -1)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def gelu_f16(x):
    """As ggml has it: a table from f16 to f16, but beyond 10 either way."""
    y = gelu(x.astype(np.float16).astype(np.float64)).astype(np.float16).astype(np.float64)
    return np.where(x <= -10, 0, np.where(x >= 10, x, y))


def logits(path, meta, ids, act):
    """[position][vocabulary]; meta: the file's keys, as text."""
    def key(name):
        return float(meta["gemma3." + name])

    t = tensors(path)
    n, heads, kv_heads = len(ids), int(key("attention.head_count")), int(key("attention.head_count_kv"))
    dim, window, eps = int(key("attention.key_length")), key("attention.sliding_window"), key(
        "attention.layer_norm_rms_epsilon")
    pos = np.arange(n)
    x = t["token_embd.weight"][ids].astype(np.float64) * np.sqrt(key("embedding_length"))
    for layer in range(int(key("block_count"))):
        def w(name, prefix=f"blk.{layer}."):
            return t[prefix + name + ".weight"].astype(np.float64)

        far = layer % PERIOD == PERIOD - 1
        base = key("rope.freq_base") if far else LOCAL_BASE
        hidden = pos[None] > pos[:, None]
        if not far:
            hidden |= pos[:, None] - pos[None] >= window
        h = norm(x, w("attn_norm"), eps)
        q = norm((h @ w("attn_q").T).reshape(n, heads, dim), w("attn_q_norm"), eps)
        k = norm((h @ w("attn_k").T).reshape(n, kv_heads, dim), w("attn_k_norm"), eps)
        v = (h @ w("attn_v").T).reshape(n, kv_heads, dim)
        q, k, att = rope(q, base), rope(k, base), np.empty((n, heads, dim))
        for head in range(heads):
            group = head // (heads // kv_heads)
            s = q[:, head] @ k[:, group].T / np.sqrt(dim)
            s[hidden] = -np.inf
            s = np.exp(s - s.max(1, keepdims=True))
            att[:, head] = s / s.sum(1, keepdims=True) @ v[:, group]
        x = x + norm(att.reshape(n, -1) @ w("attn_output").T, w("post_attention_norm"), eps)
        h = norm(x, w("ffn_norm"), eps)
        h = (act(h @ w("ffn_gate").T) * (h @ w("ffn_up").T)) @ w("ffn_down").T
        x = x + norm(h, w("post_ffw_norm"), eps)
    x, head = norm(x, t["output_norm.weight"], eps), t["token_embd.weight"]
    step = 1 << 15
    return np.concatenate([x @ head[i : i + step].astype(np.float64).T for i in range(0, len(head), step)], 1)
