"""Modified condition/decision coverage of C files, by instrumented copies. scripts/coverage-router calls it.

  mcdc.py instrument OUT_DIR CLANG_ARGS... -- FILE.c ...   copies with each condition and decision recorded
  mcdc.py report OUT_DIR RECORDS_DIR [--missing]           the table

A decision is an expression of && and || that is not part of another one; its conditions are what these join.
Clang's syntax tree says where they stand. A run records each decision's conditions (false, true, not looked
at) and outcome. A condition is covered if two records with different outcomes differ in it and in no other
condition that both looked at: masking MC/DC with short circuits as don't-cares (Chilenski, An Investigation of
Three Forms of the Modified Condition Decision Coverage Criterion, 2001). Decisions inside of macros are left out, and counted."""
import collections
import json
import pathlib
import subprocess
import sys

RUNTIME = r"""
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
enum { DEPTH = 256, SLOTS = 1 << 16 };
static struct { int id; uint64_t v; } frame[DEPTH];
static int depth;
static struct { int id; uint64_t v; int out; } seen[SLOTS];
static void dump(void)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%d", getenv("MCDC_OUT"), (int)getpid());
    FILE *f = fopen(path, "w");
    for (int i = 0; f != NULL && i < SLOTS; i++)
        if (seen[i].id != 0)
            fprintf(f, "%d %llx %d\n", seen[i].id, (unsigned long long)seen[i].v, seen[i].out);
    if (f != NULL)
        fclose(f);
}
__attribute__((constructor)) static void start(void)
{
    if (getenv("MCDC_OUT") != NULL)
        atexit(dump);
}
void mcdc_begin(int id)
{
    frame[depth].id = id;
    frame[depth++].v = 0;
}
int mcdc_cond(int i, int value)
{
    frame[depth - 1].v |= (uint64_t)(value ? 2 : 1) << (2 * i);
    return value;
}
int mcdc_end(int out)
{
    const int id = frame[--depth].id;
    const uint64_t v = frame[depth].v;
    uint64_t h = (v ^ (uint64_t)id * 0x9E3779B97F4A7C15u ^ (uint64_t)out) * 0xBF58476D1CE4E5B9u;
    for (uint32_t at = (uint32_t)(h >> 48), n = 0; n < SLOTS; at = (at + 1) % SLOTS, n++) {
        if (seen[at].id == 0) {
            seen[at].id = id;
            seen[at].v = v;
            seen[at].out = out;
            break;
        }
        if (seen[at].id == id && seen[at].v == v && seen[at].out == out)
            break;
    }
    return out;
}
"""
DECLARE = "void mcdc_begin(int); int mcdc_cond(int, int); int mcdc_end(int);\n#line 1\n"
THROUGH = ("ParenExpr", "ImplicitCastExpr")


def logical(node):
    return node.get("kind") == "BinaryOperator" and node.get("opcode") in ("&&", "||")


def leaves(node):
    """The conditions of a decision, from left to right."""
    inner = node
    while inner.get("kind") in THROUGH:
        inner = inner["inner"][0]
    if logical(inner):
        return leaves(inner["inner"][0]) + leaves(inner["inner"][1])
    return [node]


def span(node, source):
    """(begin, end) in bytes, or None where a macro with arguments made its end."""
    begin, end = node["range"]["begin"], node["range"]["end"]
    begin, last = begin.get("expansionLoc", begin), end.get("expansionLoc", end)
    if "offset" not in begin or "offset" not in last or "includedFrom" in begin:
        return None
    stop = last["offset"] + last["tokLen"]
    if last is not end and source[stop : stop + 1] == b"(":
        return None
    return begin["offset"], stop


def decisions(tree, path):
    """Top-level decisions of this file, in the tree's order."""
    found = []

    def walk(node):
        if not isinstance(node, dict):
            return
        if logical(node):
            conditions = leaves(node)
            found.append((node, conditions))
            for c in conditions:
                for child in c.get("inner", []):
                    walk(child)
            return
        for child in node.get("inner", []):
            walk(child)

    for top in tree.get("inner", []):
        if top.get("kind") == "FunctionDecl" and any(c.get("kind") == "CompoundStmt" for c in top.get("inner", [])):
            if top.get("_file") == path:
                walk(top)
    return found


def mark_files(tree):
    """Clang says a location's file only where it changes."""
    here = None

    def look(x):
        nonlocal here
        if isinstance(x, dict):
            if "file" in x:
                here = x["file"]
            for v in x.values():
                look(v)
        elif isinstance(x, list):
            for v in x:
                look(v)

    for top in tree.get("inner", []):
        look(top.get("loc", {}))
        top["_file"] = here
        look({k: v for k, v in top.items() if k not in ("loc", "_file")})


def instrument(out, clang, files):
    out.mkdir(parents=True, exist_ok=True)
    table, skipped, number = [], 0, 0
    for f in files:
        tree = json.loads(subprocess.run([*clang, "-fsyntax-only", "-Xclang", "-ast-dump=json", f], check=True,
                                         capture_output=True, text=True).stdout)
        mark_files(tree)
        source = pathlib.Path(f).read_bytes()
        cuts = []  # (offset, nesting order, text)
        for node, conditions in decisions(tree, f):
            spans = [span(c, source) for c in conditions]
            whole = span(node, source)
            if whole is None or None in spans or len(conditions) > 31:
                skipped += 1
                continue
            number += 1
            line = source.count(b"\n", 0, whole[0]) + 1
            table.append((number, pathlib.Path(f).name, line, len(conditions)))
            cuts.append((whole[0], 0, f"(mcdc_begin({number}), mcdc_end("))
            cuts.append((whole[1], 3, "))"))
            for i, (a, b) in enumerate(spans):
                cuts.append((a, 1, f"mcdc_cond({i}, !!("))
                cuts.append((b, 2, "))"))
        # At one offset: what ends comes before what begins, inner before outer.
        cuts.sort(key=lambda c: (c[0], {2: 0, 3: 1, 0: 2, 1: 3}[c[1]]))
        text, at = [DECLARE.encode()], 0
        for offset, _, cut in cuts:
            text += [source[at:offset], cut.encode()]
            at = offset
        text.append(source[at:])
        (out / pathlib.Path(f).name).write_bytes(b"".join(text))
    (out / "mcdc_runtime.c").write_text(RUNTIME)
    (out / "table").write_text("".join(f"{n} {f} {l} {c}\n" for n, f, l, c in table) + f"skipped {skipped}\n")


def covered(records, i):
    for a, out_a in records:
        x = a >> 2 * i & 3
        if x == 0:
            continue
        for b, out_b in records:
            y = b >> 2 * i & 3
            if out_a == out_b or y == 0 or x == y:
                continue
            both = 0
            for j in range(31):
                p, q = a >> 2 * j & 3, b >> 2 * j & 3
                both |= j != i and p != q and p != 0 and q != 0
            if not both:
                return True
    return False


def report(out, records_dir, missing):
    records = collections.defaultdict(set)
    for f in records_dir.iterdir():
        for line in f.read_text().splitlines():
            n, v, o = line.split()
            records[int(n)].add((int(v, 16), int(o)))
    total, lines = [0, 0, 0, 0], []
    by_file = collections.OrderedDict()
    skipped = 0
    for row in (out / "table").read_text().splitlines():
        if row.startswith("skipped"):
            skipped = int(row.split()[1])
            continue
        n, f, line, count = row.split()
        s = by_file.setdefault(f, [0, 0, 0, 0])
        ok = [covered(records[int(n)], i) for i in range(int(count))]
        s[0] += sum(ok)
        s[1] += len(ok)
        s[2] += all(ok)
        s[3] += 1
        lines += [f"{f}:{line}: condition {i + 1} of {count}" for i, x in enumerate(ok) if not x]
    print(f"{'file':16} {'conditions':>12} {'decisions':>14}    (MC/DC)")
    for f, s in [*by_file.items(), ("all", [sum(x) for x in zip(*by_file.values())])]:
        print(f"{f:16} {s[0]:5}/{s[1]:<5} {100 * s[0] / max(s[1], 1):5.1f} {s[2]:5}/{s[3]:<5} {100 * s[2] / max(s[3], 1):5.1f}")
    print(f"{skipped} decisions that macros made are not counted")
    if missing:
        print("\n".join(lines))


if __name__ == "__main__":
    if sys.argv[1] == "instrument":
        cut = sys.argv.index("--")
        instrument(pathlib.Path(sys.argv[2]), sys.argv[3:cut], sys.argv[cut + 1 :])
    else:
        report(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]), "--missing" in sys.argv)
