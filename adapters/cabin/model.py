"""The llama architecture in PyTorch, weights as a GGUF holds them, for training a LoRA on layers [k, L). The
layers below are frozen and run without gradients. The beginning that all prompts share stands once in a step,
as rows before those of the samples, whose queries see its keys and values.

Backward passes are written out where PyTorch's own would make many small operations: on a CPU they cost as
much as the products."""
import math

import torch

MATRICES = {
    "q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output",
    "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down",
}
STACKS = {"qkv": ("q", "k", "v"), "o": ("o",), "gu": ("gate", "up"), "down": ("down",)}


class Lora(torch.nn.Module):
    """A and B for each matrix of layers [k, L), in f32; y += scale B (A x)."""

    def __init__(self, base, k, rank, alpha, seed):
        super().__init__()
        self.k, self.rank, self.scale = k, rank, alpha / rank
        gen = torch.Generator().manual_seed(seed)
        self.a, self.b = torch.nn.ParameterDict(), torch.nn.ParameterDict()
        for layer in range(k, base.n_layer):
            for m in MATRICES:
                n_out, n_in = base.shape[m]
                a = torch.randn(rank, n_in, generator=gen) / math.sqrt(n_in)
                self.a[f"{layer}_{m}"] = torch.nn.Parameter(a.to(base.device))
                self.b[f"{layer}_{m}"] = torch.nn.Parameter(torch.zeros(n_out, rank, device=base.device))

    def cast(self, dtype):
        """For one step: {layer: {stack: (A's one below the other, scaled B's as blocks of a diagonal)}}.
        Gradients flow back to the f32 masters."""
        out = {}
        layers = {int(key.split("_")[0]) for key in self.a}
        for layer in layers:
            out[layer] = {}
            for stack, parts in STACKS.items():
                a = [self.a[f"{layer}_{m}"] for m in parts]
                b = [self.b[f"{layer}_{m}"] for m in parts]
                a = torch.cat(a) if len(a) > 1 else a[0]
                b = torch.block_diag(*b) if len(b) > 1 else b[0]
                out[layer][stack] = (a.to(dtype), (b * self.scale).to(dtype))
        return out

    def load(self, gguf):
        """Goes on from an adapter's file of the same layers and rank."""
        with torch.no_grad():
            for key in self.a:
                layer, m = key.split("_")
                for half, x in (("a", self.a[key]), ("b", self.b[key])):
                    x.copy_(torch.from_numpy(gguf.tensor(f"blk.{layer}.{MATRICES[m]}.weight.lora_{half}").copy()))

    def pairs(self):
        """{GGUF name: (A, B)} as numpy, in the file's order of layers."""
        return {
            f"blk.{key.split('_')[0]}.{MATRICES[key.split('_')[1]]}.weight":
                tuple(x[key].detach().cpu().numpy() for x in (self.a, self.b)) for key in self.a
        }


class Linear(torch.autograd.Function):
    """x W^T + (x A^T) B^T; W is frozen."""

    @staticmethod
    def forward(ctx, x, w, a, b):
        low = x @ a.T
        ctx.save_for_backward(x, w, a, b, low)
        return torch.addmm(x @ w.T, low, b.T)

    @staticmethod
    def backward(ctx, g):
        x, w, a, b, low = ctx.saved_tensors
        g_low = g @ b
        return torch.addmm(g @ w, g_low, a), None, g_low.T @ x, g.T @ low


class Norm(torch.autograd.Function):
    """RMSNorm of f32 rows, to dtype."""

    @staticmethod
    def forward(ctx, x, w, eps, dtype):
        r = torch.rsqrt(torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(eps))
        unit = x * r
        ctx.save_for_backward(unit, w, r)
        return (unit * w).to(dtype)

    @staticmethod
    def backward(ctx, g):
        unit, w, r = ctx.saved_tensors
        g = g * w
        along = torch.linalg.vecdot(g, unit).unsqueeze(-1).div_(g.shape[-1])
        return torch.addcmul(g, unit, along, value=-1).mul_(r), None, None, None


class Gate(torch.autograd.Function):
    """silu(gate) up, of [gate | up]."""

    @staticmethod
    def forward(ctx, gu):
        ctx.save_for_backward(gu)
        gate, up = gu.chunk(2, -1)
        return torch.nn.functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx, g):
        (gu,) = ctx.saved_tensors
        gate, up = gu.chunk(2, -1)
        out = torch.empty_like(gu)
        to_gate, to_up = out.chunk(2, -1)
        torch.mul(g, torch.nn.functional.silu(gate), out=to_up)
        to_gate.copy_(torch.ops.aten.silu_backward(g * up, gate))
        return out


def product_type(device):
    """bfloat16 where the processor multiplies it; elsewhere PyTorch emulates it, many times slower than float32."""
    fast = device != "cpu" or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32


class Base:
    def __init__(self, gguf, dtype, device):
        kv = gguf.kv
        arch = kv["general.architecture"]
        if arch != "llama":
            raise SystemExit(f"architecture '{arch}': the trainer knows llama only")
        self.arch, self.dtype, self.device = arch, dtype, device
        self.n_layer = kv["llama.block_count"]
        self.d = kv["llama.embedding_length"]
        self.n_head = kv["llama.attention.head_count"]
        self.n_kv = kv["llama.attention.head_count_kv"]
        self.hd = self.d // self.n_head
        self.eps = kv["llama.attention.layer_norm_rms_epsilon"]
        theta = kv.get("llama.rope.freq_base", 10000.0)

        def get(name):
            return torch.from_numpy(gguf.tensor(name).copy()).to(device)

        self.emb = get("token_embd.weight")
        head = get("output.weight") if "output.weight" in gguf.tensors else self.emb
        self.head = head.to(dtype)
        self.norm = get("output_norm.weight")
        self.w, self.norms, self.shape = [], [], {}
        for i in range(self.n_layer):
            own = {m: get(f"blk.{i}.{n}.weight").to(dtype) for m, n in MATRICES.items()}
            self.shape = {m: w.shape for m, w in own.items()}
            self.w.append({s: torch.cat([own[m] for m in parts]) for s, parts in STACKS.items()})
            self.norms.append((get(f"blk.{i}.attn_norm.weight"), get(f"blk.{i}.ffn_norm.weight")))
        freq = theta ** (-torch.arange(0, self.hd, 2, dtype=torch.float64) / self.hd)
        angle = torch.outer(torch.arange(512, dtype=torch.float64), freq).float()
        self.turn = torch.polar(torch.ones_like(angle), angle).to(device)

    def rope(self, x, at):
        """x [batch][n][heads][hd]: pairs (2i, 2i + 1), as the file's weights are ordered."""
        turn = self.turn[at : at + x.shape[1], None, :]
        x = torch.view_as_complex(x.float().unflatten(-1, (-1, 2))) * turn
        return torch.view_as_real(x).flatten(-2).to(self.dtype)

    def attend(self, qkv, batch, at, past):
        """Rows of `batch` samples from position `at` on, behind the keys and values of past -> rows, their K/V."""
        n = qkv.shape[0] // batch
        qkv = qkv.view(batch, n, self.n_head + 2 * self.n_kv, self.hd)
        q, k, v = qkv.split([self.n_head, self.n_kv, self.n_kv], 2)
        qk = self.rope(torch.cat([q, k], 2), at)
        q, k = qk.split([self.n_head, self.n_kv], 2)
        ks, vs = k, v
        if past is not None:
            ks = torch.cat([past[0].expand(batch, -1, -1, -1), k], 1)
            vs = torch.cat([past[1].expand(batch, -1, -1, -1), v], 1)
        group, m = self.n_head // self.n_kv, ks.shape[1]
        # a key's and value's head serves `group` queries' heads: these are one product
        q = q.unflatten(2, (self.n_kv, group)).permute(0, 2, 3, 1, 4).reshape(batch * self.n_kv, group * n, self.hd)
        ks = ks.transpose(1, 2).reshape(batch * self.n_kv, m, self.hd)
        vs = vs.transpose(1, 2).reshape(batch * self.n_kv, m, self.hd)
        unseen = torch.ones(n, m, dtype=torch.bool, device=self.device).tril(m - n).logical_not().repeat(group, 1)
        s = (q @ ks.transpose(1, 2)).float().mul(self.hd**-0.5).masked_fill(unseen, float("-inf"))
        o = torch.softmax(s, -1).to(self.dtype) @ vs
        o = o.view(batch, self.n_kv, group, n, self.hd).permute(0, 3, 1, 2, 4)
        return o.reshape(batch * n, self.d), (k, v)

    def layer(self, i, x, lead, batch, past, lora):
        """x f32: `lead` rows of the shared beginning (0: its K/V are `past`), then those of the samples."""
        w, (n1, n2) = self.w[i], self.norms[i]
        p = lora[i] if lora else None

        def linear(h, stack):
            return Linear.apply(h, w[stack], *p[stack]) if p else h @ w[stack].T

        qkv = linear(Norm.apply(x, n1, self.eps, self.dtype), "qkv")
        if lead:
            first, past = self.attend(qkv[:lead], 1, 0, None)
        o, kv = first if lead else None, past
        if batch:
            rows, kv = self.attend(qkv[lead:], batch, lead or past[0].shape[1], past)
            o = torch.cat([o, rows]) if lead else rows
        x = x + linear(o, "o")
        h = Norm.apply(x, n2, self.eps, self.dtype)
        return x + linear(Gate.apply(linear(h, "gu")), "down"), past

    def prefix(self, ids, k):
        """What of the shared beginning never changes: rows at layer k's input, K/V below."""
        with torch.no_grad():
            x, past = self.emb[ids], []
            for i in range(k):
                x, kv = self.layer(i, x, len(ids), 0, None, None)
                past.append(kv)
        return x, past

    def below(self, ids, prefix, k):
        """ids [batch][n] -> rows [batch * n] at layer k's input."""
        with torch.no_grad():
            x = self.emb[ids.flatten()]
            for i in range(k):
                x, _ = self.layer(i, x, 0, len(ids), prefix[1][i], None)
        return x

    def above(self, x, batch, prefix, k, lora):
        """Rows at layer k's input -> rows [batch][n] before the head."""
        lead = len(prefix[0])
        x = torch.cat([prefix[0], x])
        for i in range(k, self.n_layer):
            x, _ = self.layer(i, x, lead, batch, None, lora)
        return Norm.apply(x[lead:], self.norm, self.eps, self.dtype).unflatten(0, (batch, -1))
