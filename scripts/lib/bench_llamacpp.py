"""One configuration of llama.cpp, measured as `waypostctl model bench --json` measures ours, and told in
the same words. Through the C API: the tokens of each call, and nothing else, are what is timed."""
import argparse
import ctypes
import json
import os
import pathlib
import statistics
import sys
import time

import llama_cpp as L

MAX_CPU = 512  # GGML_MAX_N_THREADS


class PoolParams(ctypes.Structure):
    """struct ggml_threadpool_params of ggml-cpu.h."""

    _fields_ = [
        ("cpumask", ctypes.c_bool * MAX_CPU),
        ("n_threads", ctypes.c_int),
        ("prio", ctypes.c_int),
        ("poll", ctypes.c_uint32),
        ("strict_cpu", ctypes.c_bool),
        ("paused", ctypes.c_bool),
    ]


def status_kib(key):
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    return 0


def spread(values):
    return {"min": min(values), "median": statistics.median(values), "max": max(values)}


class Engine:
    """A model and one context for n_seq sequences of n_ctx positions each. unified: they may share positions."""

    def __init__(self, a, n_ctx, n_seq, unified=False):
        self.a, self.n_seq = a, n_seq
        mp = L.llama_model_default_params()
        mp.n_gpu_layers = 0
        mp.use_extra_bufts = a.repack
        mp.load_mode = L.LLAMA_LOAD_MODE_MMAP if a.mmap else L.LLAMA_LOAD_MODE_NONE
        self.model = L.llama_model_load_from_file(os.fsencode(a.file), mp)
        if not self.model:
            raise SystemExit(f"llama.cpp can't load {a.file}")
        cp = L.llama_context_default_params()
        cp.n_seq_max = n_seq
        cp.kv_unified = unified
        cp.n_ctx = (n_ctx + 255) // 256 * 256 * n_seq
        cp.n_batch = max(a.ubatch, 512)
        cp.n_ubatch = a.ubatch
        cp.n_threads = cp.n_threads_batch = a.threads
        cp.flash_attn_type = L.LLAMA_FLASH_ATTN_TYPE_ENABLED if a.fa else L.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self.ctx = L.llama_init_from_model(self.model, cp)
        if not self.ctx:
            raise SystemExit("llama.cpp can't make a context")
        self.kv_pos = L.llama_n_ctx(self.ctx)
        self.attach_pool()
        self.n_vocab = L.llama_vocab_n_tokens(L.llama_model_get_vocab(self.model))
        self.n_batch = cp.n_batch
        self.batch = L.llama_batch_init(max(cp.n_batch, n_seq), 0, 1)
        self.held = [0] * n_seq

    def attach_pool(self):
        """As llama.cpp's own tools do: otherwise each step starts its threads anew."""
        self.pool = None
        if self.a.poll is None:
            return
        libs = pathlib.Path(L.__file__).parent / "lib"
        lib = ctypes.CDLL(str(libs / "libggml-cpu.so"))
        base = ctypes.CDLL(str(libs / "libggml-base.so"))
        base.ggml_threadpool_params_init.argtypes = [ctypes.POINTER(PoolParams), ctypes.c_int]
        base.ggml_threadpool_params_init.restype = None
        lib.ggml_threadpool_new.argtypes = [ctypes.POINTER(PoolParams)]
        lib.ggml_threadpool_new.restype = ctypes.c_void_p
        lib.ggml_threadpool_free.argtypes = [ctypes.c_void_p]
        lib.ggml_threadpool_free.restype = None
        p = PoolParams()
        base.ggml_threadpool_params_init(ctypes.byref(p), self.a.threads)
        p.poll = self.a.poll
        self.pool, self.lib = lib.ggml_threadpool_new(ctypes.byref(p)), lib
        attach = ctypes.CDLL(str(libs / "libllama.so")).llama_attach_threadpool
        attach.argtypes, attach.restype = [ctypes.c_void_p] * 3, None
        attach(self.ctx, self.pool, self.pool)

    def close(self):
        L.llama_batch_free(self.batch)
        L.llama_free(self.ctx)
        if self.pool:
            self.lib.ggml_threadpool_free(self.pool)
        L.llama_model_free(self.model)

    def trim(self, seq, n_pos):
        L.llama_memory_seq_rm(L.llama_get_memory(self.ctx), seq, n_pos, -1)
        self.held[seq] = min(self.held[seq], n_pos)

    def run(self, rows):
        """rows: (token, seq, wants logits), appended to their sequences."""
        b = self.batch
        b.n_tokens = len(rows)
        for i, (token, seq, want) in enumerate(rows):
            b.token[i], b.pos[i], b.n_seq_id[i], b.seq_id[i][0], b.logits[i] = token, self.held[seq], 1, seq, want
            self.held[seq] += 1
        t0 = time.perf_counter()
        if L.llama_decode(self.ctx, b) != 0:
            raise SystemExit("llama_decode failed")
        for i, (_, _, want) in enumerate(rows):
            if want:
                L.llama_get_logits_ith(self.ctx, i)
        return time.perf_counter() - t0

    def feed(self, seq, text):
        """Seconds."""
        s = 0.0
        for at in range(0, len(text), self.n_batch):
            part = text[at : at + self.n_batch]
            last = at + len(part) == len(text)
            s += self.run([(t, seq, last and i == len(part) - 1) for i, t in enumerate(part)])
        return s


def run_prompt(e, text):
    e.trim(0, 0)
    return e.feed(0, text) * 1e3


def run_decode(e, n_seq, n_ctx, n_decode, text):
    for seq in range(n_seq):
        e.trim(seq, n_ctx)
    s = sum(e.run([(text[(k + i) % len(text)], i, True) for i in range(n_seq)]) for k in range(n_decode))
    return n_seq * n_decode / s


def repeated(a, fn, *args):
    for _ in range(a.warm):
        fn(*args)
    return spread([fn(*args) for _ in range(a.repeat)])


def decode_case(a, e, n_seq, n_ctx, text):
    for seq in range(n_seq):
        if e.held[seq] < n_ctx:
            e.trim(seq, 0)
            e.feed(seq, text[:n_ctx])
    return {"batch": n_seq, "context": n_ctx, "tok_s": repeated(a, run_decode, e, n_seq, n_ctx, a.decode, text)}


def measure(a):
    out = {"prompt": [], "decode": []}
    n_text = max(a.prompt + a.context + [1])
    n_ctx = max(n_text, max(a.context) + a.decode)
    idle_kib = status_kib("VmRSS")
    load = []
    e = None
    for _ in range(a.warm + a.repeat):
        if e:
            e.close()
        t0 = time.perf_counter()
        e = Engine(a, n_ctx, 1)
        e.feed(0, [0])
        load.append((time.perf_counter() - t0) * 1e3)
    out["load_ms"] = spread(load[a.warm :])
    text = [i * 2654435761 % 2**32 % e.n_vocab for i in range(n_text)]
    for n in a.prompt:
        ms = repeated(a, run_prompt, e, text[:n])
        out["prompt"].append({"tok": n, "first_token_ms": ms, "tok_s": n * 1e3 / ms["median"]})
    for n in reversed(a.context):
        out["decode"].insert(0, decode_case(a, e, 1, n, text))
    # What Python and its libraries took before is not the engine's.
    out["peak_rss_mib"] = (status_kib("VmHWM") - idle_kib) / 1024
    out["kv_pos"] = e.kv_pos
    e.close()
    for n in a.batch:
        if n > 1:
            e = Engine(a, a.context[0] + a.decode, n)
            out["decode"].append(decode_case(a, e, n, a.context[0], text))
            e.close()
    return out


def counts(s):
    return [int(v) for v in s.split(",")]


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("file")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--prompt", type=counts, default=[])
    p.add_argument("--batch", type=counts, default=[1])
    p.add_argument("--context", type=counts, default=[0])
    p.add_argument("--decode", type=int, default=32)
    p.add_argument("--warm", type=int, default=1)
    p.add_argument("--repeat", type=int, default=1)
    p.add_argument("--ubatch", type=int, default=512)
    p.add_argument("--poll", type=int)
    for name in "fa", "repack", "mmap":
        p.add_argument("--" + name, type=int, default=1)
    a = p.parse_args()
    quiet = L.llama_log_callback(lambda level, text, user: None)
    L.llama_log_set(quiet, None)
    L.llama_backend_init()
    json.dump(measure(a), sys.stdout)


if __name__ == "__main__":
    main()
