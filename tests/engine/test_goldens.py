#!/usr/bin/env python3
"""The real model's tokenizer gives the ids that llama.cpp gave for the 200 mixed texts.

The goldens were made by scripts/make-tok-goldens. Needs WAYPOST_TEST_MODEL (scripts/check sets it)."""
import json
import os
import subprocess
import sys
import tempfile

TOP = os.environ.get("top_srcdir", os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("top_builddir", os.path.join(TOP, "build"))
sys.path.insert(0, os.path.join(TOP, "scripts", "lib"))
sys.dont_write_bytecode = True
from mixed_texts import TEXTS  # noqa: E402


def main():
    model = os.environ.get("WAYPOST_TEST_MODEL", "")
    if not model:
        if os.environ.get("WAYPOST_REQUIRE_MODEL"):
            print("1..1\nnot ok 1 - WAYPOST_TEST_MODEL is not set; scripts/fetch-model prints its path")
            return 1
        print("1..0 # SKIP WAYPOST_TEST_MODEL is not set; scripts/fetch-model prints its path")
        return 0
    with open(os.path.join(TOP, "tests", "fixtures", "tok", "smollm2-ids.json")) as f:
        golden = json.load(f)
    with tempfile.TemporaryDirectory() as tmp:
        path = os.path.join(tmp, "texts.json")
        with open(path, "w") as f:
            json.dump(TEXTS, f)
        run = subprocess.run([os.path.join(BUILD, "waypostctl"), "model", "tokenize", model,
                              "--texts", path, "--json"], stdout=subprocess.PIPE, text=True)
    print("1..2")
    same = len(TEXTS) == 200 == len(golden["ids"])
    print("%s 1 - 200 texts" % ("ok" if same else "not ok"))
    got = json.loads(run.stdout) if run.returncode == 0 else []
    got = got["ids"] if isinstance(got, dict) else got
    bad = [i for i, want in enumerate(golden["ids"]) if i >= len(got) or got[i] != want]
    for i in bad[:5]:
        print("# %r: got %s, want %s" % (TEXTS[i][:60], got[i:i + 1], golden["ids"][i]))
    print("%s 2 - identical ids for %d of %d texts" % ("not ok" if bad else "ok",
                                                      len(golden["ids"]) - len(bad), len(golden["ids"])))
    return 1 if bad or not same else 0


if __name__ == "__main__":
    sys.exit(main())
