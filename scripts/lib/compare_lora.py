"""The comparison behind scripts/compare-lora (its --help says what is shown and why)."""
import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import llama_cpp

sys.path.insert(0, os.path.dirname(__file__))
sys.dont_write_bytecode = True
import compare_llamacpp as base  # noqa: E402
import gguf_expand  # noqa: E402

# What tests/fixtures/mklora is asked for. A rank of 16 on all matrices is what the field trains.
ADAPTERS = {
    "F32, all matrices": "--type f32 --rank 16",
    "F16, all matrices": "--type f16 --rank 16",
    "Q8_0, all matrices": "--type q8_0 --rank 32",
    "F16, attention": "--type f16 --rank 64 --names attn_q,attn_k,attn_v,attn_output",
    "F16, layers from the middle on": "--type f16 --rank 8 --from {middle}",
}


class Ours(base.Ours):
    def __init__(self, ctl, model, adapter):
        super().__init__(ctl, model, base.F32)
        self.adapter = adapter

    def logits(self, ids):
        with tempfile.TemporaryDirectory() as d:
            ids_file, out = pathlib.Path(d, "ids.json"), pathlib.Path(d, "logits.f32")
            ids_file.write_text(json.dumps(ids))
            shape = subprocess.run(
                [self.ctl, "model", "logits", self.model, "--adapter", self.adapter, "--ids", ids_file,
                 "--out", out, "--kv", "f32"], check=True, capture_output=True, text=True,
            ).stdout.split()
            return np.fromfile(out, dtype="<f4").reshape(int(shape[0]), int(shape[1]))


class Theirs(base.Theirs):
    def __init__(self, model, adapter, n_ctx):
        with open(os.devnull, "w") as null, contextlib.redirect_stderr(null):
            self.llm = llama_cpp.Llama(
                str(model), n_ctx=n_ctx, logits_all=True, type_k=base.F32, type_v=base.F32, flash_attn=False,
                n_gpu_layers=0, verbose=False, lora_path=str(adapter),
            )


def compare_adapter(a, model, options, ids, plain, rms_most, what, bound):
    with tempfile.TemporaryDirectory() as d:
        adapter, exact = pathlib.Path(d, "adapter.gguf"), pathlib.Path(d, "exact.gguf")
        subprocess.run([a.mklora, model, adapter, "--sd", a.sd, *options.split()], check=True)
        gguf_expand.expand(adapter, exact)
        ref = Theirs(model, exact, len(ids)).logits(ids)
        got = Ours(a.ctl, model, adapter).logits(ids)
        own = Theirs(model, adapter, len(ids)).logits(ids)
    rms, top1 = base.compare(got, ref)
    moved = base.compare(plain, ref)[0]
    bound(rms <= rms_most and top1 >= 0.999 and moved > 0.01,
          f"{what}: relative rms {rms:.2e} (at most {rms_most:.0e}), same top token {100 * top1:.2f} % (at least "
          f"99.9 %); the adapter moves them by {moved:.2f}")
    print(f"     llama.cpp with the adapter as it is: {base.compare(own, ref)[0]:.2e}", flush=True)


def main():
    p = argparse.ArgumentParser()
    for name in ("--ctl", "--cache", "--mklora"):
        p.add_argument(name, required=True)
    p.add_argument("--model")
    p.add_argument("--tiny", metavar="MKTINY")
    p.add_argument("--text", default=str(base.TOP / "tests/fixtures/text/mixed.txt"))
    p.add_argument("--max-tok", type=int, default=1024)
    p.add_argument("--sd", default="0.1")
    a = p.parse_args()
    failed = []

    def bound(ok, what):
        print(f"{'ok  ' if ok else 'FAIL'} {what}", flush=True)
        if not ok:
            failed.append(what)

    if a.tiny:
        ids = [int(i) for i in np.random.default_rng(3).integers(0, 280, 256)]
        for arch, options in base.TINY.items():
            with tempfile.NamedTemporaryFile(suffix=".gguf") as f:
                subprocess.run([a.tiny, f.name, "--ctx", "1024", *options.split()], check=True)
                plain = base.Theirs(f.name, base.F32, len(ids)).logits(ids)
                head = " --head" if "untied" in options else ""
                most = base.GELU_RMS if arch == "gemma3" else 1e-5
                compare_adapter(a, f.name, "--type f16 --rank 16" + head, ids, plain, most, arch, bound)
        return 1 if failed else 0

    model = base.expansion(a.model, a.cache)
    llm = base.Theirs(model, base.F32, a.max_tok)
    ids = llm.tokenize(pathlib.Path(a.text).read_bytes())[: a.max_tok]
    plain = llm.logits(ids)
    middle = int(llm.llm.metadata[f"{llm.arch()}.block_count"]) // 2
    del llm
    for what, options in ADAPTERS.items():
        compare_adapter(a, model, options.format(middle=middle), ids, plain, 1e-5, what, bound)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
