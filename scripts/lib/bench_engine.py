"""The measuring behind scripts/bench-engine (its --help says what). Both engines run as processes of their own
that load, warm up and measure, in turn: what the machine does meanwhile hits both. bench_report.py
writes what comes out."""
import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(__file__))
import bench_report  # noqa: E402
import gguf_expand  # noqa: E402
import random_gguf  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
SHAPES = ["smollm2-135m:Q4_0", "smollm2-135m:Q8_0", "smollm2-135m:Q4_K_M", "qwen2.5-0.5b:Q4_0", "llama3.2-1b:Q4_K_M"]
# llama.cpp's own tools start their threads with poll 50; without it each step starts its threads anew.
BASE = {"fa": 1, "repack": 1, "ubatch": 512, "mmap": 1, "poll": 50}
PROMPTS, N_FOUR = [128, 512], 4
TIMEOUT_S = 900
NEAR = 1.03  # a configuration this near to the best counts as best, so that few need to be run

start = time.monotonic()


def say(text):
    s = int(time.monotonic() - start)
    print(f"[{s // 60:2d}:{s % 60:02d}] {text}", file=sys.stderr, flush=True)


def run_json(command):
    p = subprocess.run([str(c) for c in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                       timeout=TIMEOUT_S)
    if p.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: status {p.returncode}\n{p.stderr[-2000:]}")
    return json.loads(p.stdout)


def label(config):
    """What a person would write: fa repack ub512"""
    parts = ["fa" if config["fa"] else "no fa", "repack" if config["repack"] else "no repack", f"ub{config['ubatch']}"]
    parts += [] if config["mmap"] else ["no mmap"]
    parts += [] if config["poll"] is not None else ["no thread pool"]
    return ", ".join(parts)


class File:
    """A model file and what its numbers are divided by."""

    def __init__(self, name, path, ctl):
        self.name, self.path = name, path
        info = run_json([ctl, "model", "info", path, "--json"])
        m = info["model"]
        self.mib = info["bytes"] / 2**20
        self.kv_bytes = m["layers"] * m["kv_heads"] * m["head_size"] * 2 * 2  # a position, in f16
        self.read_bytes = self.weight_bytes()
        self.warm = int(self.mib < 200)  # a larger one has run long enough when it comes to a number
        self.n_decode = min(max(round(9e9 / info["bytes"]), 12), 96)

    def weight_bytes(self):
        """Read for each token: all tensors, but only a row of the embedding unless it is the head too."""
        data = self.path.read_bytes()
        r = gguf_expand.Reader(data)
        _, _, n_tensor, n_kv = r.take("IIQQ")
        for _ in range(n_kv):
            r.string()
            r.skip_value(r.take("I"))
        at = {}
        for _ in range(n_tensor):
            name = r.string()
            for _ in range(r.take("I")):
                r.take("Q")
            at[name] = r.take("IQ")[1]
        ends = sorted(at.values())[1:] + [len(data) - r.at]
        sizes = {n: end - o for (n, o), end in zip(sorted(at.items(), key=lambda x: x[1]), ends)}
        if b"output.weight" in sizes:
            sizes.pop(b"token_embd.weight")
        return sum(sizes.values())


class Bench:
    def __init__(self, a):
        self.a = a
        self.ctl = pathlib.Path(a.build, "waypostctl")
        self.hw = pathlib.Path(a.build, "tests/bench/hwlimits")
        self.packed = pathlib.Path(a.cache, "bench", "packed")
        self.packed.mkdir(parents=True, exist_ok=True)
        self.packed.chmod(0o700)
        self.contexts = [0, 512] + [c for c in a.context if c not in (0, 512)]

    # ---- one process ----

    def ours(self, f, prompts, contexts, batches):
        return run_json([self.ctl, "model", "bench", f.path, "--json", "--threads", self.a.threads, "--warm", f.warm,
                         "--repeat", 1,
                         "--chunk", self.a.chunk, "--pack-cache", self.packed, "--decode", f.n_decode, "--prompt", commas(prompts),
                         "--context", commas(contexts), "--batch", commas(batches)])

    def theirs(self, config, f, prompts, contexts, batches):
        flags = [x for k, v in config.items() if v is not None for x in ("--" + k, v)]
        return run_json([sys.executable, HERE / "bench_llamacpp.py", f.path, "--threads", self.a.threads,
                         "--warm", f.warm, "--decode", f.n_decode, "--prompt", commas(prompts),
                         "--context", commas(contexts), "--batch", commas(batches), *flags])

    def full(self, run, f):
        return numbers(run(f, PROMPTS, self.contexts, [1, N_FOUR]), f)

    def decode_only(self, run, f):
        return numbers(run(f, [8], [0], [1]), f)["decode 0"]

    def limits(self):
        return run_json([self.hw, self.a.threads, 20])

    # ---- llama.cpp's flags ----

    def search(self, f):
        """[configuration] that between them are best, or nearly so, at every number."""
        if self.a.quick:
            return [BASE]
        seen = []

        def attempt(**changes):
            config = {**BASE, **changes}
            if any(config == c for c, _ in seen):
                return
            say(f"{f.name}: llama.cpp with {label(config)}")
            try:
                seen.append((config, self.full(lambda *x: self.theirs(config, *x), f)))
            except (RuntimeError, subprocess.TimeoutExpired) as e:
                say(f"left out: {e}")

        for fa in 1, 0:
            for repack in 1, 0:
                attempt(fa=fa, repack=repack)
        if not seen:
            raise SystemExit(f"llama.cpp runs {f.name} with none of its flags")
        fast = max(seen, key=lambda s: s[1]["prefill 512"])[0]
        attempt(**{**fast, "ubatch": 128})
        attempt(**{**max(seen, key=lambda s: s[1]["decode 0"])[0], "poll": None})
        attempt(**{**min(seen, key=lambda s: s[1]["load"])[0], "mmap": 0})
        return cover(seen)

    # ---- a file ----

    def busy_turn(self, f, configs, out):
        """Decode while the last of our CPUs also runs a loop."""
        cpu = max(os.sched_getaffinity(0))
        loop = f"import os\nos.sched_setaffinity(0, {{{cpu}}})\nwhile True: pass"
        hog = subprocess.Popen([sys.executable, "-c", loop])
        try:
            time.sleep(0.3)
            out["ours"].setdefault("busy", []).append(self.decode_only(self.ours, f))
            best = max(configs, key=lambda c: statistics.median(out[label(c)]["decode 0"]))
            n = self.decode_only(lambda *x: self.theirs(best, *x), f)
            out[label(best)].setdefault("busy", []).append(n)
        finally:
            hog.kill()
            hog.wait()

    def file(self, f):
        say(f"{f.name}: reading it, and packing")
        self.decode_only(self.ours, f)
        limits = [self.limits()]
        configs = self.search(f)
        engines = [("ours", self.ours)]
        engines += [(label(c), lambda *x, c=c: self.theirs(c, *x)) for c in configs]
        out = {name: {} for name, _ in engines}
        for turn in range(self.a.repeat):
            # A different one goes first each time.
            for name, run in engines[turn % len(engines):] + engines[:turn % len(engines)]:
                say(f"{f.name}: turn {turn + 1} of {self.a.repeat}, {name}")
                for key, value in self.full(run, f).items():
                    out[name].setdefault(key, []).append(value)
            say(f"{f.name}: turn {turn + 1} of {self.a.repeat}, beside a busy loop")
            self.busy_turn(f, configs, out)
        limits.append(self.limits())
        return {"name": f.name, "file_mib": f.mib, "read_bytes": f.read_bytes, "kv_bytes": f.kv_bytes,
                "decode_tok": f.n_decode, "limits": limits, "samples": out}


def commas(values):
    return ",".join(map(str, values))


def numbers(o, f):
    """{name of a number: value} of one process."""
    out = {"load": o["load_ms"]["median"]}
    for p in o["prompt"]:
        out[f"prefill {p['tok']}"] = p["tok_s"]
        out[f"first {p['tok']}"] = p["first_token_ms"]["median"]
    for d in o["decode"]:
        name = f"decode {d['context']}" if d["batch"] == 1 else "four"
        out[name] = d["tok_s"]["median"]
    kv_mib = o["kv_mib"] if "kv_mib" in o else o["kv_pos"] * f.kv_bytes / 2**20
    out["memory"] = o["peak_rss_mib"] - f.mib - kv_mib
    return out


def cover(seen):
    """The fewest configurations, greedily, of which one is (nearly) best at each number."""
    keys = [k for k in seen[0][1] if all(k in n for _, n in seen)]
    good = {}
    for k in keys:
        if k in bench_report.LESS:
            best = min(n[k] for _, n in seen)
            # Memory may be nothing beside the file: then a MiB is near enough.
            good[k] = [i for i, (_, n) in enumerate(seen) if n[k] <= max(best * NEAR, best + (k == "memory"))]
        else:
            best = max(n[k] for _, n in seen)
            good[k] = [i for i, (_, n) in enumerate(seen) if n[k] * NEAR >= best]
    chosen = []
    while good:
        i = max(range(len(seen)), key=lambda i: sum(i in g for g in good.values()))
        chosen.append(seen[i][0])
        good = {k: g for k, g in good.items() if i not in g}
    return chosen


def files(a, ctl):
    """Yields (name, path maker)."""
    def shape(text):
        s, _, t = text.partition(":")
        if s not in random_gguf.SHAPES or t not in random_gguf.FILE_TYPE:
            raise SystemExit(f"no shape {text}: {', '.join(random_gguf.SHAPES)}, with :TYPE of "
                             f"{', '.join(random_gguf.FILE_TYPE)}")
        path = pathlib.Path(a.cache, "bench", f"{s}.{t}.gguf")

        def make():
            if not path.exists():
                say(f"writing {path}")
                path.parent.mkdir(parents=True, exist_ok=True)
                random_gguf.write(path, s, t)
            return path
        return f"{s} {t}", make

    def published():
        out = subprocess.run([a.fetch], check=True, stdout=subprocess.PIPE, text=True).stdout
        return pathlib.Path(out.splitlines()[-1])

    todo = [(pathlib.Path(m).stem, lambda m=m: pathlib.Path(m)) for m in a.model]
    if not a.model and not a.shape:
        todo.append(("smollm2-135m Q4_1", published))
        todo += [shape(s) for s in ([] if a.quick else SHAPES)]
    todo += [shape(s) for s in a.shape]
    return [(n, make) for n, make in todo if a.only in n]


def kept(a, result, todo):
    """The files of an earlier run that this one doesn't measure, if it was taken alike."""
    path = pathlib.Path(a.out, "performance.json")
    if not a.keep or not path.exists():
        return []
    old = json.loads(path.read_text())
    for key in "cpu", "threads", "chunk", "repeat":
        if old[key] != result[key]:
            raise SystemExit(f"{path}: {key} was {old[key]!r}, now {result[key]!r}: not kept together")
    return [f for f in old["files"] if f["name"] not in todo]


def cpu_name():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def main():
    p = argparse.ArgumentParser(allow_abbrev=False)
    for name in "build", "cache", "fetch", "docs":
        p.add_argument("--" + name, required=True)
    p.add_argument("--quick", action="store_true")
    p.add_argument("--keep", action="store_true")
    p.add_argument("--only", default="")
    p.add_argument("--model", action="append", default=[])
    p.add_argument("--shape", action="append", default=[])
    p.add_argument("--repeat", type=int)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--context", type=int, action="append", default=[])
    p.add_argument("--chunk", type=int, default=64)
    p.add_argument("--out")
    a = p.parse_args()
    a.repeat = a.repeat or (2 if a.quick else 5)
    a.out = a.out or (a.build if a.quick else a.docs)
    b = Bench(a)
    todo = files(a, b.ctl)
    if not todo:
        raise SystemExit(f"no file's name contains '{a.only}'")
    load = os.getloadavg()[0]
    if load > 0.5:
        say(f"the machine is busy (load {load:.1f}): the numbers will show it")
    result = {"cpu": cpu_name(), "threads": a.threads, "chunk": a.chunk, "repeat": a.repeat, "load_before": load,
              "system": platform.release(), "files": []}
    result["files"] = kept(a, result, [name for name, _ in todo])
    for name, make in todo:
        began = time.monotonic()
        result["files"].append(b.file(File(name, make(), b.ctl)))
        result["files"][-1]["minutes"] = (time.monotonic() - began) / 60
        result["files"].sort(key=lambda f: f["read_bytes"])
        bench_report.write(result, pathlib.Path(a.out))  # after each: whoever stops it keeps what there is
        say(f"written: {a.out}/performance.md, .svg, .json")


if __name__ == "__main__":
    main()
