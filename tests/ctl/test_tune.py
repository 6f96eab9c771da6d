#!/usr/bin/env python3
"""waypostctl tune confidence as a user meets it, on a small random model: usage, logs that are none,
a file whose numbers are the table's, the same bytes for the same seed."""
import json
import math
import os
import subprocess
import sys
import tempfile

TOP = os.environ.get("top_srcdir", os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("top_builddir", os.path.join(TOP, "build"))
CTL = os.path.join(BUILD, "waypostctl")
FIXTURES = os.path.join(BUILD, "tests", "fixtures")
D = 64
results = []


def ok(good, what):
    results.append(good)
    print("%s %d - %s" % ("ok" if good else "not ok", len(results), what), flush=True)


def tune(*args):
    return subprocess.run([CTL, "tune", "confidence", *map(str, args)], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)


def says(run, status, word, what):
    good = run.returncode == status and word in run.stderr
    ok(good, what)
    if not good:
        print("# exit status %d, %r" % (run.returncode, run.stderr))


def write(path, text):
    with open(path, "wb") as f:
        f.write(text if isinstance(text, bytes) else text.encode())
    return path


def usage(model, d):
    good = write(os.path.join(d, "good.tsv"), "en\tdo it\tnone\n")
    says(tune(model), 2, "--data", "no data is a usage error")
    says(tune("--data", good), 2, "one model file", "so is no model")
    for args in (["--layers", "2,"], ["--layers", "0"], ["--task", "all"], ["--folds", "1"], ["--seed", "-1"],
                 ["--resamples", "9"]):
        says(tune(model, "--data", good, *args), 2, "not a good value", "and %s" % " ".join(args))
    says(tune(model, "--data", good, "--layers", "1,9"), 3, "9 is not in order", "a layer that is none is named")
    says(tune(model, "--data", d + "/none"), 3, "cannot open", "a log that isn't there")
    bad = os.path.join(d, "bad.tsv")
    for text, word in (("en\tdo it\n", "bad.tsv:1"), ("# x\n\nen\ta\tb\tc\n", "bad.tsv:3"),
                       ("en\ta\tb\nen\t\tb\n", "bad.tsv:2"), ("", "no sentences"), (b"en\ta\0b\tc\n", "byte 0"),
                       ("en\ta\tb\n" * 4097, "bad.tsv:4097")):
        says(tune(model, "--data", write(bad, text)), 3, word, "a log that is wrong is told: %s" % word)
    says(tune(model, "--data", good), 3, "to tell these", "one sentence is too few")
    says(tune(model, "--data", good, "--catalogue", write(bad, "[]")), 3, "bad.tsv", "a catalogue that is none")
    ok(subprocess.run([CTL, "tune", "x"], capture_output=True).returncode == 2, "tune x is a usage error")


def read_rows(path):
    lines = open(path).read().split("\n")
    head = lines[0].split("\t")
    return [dict(zip(head, line.split("\t"))) for line in lines[1:-1]]


class Confidence:
    """The file as docs/confidence.md describes it."""

    def __init__(self, path):
        self.head, self.task = {}, {}
        t, words = None, [line.split("#")[0].split() for line in open(path)]
        want = 0
        for w in words:
            if not w:
                continue
            if want:
                self.task[t]["state"] += [float(x) for x in w]
                want -= len(w)
            elif w[0] == "task":
                t = w[1]
                self.task[t] = {"signal": [], "knot": [], "bias": 0.0, "state": [], "layer": None}
            elif w[0] == "signal":
                self.task[t]["signal"].append((w[1], *map(float, w[2:])))
            elif w[0] == "knot":
                self.task[t]["knot"].append(tuple(map(float, w[1:])))
            elif w[0] == "bias":
                self.task[t]["bias"] = float(w[1])
            elif w[0] == "state":
                self.task[t]["layer"], want = (w[1], int(w[2])), int(w[3])
            elif w[0] != "end":
                self.head[w[0]] = w[1]

    def signals_say(self, task, row):
        t = self.task[task]
        score = t["bias"] + sum(w * (float(row[n]) - m) / s for n, w, m, s in t["signal"])
        k = t["knot"]
        if not k:
            return 1 / (1 + math.exp(-score))
        if score <= k[0][0] or score >= k[-1][0]:
            return k[0][1] if score <= k[0][0] else k[-1][1]
        i = max(j for j in range(len(k)) if k[j][0] <= score)
        return k[i][1] + (k[i + 1][1] - k[i][1]) * (score - k[i][0]) / (k[i + 1][0] - k[i][0])


def sentences(d):
    """Commands and questions that differ in a word; answers are to come."""
    rows = []
    for i in range(60):
        command = i % 2 == 0
        rows.append(["en" if i % 3 else "de", "%s %s number %d please" % (
            "switch on" if command else "why is there", "lamp fan seat door".split()[i % 4], i * 7),
            "lights on" if command else "none"])
    return rows


def save(path, rows):
    return write(path, "".join("\t".join(r) + "\n" for r in rows))


def whole(model, adapter, d):
    log, out, table = os.path.join(d, "log.tsv"), os.path.join(d, "out"), os.path.join(d, "rows.tsv")
    cat = write(os.path.join(d, "cat.json"), json.dumps([
        {"type": "function", "function": {"name": "lights", "parameters": {
            "type": "object", "properties": {"state": {"type": "string", "enum": ["on", "off", "dim"]}},
            "required": ["state"]}}}]))
    rows = sentences(d)
    save(log, rows)
    common = [model, "--data", log, "--adapter", adapter, "--catalogue", cat, "--resamples", 100, "--threads", 1]
    run = tune(*common, "--task", "command", "--out", out, "--rows", table, "--json")
    ok(run.returncode == 0, "commands are fitted")
    if run.returncode != 0:
        print("#", run.stderr)
        return
    doc = json.loads(run.stdout)[0]
    best = [c for c in doc["candidates"] if c["name"] == doc["chosen"]][0]
    ok(doc["task"] == "command" and best["usable"] and best["auroc"]["value"] > 0.9,
       "a probe tells them: %s, %.3f" % (best["name"], best["auroc"]["value"]))
    ok(all(c["auroc"]["low"] <= c["auroc"]["value"] <= c["auroc"]["high"] for c in doc["candidates"]),
       "every interval holds its value")
    names = {c["name"]: c["usable"] for c in doc["candidates"]}
    ok(names["probe mean 3"] and not names["probe mean 3, no adapter"] and "probe mean 1, no adapter" not in names,
       "states without the adapter are compared where they differ, and not chosen")
    ok(not names["choice_mean_entropy"], "nothing of the answer is chosen before there is one")
    ok(names.get("the answer: none or not") is False, "the answer itself stands beside")
    ok([t["kept"] for t in doc["thresholds"]] == sorted((t["kept"] for t in doc["thresholds"]), reverse=True),
       "a higher threshold keeps no more")
    seen = read_rows(table)
    ok(len(seen) == 60 and all(r["answered"] in ("none", "lights on", "lights off", "lights dim") for r in seen),
       "answers are held to the catalogue")
    yes = [float(r["command"]) for r in seen if r["wanted"] != "none"]
    no = [float(r["command"]) for r in seen if r["wanted"] == "none"]
    ok(sum(yes) / len(yes) > sum(no) / len(no) + 0.3 and all(0 <= p <= 1 for p in yes + no),
       "and the engine, asked by the file, says the same")
    first = open(out).read()
    ok(len(Confidence(out).task["command"]["state"]) == D, "the file holds a layer's weights")
    says(tune(*common, "--task", "command", "--out", out), 3, "exists", "a file is not replaced unasked")
    run = tune(*common, "--task", "command", "--out", out, "--force")
    ok(run.returncode == 0 and open(out).read() == first, "the same seed gives the same bytes")
    # What is right: what it says anyway, for the answers it is surest of.
    order = sorted(range(60), key=lambda i: float(seen[i]["choice_min_prob"]))
    for place, i in enumerate(order):
        said = seen[i]["answered"]
        rows[i][2] = said if place >= 25 else "none" if said != "none" else "lights on"
    save(log, rows)
    run = tune(*common, "--task", "call", "--out", out, "--force", "--rows", table)
    ok(run.returncode == 0 and "* choice_" in run.stdout and "choice_mean_entropy" in run.stdout,
       "calls are fitted, entropy stands beside")
    if run.returncode != 0:
        print("#", run.stderr)
        return
    conf, seen = Confidence(out), read_rows(table)
    off = max(abs(conf.signals_say("call", r) - float(r["call"])) for r in seen)
    ok(off < 1e-3, "the file's numbers are the engine's, to %.1e" % off)
    ok(conf.head["model"] != conf.head["adapter"] and len(conf.head["adapter"]) == 32, "both hashes are in it")
    # A log of its own for the probes.
    save(log, sentences(d))
    run = tune(*common, "--task", "command", "--fit", log, "--json")
    ok(run.returncode == 0 and json.loads(run.stdout)[0]["chosen"].startswith("probe"), "probes fitted apart")


def main():
    with tempfile.TemporaryDirectory() as d:
        model, adapter = os.path.join(d, "m.gguf"), os.path.join(d, "a.gguf")
        subprocess.run([os.path.join(FIXTURES, "mktiny"), model, "--layers", "3", "--d", str(D)], check=True)
        subprocess.run([os.path.join(FIXTURES, "mklora"), model, adapter, "--from", "1"], check=True)
        usage(model, d)
        whole(model, adapter, d)
    print("1..%d" % len(results))
    return 0 if all(results) else 1


sys.exit(main())
