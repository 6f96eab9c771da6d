"""Modified condition/decision coverage of C files, by instrumented copies. scripts/coverage-router calls it.

  mcdc.py instrument OUT_DIR CLANG_ARGS... -- FILE.c ...   copies with each condition and decision recorded
  mcdc.py report OUT_DIR RECORDS_DIR TABLE [--missing]     TABLE with two columns more

A decision is an expression of &&, || and ! that is not part of another one; its conditions are what these
join. One of a single condition is left to branch coverage, which is the same there. Clang's syntax tree says
where they stand. A run records each decision's conditions (false, true, not looked at) and outcome. A
condition is covered if two records with different outcomes differ in it and in no other condition that both
looked at: masking MC/DC with short circuits as don't-cares (Chilenski, An Investigation of Three Forms of the
Modified Condition Decision Coverage Criterion, 2001). Decisions that stand in a macro's own text are left out,
and counted; those in its arguments are not."""
import collections
import json
import pathlib
import re
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
    FILE *f = fopen(path, "a"); /* numbers of processes come again */
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
    if (depth == DEPTH)
        abort();
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


def leaves(node, source):
    """The conditions of a decision, from left to right; what a macro's text joins is one."""
    inner = node
    while inner.get("kind") in THROUGH or (inner.get("kind"), inner.get("opcode")) == ("UnaryOperator", "!"):
        inner = inner["inner"][0]
    if logical(inner) and stands(inner, source):
        return leaves(inner["inner"][0], source) + leaves(inner["inner"][1], source)
    return [node]


def closing(source, at):
    """Behind the bracket that closes the one at `at`."""
    depth = 0
    for token in re.finditer(rb'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|[()]', source[at:]):
        depth += {b"(": 1, b")": -1}.get(token[0], 0)
        if depth == 0:
            return at + token.end()
    return None


def span(node, source):
    """(begin, end) in bytes, or None if it does not stand in this file."""
    ends, in_macro = [], []
    for loc in (node["range"]["begin"], node["range"]["end"]):
        macro = loc.get("expansionLoc", {})
        in_macro.append("expansionLoc" in loc and not macro.get("isMacroArgExpansion"))
        ends.append(macro if in_macro[-1] else loc.get("spellingLoc", loc))
    if any("offset" not in loc for loc in ends) or ("includedFrom" in ends[0]) != ("includedFrom" in ends[1]):
        return None
    stop = ends[1]["offset"] + ends[1]["tokLen"]
    if in_macro[1] and source[stop : stop + 1] == b"(":
        stop = closing(source, stop)
    return (ends[0]["offset"], stop) if stop is not None else None


def stands(node, source):
    """Whether the operator stands between what it joins, rather than in a macro's text."""
    left, right = (span(x, source) for x in node["inner"])
    return (left is not None and right is not None and
            node["opcode"].encode() in source[left[1] : right[0]] + b" " and left[1] <= right[0])


def decisions(function, source):
    """Top-level decisions of a function, in the tree's order, each with its conditions."""
    found = []

    def walk(node):
        if not isinstance(node, dict):
            return
        if not logical(node):
            below = [node]
        else:
            below = leaves(node, source)
            found.append((node, below))
        for x in below:
            for child in x.get("inner", []):
                walk(child)

    walk(function)
    return found


def mark_files(tree):
    """Clang says a location's file only where it changes."""
    here = None

    def look(x):
        nonlocal here
        if isinstance(x, dict):
            if "file" in x:
                here = x["file"]
            for k, v in x.items():
                if k != "includedFrom":
                    look(v)
        elif isinstance(x, list):
            for v in x:
                look(v)

    for top in tree.get("inner", []):
        look(top.get("loc", {}))
        top["_file"] = here
        look({k: v for k, v in top.items() if k not in ("loc", "_file")})


def functions(tree, folder):
    """(file, function) for each that has a body and stands in the folder."""
    for top in tree.get("inner", []):
        if top.get("kind") == "FunctionDecl" and any(c.get("kind") == "CompoundStmt" for c in top.get("inner", [])):
            if top["_file"] and pathlib.Path(top["_file"]).resolve().parent == folder:
                yield pathlib.Path(top["_file"]).resolve(), top


def instrument(out, clang, files):
    (out / files[0].parent.name).mkdir(parents=True, exist_ok=True)
    table, skipped, number, done = [], 0, 0, set()
    for f in files:
        tree = json.loads(subprocess.run([*clang, "-fsyntax-only", "-Xclang", "-ast-dump=json", str(f)], check=True,
                                         capture_output=True, text=True).stdout)
        mark_files(tree)
        cuts = {f: []}  # of the file and of headers that no file before has: (offset, nesting order, text)
        seen = set()
        for path, function in functions(tree, f.parent):
            if path in done:
                continue
            source = path.read_bytes()
            cut = cuts.setdefault(path, [])
            for node, conditions in decisions(function, source):
                spans = [span(c, source) for c in conditions]
                whole = span(node, source)
                if whole is None or None in spans or not 1 < len(conditions) < 32:
                    skipped += 1
                    continue
                if (path, whole) in seen:  # a macro that uses its argument twice
                    continue
                seen.add((path, whole))
                number += 1
                table.append((number, path.name, source.count(b"\n", 0, whole[0]) + 1, len(conditions)))
                cut.append((whole[0], 0, f"(mcdc_begin({number}), mcdc_end("))
                cut.append((whole[1], 3, "))"))
                for i, (a, b) in enumerate(spans):
                    cut.append((a, 1, f"mcdc_cond({i}, !!("))
                    cut.append((b, 2, "))"))
        for path, cut in cuts.items():
            # At one offset: what ends comes before what begins, inner before outer.
            cut.sort(key=lambda c: (c[0], {2: 0, 3: 1, 0: 2, 1: 3}[c[1]]))
            source = path.read_bytes()
            text, at = [DECLARE.encode()], 0
            for offset, _, what in cut:
                text += [source[at:offset], what.encode()]
                at = offset
            text.append(source[at:])
            (out / ("" if path == f else path.parent.name) / path.name).write_bytes(b"".join(text))
        done.update(cuts)
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


def report(out, records_dir, table, missing):
    records = collections.defaultdict(set)
    for f in records_dir.iterdir():
        for line in f.read_text().splitlines():
            n, v, o = line.split()
            records[int(n)].add((int(v, 16), int(o)))
    lines, by_file, skipped = [], {"all": [0, 0, 0, 0]}, 0
    for row in (out / "table").read_text().splitlines():
        if row.startswith("skipped"):
            skipped = int(row.split()[1])
            continue
        n, f, line, count = row.split()
        ok = [covered(records[int(n)], i) for i in range(int(count))]
        for s in (by_file.setdefault(f, [0, 0, 0, 0]), by_file["all"]):
            for i, x in enumerate((sum(ok), len(ok), all(ok), 1)):
                s[i] += x
        lines += [f"mc/dc  {f}:{line}: condition {i + 1} of {count}" for i, x in enumerate(ok) if not x]
    rows = table.read_text().splitlines()
    at = next(i for i, row in enumerate(rows) if row.startswith("all "))
    named = {row.split()[0] for row in rows[:at]}
    rows[at:at] = [f"{f:16} {'':18} {'':18}" for f in sorted(by_file) if f not in named | {"all"}]
    for row in rows:
        f = row.split()[0]
        if f == "file":
            row += f"{'conditions':>14} {'decisions':>19}   MC/DC"
        elif f not in ("line", "branch"):
            a, b, c, d = by_file.get(f, [0, 0, 0, 0])
            row += f" {a:5}/{b:<5} {100 * a / b if b else 100:5.1f} {c:5}/{d:<5} {100 * c / d if d else 100:5.1f}"
        print(row)
    if missing:
        print("\n".join(lines))
    print(f"{skipped} decisions in the text of macros are not counted")


if __name__ == "__main__":
    if sys.argv[1] == "instrument":
        cut = sys.argv.index("--")
        instrument(pathlib.Path(sys.argv[2]), sys.argv[3:cut], [pathlib.Path(f).resolve() for f in sys.argv[cut + 1 :]])
    else:
        report(*map(pathlib.Path, sys.argv[2:5]), "--missing" in sys.argv)
