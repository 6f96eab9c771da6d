#!/usr/bin/env python3
"""waypostctl model bench: what it measures, and what it refuses. Never how fast."""
import json
import os
import subprocess
import sys
import tempfile

TOP = os.environ.get("top_srcdir", os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("top_builddir", os.path.join(TOP, "build"))
CTL = os.path.join(BUILD, "waypostctl")
MKTINY = os.path.join(BUILD, "tests", "fixtures", "mktiny")

n_test = n_bad = 0


def ok(good, what, more=""):
    global n_test, n_bad
    n_test += 1
    n_bad += not good
    print("%s %d - %s" % ("ok" if good else "not ok", n_test, what))
    for line in more.splitlines() if not good else []:
        print("# " + line)


def bench(*args):
    return subprocess.run([CTL, "model", "bench", *args], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def is_spread(o):
    return 0 < o["min"] <= o["median"] <= o["max"]


def check_numbers(model):
    run = bench(model, "--json", "--threads", "2", "--prompt", "7,20", "--batch", "2,3", "--context", "5,0,30",
                "--decode", "4", "--chunk", "8", "--repeat", "3")
    ok(run.returncode == 0, "it runs", run.stderr)
    out = json.loads(run.stdout)
    ok([p["tok"] for p in out["prompt"]] == [7, 20], "every prompt", run.stdout)
    ok([(d["batch"], d["context"]) for d in out["decode"]] == [(2, 5), (3, 5), (2, 0), (2, 30)],
       "every batch after the first context, every context with the first batch", run.stdout)
    spreads = [out["load_ms"]] + [p["first_token_ms"] for p in out["prompt"]] + [d["tok_s"] for d in out["decode"]]
    ok(all(map(is_spread, spreads)), "min <= median <= max", run.stdout)
    ok(all(abs(p["tok_s"] * p["first_token_ms"]["median"] / 1e3 - p["tok"]) < 1e-6 for p in out["prompt"]),
       "rate and time agree", run.stdout)
    # mktiny: 4 layers, 2 heads of 16 for keys and for values. Most rows held: 34, 34, 9.
    ok(abs(out["kv_mib"] - (34 + 34 + 9) * 4 * 2 * 16 * 2 * 2 / 2**20) < 1e-9, "bytes of keys and values", run.stdout)
    ok(out["peak_rss_mib"] > 1, "peak memory", run.stdout)
    ok((out["threads"], out["chunk"], out["decode_tok"], out["repeat"]) == (2, 8, 4, 3), "what it was told", run.stdout)


def check_text(model):
    run = bench(model, "--prompt", "3", "--batch", "1", "--context", "0", "--decode", "2", "--repeat", "1", "--warm", "0")
    ok(run.returncode == 0 and "first token of a prompt of 3" in run.stdout and "peak memory" in run.stdout,
       "a table for people", run.stdout + run.stderr)


def check_refusals(model, tmp):
    for option, value in [("--prompt", "0"), ("--prompt", "1,"), ("--prompt", ",1"), ("--prompt", "1;2"),
                          ("--prompt", "1,2,3,4,5,6,7,8,9"), ("--batch", "0"), ("--batch", "65"), ("--context", "-1"),
                          ("--context", "65537"), ("--context", ""), ("--repeat", "0"), ("--warm", "-1"), ("--warm", "1,2"), ("--chunk", "0"),
                          ("--decode", "99999999999999999999")]:
        run = bench(model, option, value)
        ok(run.returncode == 2 and "not a good value" in run.stderr, "%s '%s' is refused" % (option, value), run.stderr)
    missing = os.path.join(tmp, "missing.gguf")
    run = bench(missing)
    ok(run.returncode == 3 and missing in run.stderr and run.stdout == "", "a missing file is named", run.stderr)


def main():
    with tempfile.TemporaryDirectory() as tmp:
        model = os.path.join(tmp, "tiny.gguf")
        subprocess.run([MKTINY, model], check=True)
        check_numbers(model)
        check_text(model)
        check_refusals(model, tmp)
    print("1..%d" % n_test)
    return 1 if n_bad else 0


if __name__ == "__main__":
    sys.exit(main())
