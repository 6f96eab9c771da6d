#!/usr/bin/env python3
"""waypostctl policy, as a person and as a script use it."""
import json
import os
import tempfile

from ctl import DEMO, TOP, done, ok, run


with tempfile.TemporaryDirectory() as tmp:
    bad = os.path.join(tmp, "bad.yaml")
    with open(bad, "w") as f:
        f.write("waypost_policy: 1\nversion: v\nrules:\n  - name: r\n    rout: local\n")

    rc, out, err = run("check", DEMO)
    ok(rc == 0 and "demo-1" in out and err == "", "check: a good policy", (rc, out, err))
    rc, out, err = run("check", bad)
    ok(rc == 1 and f"{bad}:5:5: error: unknown key 'rout'" in err and "route" in err and out == "",
       "check: mistakes with file:line:column", (rc, out, err))
    rc, out, err = run("check", bad, "--json")
    doc = json.loads(out)
    ok(rc == 1 and doc["ok"] is False and doc["diagnostics"][1]["line"] == 5
       and doc["diagnostics"][1]["code"] == "unknown-key"
       and doc["diagnostics"][1]["column"] == 5 and doc["diagnostics"][1]["severity"] == "error",
       "check --json: mistakes", (rc, out, err))
    rc, out, err = run("check", DEMO, "--json")
    doc = json.loads(out)
    ok(rc == 0 and doc["ok"] and doc["rules"] == 5 and doc["targets"] == ["cloud"]
       and len(doc["sha256"]) == 64, "check --json: a good policy", (rc, out, err))
    with open(DEMO, "rb") as f:
        rc, out, err = run("check", "-", stdin=f.read())
    ok(rc == 0, "check: standard input", (rc, out, err))
    for name, args, want in (
            ("a file that is not there", ("check", os.path.join(tmp, "none")), 3),
            ("a directory", ("check", tmp), 3),
            ("no file", ("check",), 2),
            ("two files", ("check", DEMO, DEMO), 2),
            ("no such command", ("chek", DEMO), 2),
            ("an unknown option", ("explain", DEMO, "--fact", "x"), 2),
            ("an unknown fact", ("explain", DEMO, "link.stat=up"), 3),
            ("a fact of the wrong type", ("explain", DEMO, "request.prompt_tokens=many"), 3),
            ("another wrong type", ("explain", DEMO, "request.prompt_tokens=1.5"), 3),
            ("an empty class", ("explain", DEMO, "data.class=a,,b"), 3),
            ("a broken policy", ("explain", bad), 1)):
        rc, out, err = run(*args)
        ok(rc == want and out == "" and err != "", f"exit status: {name}", (rc, out, err))

    facts = {"data.class": ["public.navigation"], "request.stream": True, "caller": "na\"v\n",
             "links": {"cloud": {"state": "up", "rtt_ms": 12}}}
    path = os.path.join(tmp, "facts.json")
    with open(path, "w") as f:
        json.dump(facts, f)
    rc, out, err = run("explain", DEMO, "--facts", path, "--json")
    doc = json.loads(out)
    ok(rc == 0 and doc["decision"] == {
        "route": "hidden", "rule": "navigation-by-states", "rule_index": 3,
        "because": doc["decision"]["because"], "fallback": "local", "target": "cloud",
        "max_bytes": 16777216, "layer": 10, "tail": "cloud", "dtype": "f16"},
       "explain --json: the decision", (rc, out, err))
    ok([r["result"] for r in doc["rules"]] == ["no", "cannot tell", "no", "yes", "no"]
       and [r["reached"] for r in doc["rules"]] == [True, True, True, True, False],
       "explain --json: each rule", out)
    rc, out, err = run("explain", DEMO, "--facts", "-", stdin=json.dumps(facts).encode())
    ok(rc == 0 and "=> hidden to cloud, layer 10, tail cloud, f16" in out
       and "(rule navigation-by-states)" in out, "explain: facts from standard input", (rc, out, err))
    rc, out, err = run("explain", DEMO)
    ok(rc == 0 and "[cabin] (no label)" in out and "=> local   (rule default)" in out,
       "explain: no facts stay local", (rc, out, err))
    for name, text in (("duplicate names", '{"caller": "a", "caller": "b"}'), ("a list", "[]"),
                       ("no JSON", "{"), ("a link of another shape", '{"links": {"cloud": "up"}}'),
                       ("an unknown link fact", '{"links": {"cloud": {"sate": "up"}}}')):
        rc, out, err = run("explain", DEMO, "--facts", "-", stdin=text.encode())
        ok(rc == 3 and out == "" and err != "", f"facts: {name} refused", (rc, out, err))

    rc, out, err = run("facts")
    ok(rc == 0 and "| `data.class` | classes |" in out, "facts", (rc, out, err))
    with open(os.path.join(TOP, "docs", "policy-facts.md")) as f:
        ok(out in f.read(), "docs/policy-facts.md holds the table of facts as it is",
           "replace it by the output of: waypostctl policy facts")
    rc, out, err = run("codes")
    with open(os.path.join(TOP, "docs", "policy-codes.md")) as f:
        ok(rc == 0 and "| `dead-rule` | error |" in out and out in f.read(),
           "docs/policy-codes.md holds the table of codes as it is",
           "replace it by the output of: waypostctl policy codes")
    for name in sorted(os.listdir(os.path.join(TOP, "policies"))):
        if not name.endswith(".yaml"):
            continue
        path = os.path.join(TOP, "policies", name)
        rc, out, err = run("reach", path)
        with open(path[:-5] + ".reach.md") as f:
            ok(rc == 0 and f.read().split("\n", 1)[1] == out, f"policies/{name}: its table of reach",
               "replace it by the output of: waypostctl policy reach policies/" + name)
    rc, out, err = run("reach", DEMO, "--json")
    rows = {(c["class"], c["below"]): c for c in json.loads(out)["classes"]}
    ok(rows["public.media", False]["reach"] == [{"mode": "hidden", "target": "cloud"}]
       and rows["public.media", True]["reach"] == [] and rows["cabin", False]["permits"] == [],
       "reach --json", out)
    rc, out, err = run("reach", bad)
    ok(rc == 1 and out == "" and "error" in err, "reach: a broken policy has none", (rc, out, err))
    rc, out, err = run("--help")
    ok(rc == 0 and "usage: waypostctl policy check" in out, "help", (rc, out, err))

done()
