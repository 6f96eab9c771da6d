"""The same model with its channels in another order: the same function, but other neighbours in each
block. Weights that were quantised once lie on a grid, block by block, and a quantiser of the same kind
finds that grid again and loses nothing; after shuffling the grid is gone, as in a trained model's own
weights."""
import numpy as np


class Shuffle:
    """Orders of the residual stream's channels, of each MLP's, and of each value head's."""

    def __init__(self, seed=1):
        self.seed = seed

    def order(self, n, *what):
        return np.random.default_rng([self.seed, *what]).permutation(n)

    def stream(self, n):
        return self.order(n, 0)

    def mlp(self, layer, n):
        return self.order(n, 1, layer)

    def heads(self, layer, numbers, arch, n, shared):
        """Of n columns of attn_output (shared = False) or rows of attn_v (True): heads keep their places,
        and those that share values share an order."""
        n_head = numbers[f"{arch}.attention.head_count"]
        n_kv = numbers.get(f"{arch}.attention.head_count_kv", n_head)
        dim = n // (n_kv if shared else n_head)
        each = [self.order(dim, 2, layer, i) for i in range(n_kv)]
        of = range(n_kv) if shared else [h * n_kv // n_head for h in range(n_head)]
        return np.concatenate([place * dim + each[kv] for place, kv in enumerate(of)])

    def __call__(self, name, x, numbers):
        arch = next(k.split(".")[0] for k in numbers if k.endswith(".block_count"))
        d = numbers[f"{arch}.embedding_length"]
        stream = self.stream(d)
        if not name.startswith("blk."):
            return x[:, stream] if x.shape[1] == d else x
        layer, what = name.split(".")[1:3]
        layer = int(layer)
        if what in ("attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm"):
            return x[:, stream]
        if what in ("attn_q", "attn_k"):
            return x[:, stream] if name.endswith(".weight") else x
        if what == "attn_v":
            return x[:, stream][self.heads(layer, numbers, arch, len(x), True)]
        if what == "attn_output":
            return x[stream][:, self.heads(layer, numbers, arch, x.shape[1], False)]
        if what in ("ffn_gate", "ffn_up"):
            return x[:, stream][self.mlp(layer, len(x))]
        if what == "ffn_down":
            return x[stream][:, self.mlp(layer, x.shape[1])]
        return x  # norms of heads
