#!/usr/bin/env python3
"""Makes the cabin adapter's training sentences: language TAB utterance TAB answer line. The phrases are
in phrases/*.txt, numbers and names are made in words.py. The same seed gives the same sentences."""
import argparse
import json
import pathlib
import random
import re
import sys

import words

HERE = pathlib.Path(__file__).parent
LANGS = {"en": 28, "de": 39, "zh": 33}  # parts of a hundred: the model knows English best, German least
# Functions whose arguments vary most get most.
WEIGHT = {
    "none": 35, "set_temperature": 6, "adjust_temperature": 7.5, "set_fan": 4, "seat_heating": 5.5, "window": 6.5,
    "sunroof": 2, "navigate": 7, "find_poi": 5.5, "play_media": 6.5, "media_control": 4, "volume": 4.5, "call": 4.5,
    "read_messages": 1.8, "lights": 4.5, "defrost": 3, "wipers": 2.5, "vehicle_status": 3,
}
NONE = {"REMARK": 40, "NEGATED": 17, "CANTSAY": 21, "QUESTION": 11, "CHAT": 6, "BEYOND": 5}
RANGED = ("set_temperature", "set_fan", "volume", "window")
COPIED = ("navigate", "play_media", "call")
SLOT = re.compile(r"<([A-Z]\w*)(?:[.:]([\w.]+))?>")


def parse(text):
    """Pattern -> nested lists: ["seq", …], ["alt", …], str, ("slot", name, rest)."""
    at = 0

    def alternatives(inner):
        nonlocal at
        alts, seq, start = [], ["seq"], at
        while at < len(text):
            c = text[at]
            if c == "(":
                seq.append(text[start:at])
                at += 1
                seq.append(alternatives(True))
                start = at
            elif c == "|" or (c == ")" and inner):
                seq.append(text[start:at])
                alts.append(seq)
                seq = ["seq"]
                at += 1
                start = at
                if c == ")":
                    return ["alt", *alts]
            else:
                at += 1
        assert not inner, f"'(' without ')': {text}"
        seq.append(text[start:at])
        alts.append(seq)
        return ["alt", *alts]

    return alternatives(False)


class Grammar:
    def __init__(self, lang, rng):
        self.lang, self.rng = lang, rng
        self.lists, self.blocks, self.phrases = {}, [], {"vp": [], "imp": []}
        self.words = words.Words(lang, rng)
        self.number = self.words.number
        target = None
        for line in (HERE / "phrases" / f"{lang}.txt").read_text(encoding="utf-8").splitlines():
            if not line.strip() or line.startswith("#"):
                continue
            if line.startswith(":"):
                target = self.lists.setdefault(line[1:], [])
                block = None
            elif line.startswith("%"):
                block = (line[1:], [])
                self.blocks.append(block)
            elif block is not None:
                kind, _, body = line.partition(" ")
                assert kind in ("vp", "imp", "say"), line
                body, _, value = body.partition(" => ")
                entry = (kind, parse(body), value)
                block[1].append(entry)
                if kind != "say":
                    self.phrases[kind].append((block[0], entry))
            else:
                value, tab, phrase = line.partition("\t")
                target.append((value, parse(phrase)) if tab else (None, parse(value)))
        self.by_name = {}
        for b in self.blocks:
            self.by_name.setdefault(b[0].split(" ")[0], []).append(b)

    def expand(self, node, bound):
        if isinstance(node, str):
            return SLOT.sub(lambda m: self.slot(m[1], m[2], bound), node)
        if node[0] == "alt":
            return self.expand(self.rng.choice(node[1:]), bound)
        return "".join(self.expand(n, bound) for n in node[1:])

    def slot(self, name, rest, bound):
        if name == "N":
            return self.rng.choice(bound["N"])
        if name in ("VP", "NVP", "NIMP"):
            kind = "imp" if name == "NIMP" else "vp"
            answer, entry = self.rng.choice(self.phrases[kind])
            inner = {"N": words.NOT[self.lang] if name[0] == "N" else [""]}
            return self.expand(entry[1], inner)
        if name == "F":
            spoken, value = self.words.free(rest)
            bound["F"] = value
            return spoken
        if rest is None and name in ("T", "P", "V", "D", "L7"):
            spoken, value = self.number(name)
            bound[name] = value
            return spoken
        full = f"{name}.{rest}" if rest else name
        entries = self.lists.get(full) or self.lists[rest]
        if name in bound:
            entries = [e for e in entries if e[0] == bound[name]] or entries
        value, node = self.rng.choice(entries)
        if value is not None:
            bound[name] = value
        return self.expand(node, bound)

    def pick(self, name):
        return self.expand(self.rng.choice(self.lists[name])[1], {"N": [""]})

    def beyond(self):
        """A command that asks for more than there is, in a command's words."""
        blocks = [b for n in RANGED for b in self.by_name[n] if re.search("<(T|V|P|L7)>", b[0])]
        kind, node, _ = self.rng.choice(self.rng.choice(blocks)[1])
        self.number = self.words.beyond
        text = self.expand(node, {"N": words.PARTICLE[self.lang]})
        self.number = self.words.number
        return kind, text, "none"

    def sentence(self, name):
        """One utterance before wrapping: (kind, text, line)."""
        if name == "none":
            what = self.rng.choices(list(NONE), list(NONE.values()))[0]
            return self.beyond() if what == "BEYOND" else ("none", self.pick(what), "none")
        blocks = self.by_name[name]
        answer, lines = self.rng.choices(blocks, [len(b[1]) + 2 for b in blocks])[0]
        kind, node, value = self.rng.choice(lines)
        bound = {"N": words.PARTICLE[self.lang]}
        if value:
            bound["X"] = value
        text = self.expand(node, bound)
        line = re.sub(r"<(\w+)(?::(\w+))?>", lambda m: bound.get(m[1]) or m[2], answer)
        return kind, text, line


def tidy(s):
    s = re.sub(r"\s+", " ", s).strip()
    s = re.sub(r" ([,.?!])", r"\1", s)
    return re.sub(r"^[,.?! ]+", "", s)


def wrap(g, kind, text):
    """Politeness, a beginning, an end, as people speak."""
    r = g.rng
    sep = "" if g.lang == "zh" else " "
    ask = False
    if kind == "vp" and (g.lang != "de" or r.random() < 0.95):
        name = "PREVP" if g.lang == "de" else "PRE"
        pre = g.pick(name) if r.random() < 0.62 or g.lang == "de" else ""
        ask = bool(re.match(r"(can|could|would|will|why|kann|könn|würd|willst|magst|能|可)", pre))
        text = f"{pre}{sep}{text}"
        if g.lang == "zh" and ask:
            text += r.choice(["", "", "吗"])
    elif kind == "imp" and r.random() < 0.3:
        text = f"{g.pick('PREIMP')}{sep}{text}"
    elif kind == "none":
        ask = bool(re.match(r"(who|what|why|how|when|where|is|are|do|does|did|should|can|could|would|wer|was|wie|"
                            r"warum|wo|wann|kann|könn|soll|welch|sind|ist)\b", text)) or text.endswith("吗")
    post = r.random() < (0.22 if kind in ("vp", "imp") else 0.08)
    if post and kind != "none" and not text.endswith(("please", "thanks", "bitte", "吧", "吗", "呗", "了")):
        text += (r.choice([" ", ", "]) if sep else r.choice(["", ","])) + g.pick("POST")
    if r.random() < 0.16:
        text = g.pick("PRECHAT") + (r.choice([", ", " "]) if sep else r.choice([",", ""])) + text
    if r.random() < 0.07:
        text = g.pick("CTX") + (r.choice([", ", ". ", " "]) if sep else r.choice([",", "。", " "])) + text
    return tidy(text), ask


def spoken(g, kind, text, name):
    """A reason behind it, or another command first that is taken back. What is copied has to stand alone."""
    r = g.rng
    if kind == "none" or name in COPIED:
        return text
    sep = "" if g.lang == "zh" else " "
    roll = r.random()
    if roll < 0.06:
        return text + r.choice([",", ",", "." if sep else words.WIDE_STOP, "" if sep else ","]) + sep + g.pick("BECAUSE")
    if roll < 0.085:
        other = tidy(g.sentence(r.choice([n for n in WEIGHT if n not in ("none", *COPIED)]))[1])
        if r.random() < 0.6:
            parts = other.split(" ") if sep else other
            parts = parts[: r.randint(1, min(4, len(parts)))]
            other = sep.join(parts) + r.choice(["", "...", ","])
        return other + sep + g.pick("REPAIR") + sep + text
    return text


def fillers(g, text, line):
    """A filler between two words, but never inside of what is to be copied."""
    r = g.rng
    if r.random() > 0.07:
        return text
    fill = g.pick("FILL")
    value = line.partition(" ")[2]
    if g.lang == "zh":
        at = r.randrange(len(text)) if r.random() < 0.3 else 0
        new = text[:at] + fill + text[at:]
    else:
        parts = text.split(" ")
        at = r.randrange(len(parts))
        new = " ".join(parts[:at] + [fill] + parts[at:])
    return new if value not in text or value in new else text


# A number's own comma or point stays. (Escapes, for what looks alike: Chinese marks are wide.)
PUNCT = re.compile(r"(?<!\d)[,.](?!\d)|(?<=\d)[,.](?!\d)|(?<!\d)[,.](?=\d)|"
                   r"[!?;:\uff0c\u3002\uff1f\uff01\u3001\u300a\u300b\u201c\u201d]")


def written(g, text, line, ask):
    """How it arrives: typed with care, or from a recogniser without case and marks."""
    r = g.rng
    name, _, value = line.partition(" ")
    free = name in COPIED and value not in ("home", "work")
    how = r.random()

    def both(f):
        nonlocal text, value
        text = tidy(f(text))
        if free:
            value = tidy(f(value))

    if g.lang == "zh":
        if how < 0.45:
            gap = r.choice(["", " ", ","])
            both(lambda s: PUNCT.sub(gap, s) if s is text else PUNCT.sub("", s))
            if free and value not in text:
                both(lambda s: PUNCT.sub("", s).replace(" ", ""))
        else:
            if r.random() < 0.5:
                both(lambda s: s.replace(",", words.WIDE_COMMA))
            if r.random() < 0.6:
                end = r.choice(["", words.WIDE_STOP, "?" if ask or text.endswith("吗") else words.WIDE_STOP, "!"])
                text += end.translate(words.WIDE) if r.random() < 0.6 else end
    elif how < (0.42 if g.lang == "en" else 0.3):
        both(lambda s: PUNCT.sub("", s).lower())
    elif how < 0.55:
        both(lambda s: PUNCT.sub("", s))
    else:
        text = text[0].upper() + text[1:] if r.random() < 0.75 and not (free and text.startswith(value)) else text
        if text[-1] not in ".?!":
            text += ("?" if r.random() < 0.6 else "") if ask else r.choice([".", ".", "", "", "!"])
    return text, f"{name} {value}".strip()


def one(g, name):
    kind, text, line = g.sentence(name)
    text, ask = wrap(g, kind, tidy(spoken(g, kind, text, name)))
    text = fillers(g, text, line)
    return written(g, text, line, ask)


def plain(s):
    """What two sentences share that differ in case and marks only."""
    return re.sub(r"[\W_]+", "", s.lower())


class Checker:
    """Are these lines calls of the catalogue? For copies: is what is copied in the utterance?"""

    def __init__(self):
        tools = json.loads((HERE / "catalogue.json").read_text())
        self.functions = {t["function"]["name"]: t["function"]["parameters"]["properties"] for t in tools}

    def check(self, text, line):
        name, *values = line.split(" ")
        for key, s in self.functions[name].items():
            if s.get("type") == "string" and "enum" not in s:
                value, values = " ".join(values), []
                assert value[0].isalnum() and value[-1].isalnum(), (text, line)
                assert (value in text or (name == "navigate" and value in ("home", "work"))), (text, line)
                continue
            value = values.pop(0)
            choices = [s] + s.get("anyOf", [])
            named = [str(v) for c in choices for v in c.get("enum", [])]
            named += ["me"] if key in ("zone", "seat") or (name, key) == ("window", "which") else []
            ranges = [c for c in choices if "minimum" in c]
            ok = value in named or any(
                re.fullmatch(r"-?\d+(\.5)?", value) and c["minimum"] <= float(value) <= c["maximum"]
                and float(value) % c.get("multipleOf", 1) == 0 for c in ranges)
            assert ok, (text, line)
        assert not values, (text, line)


def generate(n, seed, exclude=()):
    rng = random.Random(seed)
    grammars = [Grammar(lang, rng) for lang in LANGS]
    shares = list(LANGS.values())
    checker, seen, out = Checker(), {plain(s) for s in exclude}, []
    names, weights = list(WEIGHT), list(WEIGHT.values())
    while len(out) < n:
        g = rng.choices(grammars, shares)[0]
        text, line = one(g, rng.choices(names, weights)[0])
        if plain(text) in seen:
            continue
        seen.add(plain(text))
        checker.check(text, line)
        out.append((g.lang, text, line))
    return out


def read_tsv(path):
    with open(path, encoding="utf-8") as f:
        return [tuple(line.rstrip("\n").split("\t")) for line in f]


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("-n", type=int, default=40000, help="sentences (default 40000)")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--exclude", nargs="*", default=[], help="files whose sentences must not come")
    a = p.parse_args()
    held = [row[1] for f in a.exclude for row in read_tsv(f)]
    for row in generate(a.n, a.seed, held):
        sys.stdout.write("\t".join(row) + "\n")


if __name__ == "__main__":
    main()
