"""What scripts/bench-engine measured as a page (Markdown), a picture (SVG) and numbers (JSON).

usage: bench_report.py performance.json OUT_DIR      writes the page and the picture again"""
import json
import math
import pathlib
import statistics
import sys

LESS = ("load", "memory", "first 128", "first 512")  # smaller is better
# name of a number -> what it is, unit, target of ours ÷ llama.cpp's
PEER = {
    "prefill 128": ("prefill, 128 tokens", "tok/s", 2.5),
    "prefill 512": ("prefill, 512 tokens", "tok/s", 2.5),
    "decode 0": ("decode, empty context", "tok/s", 1.3),
    "decode 512": ("decode after 512 tokens", "tok/s", 1.5),
    "decode 4096": ("decode after 4,096 tokens", "tok/s", None),
    "four": ("four sessions together", "tok/s", 1.6),
    "first 128": ("first token of 128", "ms", 0.45),
    "load": ("load to the first step's end", "ms", 0.3),
}
BEGIN, END = "<!-- made by scripts/bench-engine: begin -->", "<!-- made by scripts/bench-engine: end -->"
PAGE = f"""# Performance

{BEGIN}
{END}
"""


def middle(values):
    return statistics.median(values)


def best_peer(f, key):
    """The name of llama.cpp's configuration that is best at a number; None if it wasn't taken."""
    peers = [n for n, s in f["samples"].items() if n != "ours" and s.get(key)]
    if not peers or not f["samples"]["ours"].get(key):
        return None
    return (min if key in LESS else max)(peers, key=lambda n: middle(f["samples"][n][key]))


def spread_of(values):
    return middle(values), min(values), max(values)


def ratio(f, key):
    """(median, min, max) of ours ÷ llama.cpp's over the turns; None if there is none."""
    peer = best_peer(f, key)
    if peer is None:
        return None
    return spread_of([a / b for a, b in zip(f["samples"]["ours"][key], f["samples"][peer][key])])


def read_limit(f, mib):
    """GB/s of a set of that size, between the two nearest measured (the better of before and after)."""
    points = [(r["mib"], max(x["read"][i]["gb_s"]["median"] for x in f["limits"]))
              for i, r in enumerate(f["limits"][0]["read"])]
    for (m0, g0), (m1, g1) in zip(points, points[1:]):
        if mib <= m1:
            at = max(0, math.log(mib / m0) / math.log(m1 / m0))
            return g0 + (g1 - g0) * at
    return points[-1][1]


def own(f):
    """name -> (what, unit, value (median, min, max), target, whether at least or at most)."""
    ours = f["samples"]["ours"]
    limit = read_limit(f, f["read_bytes"] / 2**20) * 1e9 / f["read_bytes"]
    pairs = [a / b for a, b in zip(ours["four"], ours["decode 0"])]
    busy = [a / b for a, b in zip(ours["busy"], ours["decode 0"])]
    share = [v / limit for v in ours["decode 0"]]
    return {
        "share": ("decode, empty context ÷ the read limit", "", spread_of(share), 0.85, "≥"),
        "four ÷ one": ("four sessions ÷ our own single", "", spread_of(pairs), 2.5, "≥"),
        "busy": ("decode beside a busy loop ÷ undisturbed", "", spread_of(busy), 0.6, "≥"),
        "memory": ("peak memory beyond file and K/V, MiB", "", spread_of(ours["memory"]), 64, "≤"),
    }


def met(value, target, sign):
    if target is None:
        return None
    return value >= target if sign == "≥" else value <= target


def mark(good):
    return "" if good is None else " ✓" if good else " ✗"


def number(v):
    return f"{v:,.0f}" if abs(v) >= 100 else f"{v:.1f}" if abs(v) >= 10 else f"{v:.2f}"


def cell(spread, target, sign):
    mid, low, high = spread
    return f"**{number(mid)}**{mark(met(mid, target, sign))} ({number(low)}–{number(high)})"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(r) + " |" for r in rows])


def ratio_rows(files):
    for key, (what, _, target) in PEER.items():
        spreads = [ratio(f, key) for f in files]
        if not any(spreads):
            continue
        sign = "≤" if key in LESS else "≥"
        goal = f"{sign} {target:g}" if target else ""
        yield [what, goal] + [cell(s, target, sign) if s else "" for s in spreads]


def own_rows(files):
    for key, (what, _, _, target, sign) in own(files[0]).items():
        yield [what, f"{sign} {target:g}"] + [cell(own(f)[key][2], target, sign) for f in files]


def rate_rows(files):
    """Ours / llama.cpp's, medians."""
    for key, (what, unit, _) in {**PEER, "memory": ("memory beyond file and K/V", "MiB", None)}.items():
        peers = [best_peer(f, key) for f in files]
        if not any(peers):
            continue
        cells = [f"{number(middle(f['samples']['ours'][key]))} / {number(middle(f['samples'][p][key]))}" if p else ""
                 for f, p in zip(files, peers)]
        yield [f"{what}, {unit}"] + cells
    cells = []
    for f in files:
        n = next((n for n, s in f["samples"].items() if n != "ours" and s.get("busy")), None)
        theirs = number(middle(f["samples"][n]["busy"])) if n else "?"
        cells.append(f"{number(middle(f['samples']['ours']['busy']))} / {theirs}")
    yield ["decode beside a busy loop, tok/s"] + cells


def flag_rows(files):
    for key, (what, _, _) in PEER.items():
        peers = [best_peer(f, key) for f in files]
        if any(peers):
            yield [what] + [p or "" for p in peers]


def limit_rows(files):
    sets = [x for f in files for x in f["limits"]]
    for i, r in enumerate(sets[0]["read"]):
        s = [x["read"][i]["gb_s"]["median"] for x in sets]
        yield [f"read {r['mib']:,} MiB", "GB/s", number(middle(s)), f"{number(min(s))}–{number(max(s))}"]
    for i, p in enumerate(sets[0]["peak"]):
        s = [x["peak"][i]["gop_s"]["median"] for x in sets]
        yield [p["what"], "Gop/s", number(middle(s)), f"{number(min(s))}–{number(max(s))}"]


def page(r):
    files = r["files"]
    names = [f["name"] for f in files]
    sizes = [f"{f['file_mib']:.0f} MiB" for f in files]
    n_bad = sum("✗" in c for row in list(ratio_rows(files)) + list(own_rows(files)) for c in row[2:])
    n_all = n_bad + sum("✓" in c for row in list(ratio_rows(files)) + list(own_rows(files)) for c in row[2:])
    return f"""
{r['cpu']}, {r['threads']} threads, Linux {r['system']}; {r['repeat']} turns of each engine, one after the other;
{sum(f['minutes'] for f in r['files']):.0f} minutes. In brackets the smallest and the largest of the turns' ratios; ✓ and ✗ say whether the
median meets the target: **{n_all - n_bad} of {n_all} do**. Weights are packed once and kept
(`engine.pack_cache`), keys and values are f16, prompts go in steps of {r['chunk']} tokens, as in the daemon. Both
engines load from the page cache.

![Ratios, and decode under the machine's read limit](performance.svg)

### Ours ÷ llama.cpp's best configuration
{table(["", "target"] + [f"{n} ({s})" for n, s in zip(names, sizes)], ratio_rows(files))}

### Ours beside the machine and ourselves
{table(["", "target"] + names, own_rows(files))}

### Rates: ours / llama.cpp
{table([""] + names, rate_rows(files))}

### Which configuration of llama.cpp was best
fa: flash attention; repack: weights laid out anew for this CPU at load; ub: tokens of a micro-batch.

{table([""] + names, flag_rows(files))}

### The machine's limits in the same minutes
Medians over the whole run, and their range; all {r['threads']} threads together. The peaks are of registers alone.

{table(["", "", "median", "range"], limit_rows(files))}
"""


# ---- the picture ----

INK, SOFT, GRID, GOOD, BAD, PEER_INK = "#1f2933", "#6b7785", "#e3e8ee", "#1b7f79", "#c8553d", "#8a6fae"
WIDTH, PANEL_W, NAME_W, ROW_H, TOP = 1120, 226, 150, 19, 96


class Svg:
    def __init__(self):
        self.parts = []

    def text(self, x, y, s, size=12, anchor="start", fill=INK, weight="normal"):
        s = s.replace("&", "&amp;").replace("<", "&lt;")
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}" '
                          f'font-weight="{weight}">{s}</text>')

    def line(self, x0, y0, x1, y1, stroke=GRID, width=1.0, dash=""):
        d = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<line x1="{x0:.1f}" y1="{y0:.1f}" x2="{x1:.1f}" y2="{y1:.1f}" stroke="{stroke}" '
                          f'stroke-width="{width}"{d}/>')

    def rect(self, x, y, w, h, fill, rx=2):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" fill="{fill}" rx="{rx}"/>')

    def dot(self, x, y, r, fill, stroke="white"):
        self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}" fill="{fill}" stroke="{stroke}"/>')

    def path(self, points, stroke, width=2):
        d = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.parts.append(f'<polyline points="{d}" fill="none" stroke="{stroke}" stroke-width="{width}"/>')

    def done(self, width, height):
        return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
                f'height="{height}" font-family="Helvetica, Arial, sans-serif">\n'
                f'<rect width="{width}" height="{height}" fill="white"/>\n' + "\n".join(self.parts) + "\n</svg>\n")


def panels(files):
    """(title, target as times faster, [(median, low, high) a file]): bigger is better in all of them."""
    for key, (what, _, target) in PEER.items():
        spreads = [ratio(f, key) for f in files]
        if not any(spreads):
            continue
        if key in LESS:
            spreads = [s and (1 / s[0], 1 / s[2], 1 / s[1]) for s in spreads]
            target = target and 1 / target
        yield what, target, spreads
    yield "beside a busy loop ÷ alone", 0.6, [own(f)["busy"][2] for f in files]


def draw_panel(svg, x, y, title, target, spreads, names):
    """Bars from 0; a whisker from the worst to the best turn, a dashed line at the target."""
    top = max([s[2] for s in spreads if s] + [target or 0, 1.2]) * 1.12
    bar_w = PANEL_W - 58
    at = lambda v: x + min(max(v, 0), top) / top * bar_w
    bottom = y + len(spreads) * ROW_H + 6
    svg.text(x, y - 22, title, 12.5, weight="bold")
    svg.line(at(1), y - 2, at(1), bottom, SOFT)
    svg.text(at(1), bottom + 12, "1×", 10, "middle", SOFT)
    if target:
        svg.line(at(target), y - 6, at(target), bottom, INK, 1.2, "4 3")
        svg.text(at(target), y - 9, f"target {target:.2g}×", 10, "middle", SOFT)
    for i, s in enumerate(spreads):
        row = y + i * ROW_H + ROW_H / 2
        if names:
            svg.text(x - 8, row + 4, names[i], 11.5, "end")
        if s is None:
            continue
        good = target is None or s[0] >= target
        svg.rect(x, row - 6, at(s[0]) - x, 12, GOOD if good else BAD)
        svg.line(at(s[1]), row, at(s[2]), row, INK, 1.4)
        svg.text(max(at(s[2]), at(s[0])) + 5, row + 4, f"{s[0]:.2f}×", 11)
    svg.line(x, y - 2, x, bottom, SOFT)


def draw_limit(svg, x, y, w, h, files):
    """Read bandwidth by working set, with what each decode reads a second under it."""
    sets = [lim for f in files for lim in f["limits"]]
    mibs = [r["mib"] for r in sets[0]["read"]]
    values = [[s["read"][i]["gb_s"]["median"] for s in sets] for i in range(len(mibs))]
    points = [(f["read_bytes"] / 2**20, f) for f in files]
    top = max(max(v) for v in values) * 1.15
    low = 5.0
    at_x = lambda m: x + math.log(m / mibs[0]) / math.log(mibs[-1] / mibs[0]) * w
    at_y = lambda g: y + h - math.log(max(g, low) / low) / math.log(top / low) * h
    svg.text(x, y - 16, "What decode reads a second, under the read limit of its working set", 12.5, weight="bold")
    for g in (5, 10, 20, 50, 100, 200, 500, 1000):
        if low <= g <= top:
            svg.line(x, at_y(g), x + w, at_y(g))
            svg.text(x - 6, at_y(g) + 4, f"{g} GB/s", 10.5, "end", SOFT)
    last_x = -math.inf
    for m in mibs:
        svg.line(at_x(m), y, at_x(m), y + h)
        if at_x(m) - last_x < 50:
            continue
        last_x = at_x(m)
        svg.text(at_x(m), y + h + 15, f"{m} MiB" if m < 1024 else "1 GiB", 10.5, "middle", SOFT)
    svg.path([(at_x(m), at_y(middle(v))) for m, v in zip(mibs, values)], INK)
    for m, v in zip(mibs, values):
        svg.line(at_x(m), at_y(min(v)), at_x(m), at_y(max(v)), INK, 1.2)
    svg.text(at_x(mibs[1]) + 8, at_y(middle(values[1])) - 8, "read limit", 11)
    for mib, f in points:
        for name, ink in ((best_peer(f, "decode 0"), PEER_INK), ("ours", GOOD)):
            if name is not None:
                rate = middle(f["samples"][name]["decode 0"]) * f["read_bytes"] / 1e9
                svg.dot(at_x(mib), at_y(rate), 5, ink)
    for i, (name, ink) in enumerate((("Waypost", GOOD), ("llama.cpp's best", PEER_INK))):
        svg.dot(x + w - 130, y + 14 + i * 18, 5, ink)
        svg.text(x + w - 118, y + 18 + i * 18, name, 11.5)
    last_x = None
    for mib, f in sorted(points, key=lambda p: p[0]):
        # Files of nearly the same size share a place: their names stand above one another.
        step = step + 1 if last_x is not None and at_x(mib) - last_x < 90 else 0
        last_x = at_x(mib)
        svg.text(at_x(mib), y + h - 8 - step * 13, f["name"], 10, "middle", SOFT)


def picture(r):
    files, svg = r["files"], Svg()
    names = [f["name"] for f in files]
    svg.text(24, 32, "Waypost beside llama.cpp's best configuration", 18, weight="bold")
    svg.text(24, 52, f"{r['cpu']}, {r['threads']} threads. Times faster; the last of the eight: ours beside a "
             f"busy loop as a share of ours alone. Bars: median of {r['repeat']} turns; lines: worst to best.", 12, fill=SOFT)
    height = len(files) * ROW_H + 74
    shown = list(panels(files))
    for i, (title, target, spreads) in enumerate(shown):
        x = 24 + NAME_W + i % 4 * (PANEL_W + 8)
        draw_panel(svg, x, TOP + 14 + i // 4 * height, title, target, spreads, names if i % 4 == 0 else None)
    below = TOP + 14 + -(-len(shown) // 4) * height + 10
    draw_limit(svg, 24 + NAME_W - 60, below, WIDTH - NAME_W - 24, 260, files)
    return svg.done(WIDTH, below + 290)


def write(r, out):
    """The page keeps what people wrote outside the two marks."""
    out.mkdir(parents=True, exist_ok=True)
    target = out / "performance.md"
    text = target.read_text() if target.exists() else PAGE
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    target.write_text(before + BEGIN + page(r) + END + after)
    (out / "performance.svg").write_text(picture(r))
    (out / "performance.json").write_text(json.dumps(r, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    write(json.loads(pathlib.Path(sys.argv[1]).read_text()), pathlib.Path(sys.argv[2]))
