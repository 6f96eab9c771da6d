#!/usr/bin/env python3
"""waypostctl model quantize, calibrate and compare as a user meets them: usage, report, files."""
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time

TOP = os.environ.get("top_srcdir", os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("top_builddir", os.path.join(TOP, "build"))
CTL = os.path.join(BUILD, "waypostctl")
MKTINY = os.path.join(BUILD, "tests", "fixtures", "mktiny")
results = []


def ok(good, what):
    results.append(good)
    print("%s %d - %s" % ("ok" if good else "not ok", len(results), what), flush=True)


def model(*args, **kw):
    return subprocess.run([CTL, "model", *map(str, args)], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, **kw)


def says(run, status, word, what):
    good = run.returncode == status and word in run.stderr
    ok(good, what)
    if not good:
        print("# exit status %d, %r" % (run.returncode, run.stderr))


def limit_files():
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))


def usage(src, d):
    out = os.path.join(d, "o.gguf")
    says(model("quantize", src, out), 2, "--type", "no type is a usage error")
    says(model("quantize", src, "--type", "q4_0"), 2, "two files", "so is no second file")
    says(model("info", src, "--type", "q4_0"), 2, "does not take", "another command doesn't take --type")
    says(model("quantize", src, out, "--type", "q4_9"), 3, "q4_k_m", "a wrong type gets the list")
    for override, word in (("attn_q", "GLOB=TYPE"), ("=q6_k", "GLOB=TYPE"), ("*.attn_q.weight=q9", "'q9'"),
                           ("blk.9.*=q6_k", "blk.9.*"), ("*norm*=q8_0", "no matrix"),
                           ("blk.0.attn_q.weight=q4_k", "whole blocks")):
        says(model("quantize", src, out, "--type", "q4_0", "--tensor", override), 3, word,
             "override %s is refused" % override)
    ok(os.listdir(d) == [], "nothing is left behind")


def report(src, d, text):
    out = os.path.join(d, "o.gguf")
    args = ("quantize", src, out, "--type", "Q4_0", "--tensor", "*.attn_v.weight=q8_0", "--tensor",
            "blk.1.attn_v.weight=q5_1")
    run = model(*args, "--text", text, "--all", "--json")
    doc = json.loads(run.stdout)
    tensor = {t["name"]: t for t in doc["tensors"]}
    ok(doc["bytes"] == os.path.getsize(out) and doc["original_bytes"] == os.path.getsize(src),
       "the report's sizes are the files'")
    ok(4 < doc["bits_per_weight"] < 12 and 32 < doc["original_bits_per_weight"] < 40, "bits a weight")
    ok(tensor["blk.0.attn_v.weight"]["is"] == "Q8_0" and tensor["blk.1.attn_v.weight"]["is"] == "Q5_1"
       and tensor["blk.1.attn_v.weight"]["override"] and not tensor["blk.0.attn_q.weight"]["override"],
       "overrides: the last match wins")
    ok(tensor["output_norm.weight"]["relative_error"] == 0
       and 0.001 < tensor["blk.0.attn_v.weight"]["relative_error"] < 0.02
       < tensor["blk.0.attn_q.weight"]["relative_error"] < 0.12, "each tensor's error")
    c = doc["comparison"]
    ok(c["tokens"] > 500 and 0 < c["kl"] < c["kl_max"] and 0.5 < c["same_top"] < 1
       and 0 < c["ratio_stderr"] < 0.1
       and abs(c["perplexity"] / c["perplexity_original"] - 1) < 0.2, "the comparison over the text")
    again = json.loads(model("compare", src, out, "--text", text, "--all", "--json").stdout)
    ok(again == c, "model compare says the same")
    ppl = json.loads(model("perplexity", out, "--text", text, "--all", "--json").stdout)
    ok(abs(ppl["perplexity"] - c["perplexity"]) < 1e-6, "model perplexity says the same")
    same = json.loads(model("compare", src, src, "--text", text, "--all", "--json").stdout)
    ok(same["kl"] == 0 and same["same_top"] == 1, "a model is itself")
    run = model(*args)
    says(run, 3, "exists", "what is there stays")
    before = os.stat(out).st_ino
    run = model(*args, "--force", "--text", text, "--all")
    ok(run.returncode == 0 and os.stat(out).st_ino != before, "--force replaces it")
    ok("blk.0.attn_q.weight" in run.stdout and "KL divergence" in run.stdout, "the report as text")
    info = json.loads(model("info", out, "--json").stdout)
    ok(info["runs"] and info["types"]["Q4_0"] > 0, "model info runs it")
    says(model("quantize", out, os.path.join(d, "p.gguf"), "--type", "q8_0", "--tensor",
               "blk.0.ffn_up.weight=q8_0"), 3, "quantised already", "a second time must be asked for")
    run = model("quantize", out, os.path.join(d, "p.gguf"), "--type", "q5_0", "--requantize", "--tensor",
                "blk.0.ffn_up.weight=q8_0")
    says(run, 0, "lost twice", "and is warned of")
    ok(sorted(os.listdir(d)) == ["o.gguf", "p.gguf"], "nothing else is left")


def calibrate(src, d, text):
    sums, out = os.path.join(d, "sums.gguf"), os.path.join(d, "c.gguf")
    run = model("calibrate", src, "--text", text, "--out", sums)
    ok(run.returncode == 0 and os.path.exists(sums), "calibrate writes its sums")
    says(model("calibrate", src, "--text", text, "--out", sums), 3, "exists", "and replaces none")
    doc = json.loads(model("quantize", src, out, "--type", "q4_0", "--calibration", sums, "--json").stdout)
    matrices = [t for t in doc["tensors"] if t["is"] != t["was"]]
    ok(matrices and all(t["calibrated"] for t in matrices), "every matrix is calibrated")
    info = json.loads(model("info", sums, "--keys", "--json").stdout)
    ok(info["keys"].get("general.type") == "imatrix", "the sums are an importance matrix")
    says(model("quantize", src, out, "--type", "q4_0", "--force", "--calibration", src), 3, "no sums",
         "a model is no calibration")
    says(model("quantize", src, out, "--type", "q4_0", "--force", "--calibration", text), 3, "GGUF",
         "nor is a text")
    empty = os.path.join(d, "empty.txt")
    open(empty, "w").close()
    says(model("calibrate", src, "--text", empty, "--out", os.path.join(d, "no")), 3, "too few",
         "no text, no calibration")
    ok(not os.path.exists(os.path.join(d, "no")), "and no file")


def faults(src, d):
    out = os.path.join(d, "o.gguf")
    run = model("quantize", src, out, "--type", "q8_0", preexec_fn=limit_files, restore_signals=False)
    says(run, 3, "o.gguf", "a full disk is told")
    ok(os.listdir(d) == [], "and nothing is left")
    cut = os.path.join(d, "cut.gguf")
    with open(src, "rb") as f, open(cut, "wb") as g:
        g.write(f.read()[:-1000])
    says(model("quantize", cut, out, "--type", "q8_0"), 3, "reach past", "a file cut short is told")
    says(model("quantize", os.path.join(d, "none"), out, "--type", "q8_0"), 3, "cannot open", "no file too")
    says(model("quantize", src, os.path.join(d, "no", "o"), "--type", "q8_0"), 3, "folder", "and no folder")
    os.unlink(cut)
    ok(os.listdir(d) == [], "nothing is left of all that")


def killed(d):
    """kill -9 in the middle leaves no part of a file."""
    big, out = os.path.join(d, "big.gguf"), os.path.join(d, "o.gguf")
    subprocess.run([MKTINY, big, "--layers", "8", "--d", "512", "--ff", "2048"], check=True)
    p = subprocess.Popen([CTL, "model", "quantize", big, out, "--type", "q4_k_m", "--threads", "1"],
                         stdout=subprocess.DEVNULL)
    for _ in range(1000):  # until it writes
        links = [os.path.join("/proc/%d/fd" % p.pid, f) for f in os.listdir("/proc/%d/fd" % p.pid)]
        if any(d in os.readlink(x) for x in links if os.path.lexists(x)) or p.poll() is not None:
            break
        time.sleep(0.005)
    p.kill()
    p.wait()
    left = sorted(os.listdir(d))
    try:
        os.close(os.open(d, os.O_TMPFILE | os.O_WRONLY))
    except OSError:
        ok(True, "killed: skipped, this file system holds no nameless files # SKIP")
        return
    ok(p.returncode == -signal.SIGKILL and left == ["big.gguf"], "killed: %s" % ", ".join(left))


def main():
    with tempfile.TemporaryDirectory() as top:
        src, text = os.path.join(top, "src.gguf"), os.path.join(top, "text.txt")
        subprocess.run([MKTINY, src, "--layers", "3", "--d", "64", "--ff", "128"], check=True)
        with open(text, "w") as f:
            f.write("the user and the assistant are in there, you see; " * 40)
        for n, part in enumerate((lambda d: usage(src, d), lambda d: report(src, d, text),
                                  lambda d: calibrate(src, d, text), lambda d: faults(src, d), killed)):
            d = os.path.join(top, str(n))
            os.mkdir(d)
            part(d)
    print("1..%d" % len(results))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
