#!/usr/bin/env python3
"""The real model's logits are llama.cpp's, computed on an F32 expansion of the same weights.

The goldens (top five of some positions) were made by scripts/compare-llamacpp --write-golden; they are
replayed here without llama.cpp. Needs WAYPOST_TEST_MODEL (scripts/check sets it)."""
import json
import os
import struct
import subprocess
import sys
import tempfile

TOP = os.environ.get("top_srcdir", os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("top_builddir", os.path.join(TOP, "build"))
FIXTURES = os.path.join(TOP, "tests", "fixtures", "logits")
CTL = os.path.join(BUILD, "waypostctl")
# Both sides compute in f32 from the same weights: relative rms 6e-7 of logits around 10.
TOLERANCE = 5e-4
# Rounding activations to 8 bits costs 2 % relative rms, of logits around 10 with a spread of 3.
ROUNDED = 0.3


def row_of(f, pos, n_vocab):
    f.seek(pos * n_vocab * 4)
    return struct.unpack("<%df" % n_vocab, f.read(n_vocab * 4))


def check_row(golden, row):
    """Problems, as text."""
    out = []
    for token, logit in golden["top"]:
        if abs(row[token] - logit) > TOLERANCE:
            out.append("position %d, token %d: %.5f, want %.5f" % (golden["pos"], token, row[token], logit))
    best = max(range(len(row)), key=row.__getitem__)
    if best != golden["top"][0][0]:
        out.append("position %d: top token %d, want %d" % (golden["pos"], best, golden["top"][0][0]))
    return out


def off_by(golden, row):
    """How far the golden's five logits are off, on average."""
    return sum(abs(row[token] - logit) for token, logit in golden["top"]) / len(golden["top"])


def main():
    model = os.environ.get("WAYPOST_TEST_MODEL", "")
    if not model:
        if os.environ.get("WAYPOST_REQUIRE_MODEL"):
            print("1..1\nnot ok 1 - WAYPOST_TEST_MODEL is not set; scripts/fetch-model prints its path")
            return 1
        print("1..0 # SKIP WAYPOST_TEST_MODEL is not set; scripts/fetch-model prints its path")
        return 0
    with open(os.path.join(FIXTURES, "smollm2.json")) as f:
        golden = json.load(f)
    text = os.path.join(FIXTURES, golden["text"])
    with tempfile.TemporaryDirectory() as tmp:
        out = os.path.join(tmp, "logits.f32")
        ids = subprocess.run([CTL, "model", "tokenize", model, "--text", text, "--json"], text=True,
                             stdout=subprocess.PIPE, check=True)

        def logits(*more):
            run = subprocess.run([CTL, "model", "logits", model, "--text", text, "--out", out, *more],
                                 text=True, stdout=subprocess.PIPE, check=True)
            sizes = list(map(int, run.stdout.split()))
            with open(out, "rb") as f:
                return sizes[0], [row_of(f, row["pos"], sizes[1]) for row in golden["rows"]]

        n_tok, rows = logits("--kv", "f32", "--exact")
        bad = [line for row, got in zip(golden["rows"], rows) for line in check_row(row, got)]
        rounded = [off_by(row, got) for row, got in zip(golden["rows"], logits()[1])]
    print("1..4")
    same_ids = json.loads(ids.stdout) == golden["ids"]
    print("%s 1 - token ids of %s" % ("ok" if same_ids else "not ok", golden["text"]))
    print("%s 2 - %d positions" % ("ok" if n_tok == len(golden["ids"]) else "not ok", n_tok))
    for line in bad[:10]:
        print("# " + line)
    print("%s 3 - logits of %d positions" % ("not ok" if bad else "ok", len(golden["rows"])))
    mean = sum(rounded) / len(rounded)
    print("%s 4 - with 8-bit activations the top five are off by %.3f on average" % (
        "ok" if mean < ROUNDED else "not ok", mean))
    return 1 if bad or mean >= ROUNDED or not same_ids or n_tok != len(golden["ids"]) else 0


if __name__ == "__main__":
    sys.exit(main())
