"""The cabin's catalogue, its sets and its training sentences: every line is a call, no sentence that is measured
on is trained on, a seed gives the same sentences, and a wrong line is refused."""
import json
import os
import pathlib
import subprocess
import sys

TOP = pathlib.Path(os.environ.get("top_srcdir", ".")).resolve()
sys.dont_write_bytecode = True
sys.path[:0] = [str(TOP / "tests/e2e"), str(TOP / "adapters/cabin")]
import generate  # noqa: E402
import words  # noqa: E402
import wp  # noqa: E402
from wp import eq  # noqa: E402

N = 3000
SETS = {name: generate.read_tsv(generate.HERE / name) for name in ("dev.tsv", "test.tsv", "fresh.tsv")}
HELD = [row[1] for rows in SETS.values() for row in rows]


def test_sets_are_balanced_and_right():
    checker = generate.Checker()
    for rows in SETS.values():
        for row in rows:
            eq(len(row), 3)
            checker.check(row[1], row[2])
        count = {lang: sum(r[0] == lang for r in rows) for lang in generate.LANGS}
        eq(len(set(count.values())), 1)
        eq({r[2].split(" ")[0] for r in rows}, set(generate.WEIGHT))
    assert len(SETS["dev.tsv"]) >= 300 and sum(r[2] == "none" for r in SETS["dev.tsv"]) >= 80


def test_no_sentence_is_trained_on():
    rows = generate.generate(N, 1, HELD)  # checks each line against the catalogue
    eq(len({generate.plain(r[1]) for r in rows}), N)
    held = {generate.plain(t) for t in HELD}
    eq([r for r in rows if generate.plain(r[1]) in held], [])
    eq({r[2].split(" ")[0] for r in rows}, set(generate.WEIGHT))
    # what a seed makes first is left out when it is held back
    first = [r[1] for r in generate.generate(50, 1)]
    seen = {generate.plain(r[1]) for r in generate.generate(N, 1, first)}
    eq([t for t in first if generate.plain(t) in seen], [])


def test_seed_makes_the_sentences():
    eq(generate.generate(200, 7), generate.generate(200, 7))
    assert generate.generate(200, 7) != generate.generate(200, 8)


def test_wrong_lines_are_refused():
    checker = generate.Checker()
    for line in ("", "fly", "window", "window driver", "window driver 101", "window driver 1.5", "window roof 20",
                 "window driver 20 now", "set_temperature all 15.5", "set_temperature all 20.2", "set_temperature all warm",
                 "seat_heating all 2", "lights me on", "navigate", "navigate Rome", "navigate Paris,", "none at all"):
        try:
            checker.check("to Paris, please", line)
        except (AssertionError, KeyError, IndexError):
            continue
        raise AssertionError(f"taken: {line!r}")
    for line in ("window me 20", "set_temperature rear 20.5", "volume mute", "volume 0", "navigate Paris", "navigate home", "none"):
        checker.check("to Paris, please", line)


def test_broken_phrases_are_refused():
    for text in ("open (the window", "(a|(b|c)"):
        try:
            generate.parse(text)
        except AssertionError:
            continue
        raise AssertionError(f"taken: {text!r}")


def test_numbers_are_said():
    eq([words.english(n) for n in (0, 7, 13, 20, 21, 99, 100)],
       ["zero", "seven", "thirteen", "twenty", "twenty-one", "ninety-nine", "a hundred"])
    eq([words.german(n) for n in (1, 12, 16, 17, 21, 30, 75)],
       ["eins", "zwölf", "sechzehn", "siebzehn", "einundzwanzig", "dreißig", "fünfundsiebzig"])
    eq([words.chinese(n) for n in (0, 2, 10, 15, 20, 28, 100)], ["零", "二", "十", "十五", "二十", "二十八", "一百"])


def test_catalogue_is_tools():
    for tool in json.loads((generate.HERE / "catalogue.json").read_text()):
        eq(tool["type"], "function")
        p = tool["function"]["parameters"]
        eq((p["type"], list(p["properties"]), p["additionalProperties"]), ("object", p["required"], False))


def test_adapter_is_one():
    out = subprocess.run([wp.program("waypostctl"), "model", "info", str(generate.HERE / "cabin.gguf"), "--json"],
                         check=True, capture_output=True, text=True).stdout
    eq(json.loads(out)["adapter"]["name"], "waypost-cabin")
    assert (generate.HERE / "cabin.gguf").stat().st_size <= 12 << 20


if __name__ == "__main__":
    wp.run(globals())
