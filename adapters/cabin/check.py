#!/usr/bin/env python3
"""Checks the sets that are measured on: every line is a call of the catalogue, every language has its share, no
sentence comes in the training sentences (case and marks aside), and how much of them does: the share of their
runs of four words (Chinese: characters) that some training sentence has too. Exit status 1 if a set is bad."""
import argparse
import collections
import re
import sys

import generate


def runs(lang, text, n=4):
    parts = list(generate.plain(text)) if lang == "zh" else re.findall(r"\w+", text.lower())
    return {tuple(parts[i : i + n]) for i in range(len(parts) - n + 1)}


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("-n", type=int, default=40000, help="training sentences to compare with")
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    sets = {f: generate.read_tsv(generate.HERE / f) for f in ("dev.tsv", "test.tsv", "fresh.tsv")}
    training = generate.generate(a.n, a.seed, [r[1] for rows in sets.values() for r in rows])
    seen = {generate.plain(t) for _, t, _ in training}
    known = collections.defaultdict(set)
    for lang, text, _ in training:
        known[lang] |= runs(lang, text)
    checker, bad = generate.Checker(), 0
    for name, rows in sets.items():
        for lang, text, line in rows:
            checker.check(text, line)
            bad += generate.plain(text) in seen
        langs = collections.Counter(r[0] for r in rows)
        functions = {r[2].split(" ")[0] for r in rows}
        bad += len(set(langs.values())) != 1 or functions != set(generate.WEIGHT)
        print(f"{name}: {len(rows)} sentences, {dict(langs)}, {sum(r[2] == 'none' for r in rows)} none")
        for lang in langs:
            own = [g for l, t, _ in rows if l == lang for g in runs(l, t)]
            shared = sum(g in known[lang] for g in own)
            print(f"  {lang}: {100 * shared / len(own):.1f} % of {len(own)} runs of four come in {a.n} training sentences")
    print("bad" if bad else "no sentence of them is a training sentence")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
