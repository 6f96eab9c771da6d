"""The comparison behind scripts/compare-llamacpp (its --help says what is shown and why)."""
import argparse
import contextlib
import hashlib
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
import gemma_exact  # noqa: E402
import gguf_expand  # noqa: E402
import mixed_texts  # noqa: E402

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
F32, F16 = 0, 1  # ggml's type numbers
CHUNK = 512
N_EXACT = 128  # positions in double precision


class Ours:
    """Waypost through `waypostctl model logits`."""

    name = "waypost"

    def __init__(self, ctl, model, kv, *options):
        self.ctl, self.model, self.kv = ctl, model, {F32: "f32", F16: "f16"}[kv]
        self.options = options

    def logits(self, ids):
        with tempfile.TemporaryDirectory() as d:
            ids_file, out = pathlib.Path(d, "ids.json"), pathlib.Path(d, "logits.f32")
            ids_file.write_text(json.dumps(ids))
            shape = subprocess.run(
                [self.ctl, "model", "logits", self.model, "--ids", ids_file, "--out", out, "--kv", self.kv,
                 *self.options],
                check=True, capture_output=True, text=True,
            ).stdout.split()
            return np.fromfile(out, dtype="<f4").reshape(int(shape[0]), int(shape[1]))


class Theirs:
    """llama.cpp through llama-cpp-python."""

    name = "llama.cpp"

    def __init__(self, model, kv, n_ctx):
        with open(os.devnull, "w") as null, contextlib.redirect_stderr(null):
            self.llm = llama_cpp.Llama(
                str(model), n_ctx=n_ctx, logits_all=True, type_k=kv, type_v=kv, flash_attn=False,
                n_gpu_layers=0, verbose=False,
            )

    def tokenize(self, text):
        return self.llm.tokenize(text, add_bos=self.adds_bos(), special=False)

    def adds_bos(self):
        return bool(llama_cpp.llama_vocab_get_add_bos(self.llm._model.vocab))

    def bos(self):
        return self.llm.token_bos()

    def arch(self):
        return self.llm.metadata["general.architecture"]

    def logits(self, ids):
        self.llm.reset()
        self.llm.eval(ids)
        return self.llm.scores[: len(ids)].astype(np.float32, copy=True)


def log_softmax_at(logits, ids):
    """Natural log of the probability of ids[i] under row i, in double."""
    out = np.empty(len(ids))
    for i, token in enumerate(ids):
        row = logits[i].astype(np.float64)
        top = row.max()
        out[i] = row[token] - top - np.log(np.exp(row - top).sum())
    return out


def surprise(engine, ids, bos):
    """-ln of the probability of each token that counts in a perplexity, by the field's custom: chunks of 512,
    each alone, predictions of its second half."""
    out = []
    for at in range(0, len(ids) - CHUNK + 1, CHUNK):
        chunk = list(ids[at : at + CHUNK])
        if bos is not None:
            chunk[0] = bos
        rows = engine.logits(chunk)[CHUNK // 2 : CHUNK - 1]
        out.append(-log_softmax_at(rows, chunk[CHUNK // 2 + 1 :]))
    return np.concatenate(out)


def perplexity(nll, exact):
    """(perplexity, how much it is above that of the exact weights, the standard error of that), the last two
    as parts of one; the error from the differences token by token."""
    d = nll - exact
    return float(np.exp(nll.mean())), float(np.expm1(d.mean())), float(d.std(ddof=1) / np.sqrt(len(d)))


def compare(a, ref):
    """(relative rms, share of rows with the same likeliest token)."""
    err = ref_sq = 0.0
    for i in range(len(ref)):
        d = a[i].astype(np.float64) - ref[i]
        err += float(d @ d)
        ref_sq += float(ref[i].astype(np.float64) @ ref[i])
    return float(np.sqrt(err / ref_sq)), float((a.argmax(1) == ref.argmax(1)).mean())


def expansion(model, cache):
    stat = os.stat(model)
    tag = hashlib.sha256(f"{os.path.realpath(model)} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()
    target = pathlib.Path(cache, "expanded", f"{pathlib.Path(model).stem}.{tag[:12]}.F32.gguf")
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        print(f"expanding to F32: {target}", file=sys.stderr)
        gguf_expand.expand(model, target)
    return target


def check_tokens(ctl, model, theirs):
    """Number of texts, and those whose ids differ."""
    texts = mixed_texts.TEXTS
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as f:
        json.dump(texts, f)
        f.flush()
        out = subprocess.run(
            [ctl, "model", "tokenize", model, "--texts", f.name, "--json"],
            check=True, capture_output=True, text=True,
        ).stdout
    ours = json.loads(out)
    return len(texts), [i for i, t in enumerate(texts) if theirs.tokenize(t.encode()) != ours[i]]


def check_gemma(ctl, exact_file, theirs, ids, bound):
    """Both engines beside the formula in double precision, and it beside itself with ggml's GELU."""
    ids, meta = ids[:N_EXACT], theirs.llm.metadata
    formula = gemma_exact.logits(exact_file, meta, ids, gemma_exact.gelu)
    rounded = gemma_exact.logits(exact_file, meta, ids, gemma_exact.gelu_f16)
    rms, top1 = compare(Ours(ctl, exact_file, F32).logits(ids), formula)
    bound(rms <= 1e-5 and top1 >= 0.999,
          f"F32, beside the formula in double precision, {len(ids)} positions: relative rms {rms:.2e} (at "
          f"most 1e-5), same top token {100 * top1:.2f} % (at least 99.9 %)")
    print(f"     llama.cpp beside the formula: {compare(theirs.logits(ids), formula)[0]:.2e}; the formula with "
          f"GELU rounded to f16 as ggml does: {compare(rounded, formula)[0]:.2e}", flush=True)


def write_golden(path, text_file, ids, logits):
    """Top five of some rows; ids and numbers from llama.cpp on the exact weights."""
    rows = []
    for pos in sorted({0, 1, 2, len(ids) - 1, *range(7, len(ids), 16)}):
        order = np.argsort(-logits[pos], kind="stable")[:5]
        rows.append({"pos": pos, "top": [[int(t), round(float(logits[pos][t]), 5)] for t in order]})
    pathlib.Path(path).write_text(
        json.dumps({"text": os.path.basename(text_file), "ids": ids, "rows": rows}) + "\n"
    )


# What tests/fixtures/mktiny is asked for: every architecture, in small, with random weights.
TINY = {
    "llama": "--layers 4 --untied",
    "qwen2": "--arch qwen2 --layers 4",
    "qwen3": "--arch qwen3 --layers 4 --head-dim 32",
    "phi3": "--arch phi3 --layers 4 --untied --rot-dim 12",
    "gemma3, GELU at its ends": "--arch gemma3 --layers 7 --head-dim 32 --window 100 --gate 10000",
    "gemma3": "--arch gemma3 --layers 7 --head-dim 32 --window 100",
}
# ggml looks GELU up in a table of f16 for f16 inputs; ours is f32. So llama.cpp's Gemma is some 1e-4 from
# the formula, and this is as near as we can come; where |x| >= 10 ggml uses no table.
GELU_RMS = 1e-3


TYPES = "F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ4_NL IQ4_XS".split()


def compare_types(ctl, mktiny, bound):
    """A llama of each tensor type, as it is, beside llama.cpp on ggml's F32 expansion of it."""
    ids = [int(i) for i in np.random.default_rng(2).integers(0, 280, 256)]
    for name in TYPES:
        with tempfile.TemporaryDirectory() as d:
            raw, exact = pathlib.Path(d, "raw.gguf"), pathlib.Path(d, "f32.gguf")
            subprocess.run([mktiny, raw, "--layers", "2", "--d", "256", "--ff", "512", "--type", name.lower()],
                           check=True)
            gguf_expand.expand(raw, exact)
            ref = Theirs(exact, F32, len(ids)).logits(ids)
            got = Ours(ctl, raw, F32, "--exact").logits(ids)
            fast, _ = compare(Ours(ctl, raw, F32).logits(ids), ref)
            peer, _ = compare(Theirs(raw, F32, len(ids)).logits(ids), ref)
        rms, top1 = compare(got, ref)
        bound(rms <= 1e-5 and top1 >= 0.999,
              f"{name}: beside its F32 expansion: relative rms {rms:.2e} (at most 1e-5), largest difference "
              f"{np.abs(got - ref).max():.1e}, same top token {100 * top1:.2f} % (at least 99.9 %)")
        bound(fast <= 1.1 * peer,
              f"{name}: with 8-bit activations {fast:.2e}, llama.cpp {peer:.2e} (at most a tenth more)")


def compare_tiny(ctl, mktiny, bound):
    """Each tiny model's logits, F32 throughout, over 1,024 random tokens."""
    ids = [int(i) for i in np.random.default_rng(1).integers(0, 280, 1024)]
    for arch, options in TINY.items():
        with tempfile.NamedTemporaryFile(suffix=".gguf") as f:
            subprocess.run([mktiny, f.name, "--ctx", "1024", *options.split()], check=True)
            ref = Theirs(f.name, F32, len(ids)).logits(ids)
            rms, top1 = compare(Ours(ctl, f.name, F32).logits(ids), ref)
        most = GELU_RMS if arch == "gemma3" else 1e-5
        bound(rms <= most and top1 >= 0.999,
              f"{arch}: random weights, F32: relative rms {rms:.2e} (at most {most:.0e}), "
              f"same top token {100 * top1:.2f} % (at least 99.9 %)")


def main():
    p = argparse.ArgumentParser()
    for name in ("--ctl", "--cache"):
        p.add_argument(name, required=True)
    p.add_argument("--model")
    p.add_argument("--tiny", metavar="MKTINY")
    p.add_argument("--text")
    p.add_argument("--max-tok", type=int, default=4096)
    p.add_argument("--json")
    p.add_argument("--write-golden")
    a = p.parse_args()
    failed = []

    def bound(ok, what):
        print(f"{'ok  ' if ok else 'FAIL'} {what}", flush=True)
        if not ok:
            failed.append(what)

    if a.tiny:
        compare_tiny(a.ctl, a.tiny, bound)
        compare_types(a.ctl, a.tiny, bound)
        return 1 if failed else 0

    exact_file = expansion(a.model, a.cache)
    mixed = TOP / "tests/fixtures/text/mixed.txt"
    files = [pathlib.Path(a.text)] if a.text else [mixed]
    if not a.text and not a.write_golden:
        files += sorted((TOP / "docs").glob("*.md"))
    text = b"\n".join(f.read_bytes() for f in files)
    exact = Theirs(exact_file, F32, max(a.max_tok, CHUNK))
    ids = exact.tokenize(text)[: a.max_tok]
    bos = exact.bos() if exact.adds_bos() else None
    ref = exact.logits(ids)
    if a.write_golden:
        write_golden(a.write_golden, files[0], ids, ref)
        return 0

    result = {"tokens": len(ids)}
    n_text, differ = check_tokens(a.ctl, a.model, exact)
    result["texts"], result["texts_differ"] = n_text, len(differ)
    bound(not differ, f"token ids: {n_text - len(differ)} of {n_text} texts alike {differ[:5] or ''}")

    rms, top1 = compare(Ours(a.ctl, exact_file, F32).logits(ids), ref)
    result["f32"] = {"rms": rms, "top1": top1}
    bound(len(ids) >= 1000, f"{len(ids)} positions")
    gelu = exact.arch() == "gemma3"
    most, least = (GELU_RMS, 0.995) if gelu else (1e-5, 0.999)
    bound(rms <= most, f"F32 weights, F32 K/V: relative rms {rms:.2e} (at most {most:.0e})")
    bound(top1 >= least,
          f"F32 weights, F32 K/V: same top token {100 * top1:.2f} % (at least {100 * least:.1f} %)")

    if gelu:
        check_gemma(a.ctl, exact_file, exact, ids, bound)
    exact_nll = surprise(exact, ids, bos)
    del exact
    for engine in (Theirs(a.model, F16, max(a.max_tok, CHUNK)), Ours(a.ctl, a.model, F16)):
        rms, top1 = compare(engine.logits(ids), ref)
        ppl, above, error = perplexity(surprise(engine, ids, bos), exact_nll)
        result[engine.name] = {"rms": rms, "top1": top1, "perplexity": ppl, "above": above, "error": error}
        print(f"     {engine.name} on the file as it is, beside exact weights: relative rms {rms:.3e}, same top "
              f"token {100 * top1:.2f} %, perplexity {ppl:.4f} ({100 * above:+.3f} % ± {100 * error:.3f})", flush=True)
    ours, theirs = result["waypost"], result["llama.cpp"]
    bound(abs(ours["above"]) <= 0.005, f"perplexity {100 * ours['above']:+.3f} % (within 0.5 %)")
    bound(ours["rms"] <= theirs["rms"], "relative rms no worse than llama.cpp's")
    bound(ours["top1"] >= theirs["top1"], "same top token no rarer than with llama.cpp")
    if a.json:
        pathlib.Path(a.json).write_text(json.dumps(result, indent=2) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
