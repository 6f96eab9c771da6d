"""The cabin's adapter answering freely in Waypost and in llama.cpp; called by scripts/compare-cabin."""
import argparse
import json
import os
import pathlib
import sys
import tempfile

import cabin

MAX_TOK = 48


def ours(edge, name, rows):
    conn = edge.connect()
    return [cabin.ask(conn, text, model=name, max_tokens=MAX_TOK)[0]["choices"][0]["message"]["content"]
            for _, text, _ in rows]


def theirs(model, adapter, rows, threads):
    import llama_cpp
    from llama_cpp._utils import suppress_stdout_stderr

    with suppress_stdout_stderr(disable=False):
        llm = llama_cpp.Llama(str(model), n_ctx=512, n_gpu_layers=0, n_threads=threads, verbose=False, lora_path=str(adapter))
    out = []
    for _, text, _ in rows:
        answer = llm.create_chat_completion([{"role": "user", "content": text}], temperature=0, max_tokens=MAX_TOK)
        out.append(answer["choices"][0]["message"]["content"])
    return out


def scores(rows, got):
    """{language: [rows, functions right, calls right, nones, acted on a none]}"""
    out = {}
    for (lang, _, want), line in zip(rows, got):
        for key in (lang, "all"):
            s = out.setdefault(key, [0, 0, 0, 0, 0])
            s[0] += 1
            s[1] += line.split(" ")[0] == want.split(" ")[0]
            s[2] += line == want
            s[3] += want == "none"
            s[4] += want == "none" and line != "none"
    return out


def show(title, rows, got):
    print(title)
    for lang, (n, f, c, m, acted) in sorted(scores(rows, got).items()):
        print(f"  {lang:4} {n:4} sentences  function {100 * f / n:5.1f} %  call {100 * c / n:5.1f} %  "
              f"acted on a none {acted}/{m} = {100 * acted / max(m, 1):.1f} %", flush=True)


def same(a, b):
    return 100 * sum(x == y for x, y in zip(a, b)) / len(a)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--build", type=pathlib.Path, required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--adapter", required=True)
    p.add_argument("--q8-0", help="the same adapter at q8_0")
    p.add_argument("--set", default=cabin.FOLDER / "dev.tsv")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--no-llamacpp", action="store_true")
    p.add_argument("--wrong", help="write what was misunderstood here")
    p.add_argument("--json", help="write every answer here")
    a = p.parse_args()
    rows = cabin.rows(a.set)
    adapters = {"f16": a.adapter} | ({"q8": a.q8_0} if a.q8_0 else {})
    got = {}
    with tempfile.TemporaryDirectory() as d, \
            cabin.Edge(pathlib.Path(d), "edge", a.model, a.build, engine__threads=a.threads,
                       adapter=[f"name={n} path={path}" for n, path in adapters.items()]) as edge:
        for name in adapters:
            got[name] = ours(edge, name, rows)
            show(f"waypost, {os.path.basename(adapters[name])}", rows, got[name])
    ok = True
    if a.q8_0:
        share = same(got["f16"], got["q8"])
        ok &= share >= 98
        print(f"{'ok  ' if share >= 98 else 'FAIL'} the two adapters give the same line for {share:.1f} % (at least 98 %)")
    if not a.no_llamacpp:
        got["llama.cpp"] = theirs(a.model, a.adapter, rows, a.threads)
        show(f"llama.cpp, {os.path.basename(a.adapter)}", rows, got["llama.cpp"])
        share = same(got["f16"], got["llama.cpp"])
        ok &= share >= 98
        print(f"{'ok  ' if share >= 98 else 'FAIL'} the two engines give the same line for {share:.1f} % (at least 98 %)")
    if a.wrong:
        with open(a.wrong, "w", encoding="utf-8") as f:
            f.writelines("\t".join([*r, g]) + "\n" for r, g in zip(rows, got["f16"]) if r[2] != g)
    if a.json:
        pathlib.Path(a.json).write_text(json.dumps(got, ensure_ascii=False))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
