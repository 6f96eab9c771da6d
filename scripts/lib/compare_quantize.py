"""The comparison behind scripts/compare-quantize (its --help says what is shown and why)."""
import argparse
import ctypes
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import llama_cpp
import numpy as np

sys.path.insert(0, os.path.dirname(__file__))
sys.dont_write_bytecode = True
import gguf_expand  # noqa: E402
import gguf_shuffle  # noqa: E402

FTYPE = {"q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9, "q2_k": 10, "q3_k_m": 12, "q4_k_s": 14,
         "q4_k_m": 15, "q5_k_s": 16, "q5_k_m": 17, "q6_k": 18, "iq4_nl": 25}
PPL, SIZE = 1.01, 1.0  # ours at most so many times theirs


def source_of(model, cache, grid):
    """The F32 file that both quantise."""
    stat = os.stat(model)
    tag = hashlib.sha256(f"{os.path.realpath(model)} {stat.st_size} {stat.st_mtime_ns} {grid}".encode())
    name = f"{pathlib.Path(model).stem}.{tag.hexdigest()[:12]}.{'F32' if grid else 'shuffled'}.gguf"
    target = pathlib.Path(cache, "expanded", name)
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        print(f"expanding to F32: {target}", file=sys.stderr)
        gguf_expand.expand(model, target, None if grid else gguf_shuffle.Shuffle())
    return target


def imatrix_of(path):
    """A calibration file as llama.cpp's array of means, and what must outlive it."""
    with open(path, "rb") as f:
        data = f.read()
    r = gguf_expand.Reader(data)
    _, _, n_tensor, n_kv = r.take("IIQQ")
    for _ in range(n_kv):
        r.string()
        r.skip_value(r.take("I"))
    table = []
    for _ in range(n_tensor):
        name = r.string().decode()
        dims = [r.take("Q") for _ in range(r.take("I"))]
        kind, offset = r.take("I"), r.take("Q")
        assert kind == 0
        table.append((name, int(np.prod(dims)), offset))
    base = -(-r.at // 32) * 32
    value = {name: np.frombuffer(data, "<f4", n, base + at) for name, n, at in table}
    means = {name[: -len(".in_sum2")]: np.ascontiguousarray(v / value[name[: -len("in_sum2")] + "counts"][0])
             for name, v in value.items() if name.endswith(".in_sum2")}
    array = (llama_cpp.llama_model_imatrix_data * (len(means) + 1))()
    keep = []
    for i, (name, v) in enumerate(means.items()):
        keep.append((ctypes.c_char_p(name.encode()), v))
        array[i].name = keep[-1][0]
        array[i].data = v.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        array[i].size = len(v)
    return array, keep


def theirs(source, target, kind, threads, calibration):
    p = llama_cpp.llama_model_quantize_default_params()
    p.ftype, p.nthread = FTYPE[kind], threads
    if calibration:
        array, keep = imatrix_of(calibration)
        p.imatrix = ctypes.cast(array, type(p.imatrix))
    with open(os.devnull, "w") as null:  # it is talkative
        saved = os.dup(2), os.dup(1)
        os.dup2(null.fileno(), 2)
        os.dup2(null.fileno(), 1)
        rc = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(p))
        os.dup2(saved[0], 2)
        os.dup2(saved[1], 1)
    assert rc == 0, "llama_model_quantize failed"


def ours(ctl, source, target, kind, threads, calibration):
    args = [ctl, "model", "quantize", source, target, "--type", kind, "--threads", str(threads), "--json"]
    subprocess.run(args + (["--calibration", calibration] if calibration else []), check=True,
                   stdout=subprocess.DEVNULL)


def compare(ctl, source, target, text, threads):
    out = subprocess.run([ctl, "model", "compare", source, target, "--text", text, "--all", "--exact", "--json",
                          "--threads", str(threads)], check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(out)


def generate(model, prompt, n):
    """llama.cpp loads the file and answers: the first n greedy tokens."""
    llm = llama_cpp.Llama(str(model), n_ctx=512, n_gpu_layers=0, verbose=False)
    return llm(prompt, max_tokens=n, temperature=0)["choices"][0]["text"]


def logits_rms(ctl, model, ids):
    """Relative rms between the two engines' logits of one file."""
    llm = llama_cpp.Llama(str(model), n_ctx=512, logits_all=True, n_gpu_layers=0, verbose=False)
    llm.eval(ids)
    ref = llm.scores[: len(ids)].astype(np.float64)
    with tempfile.TemporaryDirectory() as d:
        ids_file, out = pathlib.Path(d, "ids.json"), pathlib.Path(d, "logits.f32")
        ids_file.write_text(json.dumps(ids))
        subprocess.run([ctl, "model", "logits", model, "--ids", ids_file, "--out", out, "--exact"], check=True,
                       stdout=subprocess.DEVNULL)
        got = np.fromfile(out, dtype="<f4").reshape(ref.shape).astype(np.float64)
    return float(np.sqrt(((got - ref) ** 2).sum() / (ref**2).sum())), float(
        (got.argmax(1) == ref.argmax(1)).mean())


def main():
    p = argparse.ArgumentParser()
    for name in ("--ctl", "--cache", "--model", "--text", "--types"):
        p.add_argument(name, required=True)
    p.add_argument("--calibration-text")
    p.add_argument("--grid", action="store_true")
    p.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    p.add_argument("--json")
    a = p.parse_args()
    source, result, failed = source_of(a.model, a.cache, a.grid), [], []
    print(f"{source.name}, {os.path.getsize(source) / 1e6:.1f} MB; {pathlib.Path(a.text).name}")
    print(f"{'type':8} {'writer':12} {'MB':>8} {'perplexity':>11} {'of exact':>9} {'±':>7} {'KL':>10} {'same top':>9}")
    with tempfile.TemporaryDirectory(dir=a.cache) as d:
        calibration = None
        if a.calibration_text:
            calibration = pathlib.Path(d, "calibration.gguf")
            subprocess.run([a.ctl, "model", "calibrate", source, "--text", a.calibration_text, "--out",
                            calibration, "--threads", str(a.threads)], check=True, stdout=subprocess.DEVNULL)
        for kind in a.types.split(","):
            row = {"type": kind}
            for who in ("llama.cpp", "waypost"):
                target = pathlib.Path(d, f"{who}.gguf")
                if who == "waypost":
                    ours(a.ctl, source, target, kind, a.threads, calibration)
                else:
                    theirs(source, target, kind, a.threads, calibration)
                c = compare(a.ctl, source, target, a.text, a.threads)
                c["bytes"] = target.stat().st_size
                row[who] = c
                print(f"{kind:8} {who:12} {c['bytes'] / 1e6:8.1f} {c['perplexity']:11.4f} "
                      f"{c['perplexity'] / c['perplexity_original']:9.4f} {c['ratio_stderr']:7.4f} {c['kl']:10.6f} "
                      f"{100 * c['same_top']:8.2f}%", flush=True)
            rms, top = logits_rms(a.ctl, target, list(range(200, 264)))
            text = generate(target, "The capital of France is", 12)
            row["loads"] = {"relative_rms": rms, "same_top": top, "text": text}
            print(f"{'':8} in llama.cpp: {row['loads']['text']!r}; logits beside ours: relative rms {rms:.1e}, "
                  f"same top {100 * top:.1f} %", flush=True)
            o, t = row["waypost"], row["llama.cpp"]
            if o["perplexity"] > PPL * t["perplexity"] or o["bytes"] > SIZE * t["bytes"]:
                failed.append(kind)
            result.append(row)
            target.unlink()
    if a.json:
        pathlib.Path(a.json).write_text(json.dumps(result, indent=2) + "\n")
    print(f"FAIL: {', '.join(failed)}" if failed else
          "ok: perplexity at most 1.01 times llama-quantize's in files no larger")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
