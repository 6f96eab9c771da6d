"""The llama architecture in PyTorch, weights as a GGUF holds them, for training a LoRA on layers [k, L):
the layers below are frozen and run without gradients, the part of the prompt that all samples share runs
once for the whole batch."""
import math

import torch
import torch.nn.functional as F

MATRICES = {
    "q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output",
    "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down",
}


class Lora(torch.nn.Module):
    """A and B for each matrix of layers [k, L), in f32; y += scale B (A x)."""

    def __init__(self, base, k, rank, alpha, seed):
        super().__init__()
        self.k, self.rank, self.scale = k, rank, alpha / rank
        gen = torch.Generator().manual_seed(seed)
        self.a, self.b = torch.nn.ParameterDict(), torch.nn.ParameterDict()
        for layer in range(k, base.n_layer):
            for m in MATRICES:
                n_out, n_in = base.w[layer][m].shape
                a = torch.randn(rank, n_in, generator=gen) / math.sqrt(n_in)
                self.a[f"{layer}_{m}"] = torch.nn.Parameter(a)
                self.b[f"{layer}_{m}"] = torch.nn.Parameter(torch.zeros(n_out, rank))

    def cast(self, dtype):
        """For one step: {layer: {matrix: (A, scaled B)}}; gradients flow back to the f32 masters."""
        out = {}
        for key in self.a:
            layer, m = key.split("_")
            out.setdefault(int(layer), {})[m] = (self.a[key].to(dtype), (self.b[key] * self.scale).to(dtype))
        return out

    def pairs(self):
        """{GGUF name: (A, B)} as numpy, in the file's order of layers."""
        return {
            f"blk.{key.split('_')[0]}.{MATRICES[key.split('_')[1]]}.weight":
                (self.a[key].detach().numpy(), self.b[key].detach().numpy()) for key in self.a
        }


class Base:
    def __init__(self, gguf, dtype=torch.bfloat16):
        kv = gguf.kv
        arch = kv["general.architecture"]
        if arch != "llama":
            raise SystemExit(f"architecture '{arch}': the trainer knows llama only")
        self.arch, self.dtype = arch, dtype
        self.n_layer = kv["llama.block_count"]
        self.d = kv["llama.embedding_length"]
        self.n_head = kv["llama.attention.head_count"]
        self.n_kv = kv["llama.attention.head_count_kv"]
        self.hd = self.d // self.n_head
        self.eps = kv["llama.attention.layer_norm_rms_epsilon"]
        self.theta = kv.get("llama.rope.freq_base", 10000.0)

        def get(name):
            return torch.from_numpy(gguf.tensor(name).copy())

        self.emb = get("token_embd.weight")
        head = get("output.weight") if "output.weight" in gguf.tensors else self.emb
        self.head = head.to(dtype)
        self.norm = get("output_norm.weight")
        self.w, self.norms = [], []
        for i in range(self.n_layer):
            self.w.append({m: get(f"blk.{i}.{n}.weight").to(dtype) for m, n in MATRICES.items()})
            self.norms.append((get(f"blk.{i}.attn_norm.weight"), get(f"blk.{i}.ffn_norm.weight")))
            w = self.w[-1]
            w["qkv"] = torch.cat([w["q"], w["k"], w["v"]])
            w["gu"] = torch.cat([w["gate"], w["up"]])
        freq = self.theta ** (-torch.arange(0, self.hd, 2, dtype=torch.float64) / self.hd)
        angle = torch.outer(torch.arange(512, dtype=torch.float64), freq).float()
        self.cos, self.sin = angle.cos(), angle.sin()

    def rms(self, x, w):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * w

    def rope(self, x, at):
        """x [batch][heads][n][hd]: pairs (2i, 2i + 1), as the file's weights are ordered."""
        n = x.shape[2]
        c, s = self.cos[at : at + n], self.sin[at : at + n]
        x = x.float().unflatten(-1, (-1, 2))
        a, b = x[..., 0], x[..., 1]
        return torch.stack([a * c - b * s, a * s + b * c], -1).flatten(-2).to(self.dtype)

    def linear(self, x, w, pairs):
        """x w^T, and what the pairs of the matrices that w is stacked from add."""
        y = x @ w.T
        if not pairs:
            return y
        r = pairs[0][0].shape[0]
        low = x @ (torch.cat([a for a, _ in pairs]) if len(pairs) > 1 else pairs[0][0]).T
        add = [low[..., i * r : (i + 1) * r] @ b.T for i, (_, b) in enumerate(pairs)]
        return y + (torch.cat(add, -1) if len(add) > 1 else add[0])

    def layer(self, i, x, past, lora, at):
        """x [batch][n][d] f32, past: (K, V) of [1][kv heads][at][hd] or None -> x, (K, V) of these rows."""
        w, (n1, n2) = self.w[i], self.norms[i]
        p = lora.get(i, {}) if lora else {}

        def of(*names):
            return [p[m] for m in names] if p else []

        bs, n, _ = x.shape
        h = self.rms(x, n1).to(self.dtype)
        qkv = self.linear(h, w["qkv"], of("q", "k", "v"))
        q, k, v = qkv.split([self.d, self.n_kv * self.hd, self.n_kv * self.hd], -1)
        q = self.rope(q.unflatten(-1, (self.n_head, self.hd)).transpose(1, 2), at)
        k = self.rope(k.unflatten(-1, (self.n_kv, self.hd)).transpose(1, 2), at)
        v = v.unflatten(-1, (self.n_kv, self.hd)).transpose(1, 2)
        ks, vs = k, v
        if past is not None:
            ks = torch.cat([past[0].expand(bs, -1, -1, -1), k], 2)
            vs = torch.cat([past[1].expand(bs, -1, -1, -1), v], 2)
        group = self.n_head // self.n_kv
        mask = torch.ones(n, at + n, dtype=torch.bool).tril(at)
        o = F.scaled_dot_product_attention(q, ks.repeat_interleave(group, 1), vs.repeat_interleave(group, 1), attn_mask=mask)
        o = o.transpose(1, 2).flatten(-2)
        x = x + self.linear(o, w["o"], of("o")).float()
        h = self.rms(x, n2).to(self.dtype)
        g, u = self.linear(h, w["gu"], of("gate", "up")).chunk(2, -1)
        return x + self.linear(F.silu(g) * u, w["down"], of("down")).float(), (k, v)

    def prefix(self, ids, k):
        """What of the shared beginning never changes: rows at layer k's input, K/V below."""
        with torch.no_grad():
            x, past = self.emb[ids][None], []
            for i in range(k):
                x, kv = self.layer(i, x, None, None, 0)
                past.append(kv)
        return x, past, len(ids)

    def below(self, ids, prefix, k):
        """ids [batch][n] -> rows at layer k's input."""
        with torch.no_grad():
            x = self.emb[ids]
            for i in range(k):
                x, _ = self.layer(i, x, prefix[1][i], None, prefix[2])
        return x

    def above(self, x, prefix, k, lora):
        """Rows at layer k's input -> rows before the head."""
        px, _, at = prefix
        for i in range(k, self.n_layer):
            px, kv = self.layer(i, px, None, lora, 0)
            x, _ = self.layer(i, x, kv, lora, at)
        return self.rms(x, self.norm).to(self.dtype)
