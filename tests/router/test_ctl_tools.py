#!/usr/bin/env python3
"""waypostctl policy test, simulate, diff and tune: what they say, and what they say of bad input."""
import json
import os
import subprocess
import sys
import tempfile

from ctl import CTL, DEMO, TOP, done, ok, run


POLICY = """\
# Two thresholds.
waypost_policy: 1
version: "tools"
classes:
  public.command: [prompt]
targets:
  cloud: { modes: [prompt] }
rules:
  - name: commands
    when:
      data.class: { only: [public.general, public.command] }
      link.state: up
      intent: { not: none }
      confidence: { lt: 0.5 }   # commands
    route: prompt
    target: cloud
  - name: questions
    when:
      data.class: { only: [public.general, public.command] }
      link.state: up
      intent: none
      confidence: { lt: 0.5 } # questions
    route: prompt
    target: cloud
"""


def write(path, text):
    with open(path, "w") as f:
        f.write(text)
    return path


def check_colour(tmp):
    facts = ("data.class=public.general", "link.state@cloud=up", "request.prompt_tokens=9")
    rc, out, err = run("explain", DEMO, *facts, "--color=always")
    ok(rc == 0 and "\033[32myes" in out and "\033[1mprompt" in out, "explain: colour", (rc, out, err))
    rc, out, err = run("explain", DEMO, *facts)
    ok(rc == 0 and "\033" not in out, "explain: no colour into a pipe", out)
    rc, out, err = run("explain", DEMO, *facts, "--color=always", env={"NO_COLOR": "1"})
    ok("\033[32m" in out, "explain: asked for, NO_COLOR does not matter", out)
    rc, out, err = run("explain", DEMO, *facts, "--color=blue")
    ok(rc == 2 and "blue" in err, "explain: no such colour", (rc, err))
    # On a terminal of its own.
    for env, want in (({"TERM": "xterm", "NO_COLOR": ""}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False)):
        main, sub = os.openpty()
        subprocess.run([CTL, "policy", "explain", DEMO, *facts], stdout=sub, env=dict(os.environ, **env),
                       check=True)
        os.close(sub)
        out = os.read(main, 65536).decode()
        os.close(main)
        ok(("\033[32m" in out) == want, f"explain: a terminal with {env}", out)


def check_check(tmp):
    bad = write(os.path.join(tmp, "bad.yaml"), "waypost_policy: 1\nversion: v\nrules:\n"
                "  - { name: \"ü\U0001F600\", rout: local }\n")
    rc, out, err = run("check", bad, "--json")
    doc = json.loads(out)
    found = [d for d in doc["diagnostics"] if "rout" in d["message"] and d["suggestion"] == "route"]
    ok(rc == 1 and len(found) == 1 and found[0]["range"] == {
        "start": {"line": 3, "character": 19}, "end": {"line": 3, "character": 23}}
       and found[0]["file"] == bad and found[0]["column"] == 19 and found[0]["source"] == "waypost",
       "check --json: a range in UTF-16 units and a suggestion", out)


def check_include(tmp):
    write(os.path.join(tmp, "fleet.yaml"), "waypost_policy: 1\nversion: f\nrules:\n"
          "  - { name: workshop, when: { caller: workshop }, route: refuse }\n")
    line = write(os.path.join(tmp, "line.yaml"), POLICY.replace("classes:", "include: [fleet.yaml]\nclasses:"))
    rc, out, err = run("explain", line, "caller=workshop")
    ok(rc == 0 and "=> refuse   (rule workshop)" in out, "a policy with an included file", (rc, out, err))
    rc, out, err = run("tune", line, "--list")
    ok(rc == 0 and out.count("\n") == 2, "tune --list: the file's own numbers", (rc, out, err))
    write(os.path.join(tmp, "fleet.yaml"), "waypost_policy: 1\nversion: f\nrules:\n"
          "  - { name: workshop, rout: refuse }\n")
    rc, out, err = run("check", line, "--json")
    doc = json.loads(out)
    ok(rc == 1 and {d["file"] for d in doc["diagnostics"]} == {"fleet.yaml"}, "check --json: which file", out)
    gone = write(os.path.join(tmp, "gone.yaml"), POLICY.replace("classes:", "include: [nothing.yaml]\nclasses:"))
    rc, out, err = run("check", gone)
    ok(rc == 3 and "nothing.yaml" in err, "an included file that is not there", (rc, err))
    out_of = write(os.path.join(tmp, "out.yaml"), POLICY.replace("classes:", "include: [../x.yaml]\nclasses:"))
    rc, out, err = run("check", out_of)
    ok(rc == 1 and "out.yaml:" in err and "included file" in err, "an include that leads out", (rc, err))


def check_test(tmp):
    rc, out, err = run("test", DEMO)
    ok(rc == 0 and "19 of 19 cases pass" in out and "5 of 5 rules" in out, "test: the cases beside it",
       (rc, out, err))
    ok("navigation-by-states: link.state is not down: never no" in out, "test: what no case has seen", out)
    rc, out, err = run("test", DEMO, "--coverage", "100")
    ok(rc == 1 and "less than was asked for" in out, "test: too little seen", (rc, out))
    cases = write(os.path.join(tmp, "x.cases"),
                  "public-by-prompt\ndata.class=public.general link.state=up request.prompt_tokens=2001\n"
                  "prompt cloud else local\n\ndefault\nno.fact=1\nlocal\n\nhalf a case\n\n"
                  "no-such-rule\n(none)\nlocal\n\ndefault\n(none)\nlocal\n")
    rc, out, err = run("test", DEMO, cases)
    ok(rc == 1 and f"{cases}:1: fails" in out and "1 of 5 cases pass" in out
       and "expected  prompt cloud else local   (rule public-by-prompt)" in out
       and "got       local   (rule default)" in out
       and "public-by-prompt: no: request.prompt_tokens <= 2000; request.prompt_tokens is 2001" in out
       and "no fact 'no.fact'" in out and "this one has 1" in out
       and "the policy has no rule of that name" in out, "test: why cases fail", (rc, out, err))
    rc, out, err = run("test", DEMO, cases, "--json")
    doc = json.loads(out)
    ok(rc == 1 and doc["passed"] == 1 and doc["failed"] == 4 and not doc["ok"]
       and doc["cases"][0]["got"] == "local" and doc["coverage"]["rules"] == 5, "test --json", out)
    write(cases, "# nothing\n")
    for name, args in (("no case file", (write(os.path.join(tmp, "alone.yaml"), POLICY),)),
                       ("an empty one", (DEMO, cases))):
        rc, out, err = run("test", *args)
        ok(rc == 3 and out == "" and err != "", f"test: {name}", (rc, out, err))


def check_diff(tmp):
    a = write(os.path.join(tmp, "a.yaml"), POLICY)
    b = write(os.path.join(tmp, "b.yaml"), POLICY.replace("lt: 0.5 } #", "lt: 0.75 } #"))
    rc, out, err = run("diff", a, a)
    ok(rc == 0 and "no facts are decided differently" in out, "diff: nothing", (rc, out, err))
    rc, out, err = run("diff", a, b)
    ok(rc == 1 and "confidence >= 0.5 and < 0.75" in out and "intent is none" in out, "diff: the region",
       (rc, out, err))
    facts = out.split("facts")[1].split("\n")[0].split()
    made = [json.loads(run("explain", p, *facts, "--json")[1])["decision"]["route"] for p in (a, b)]
    ok(made == ["local", "prompt"], "diff: its facts show it", (facts, made))
    rc, out, err = run("diff", a, b, "--json")
    doc = json.loads(out)
    ok(rc == 1 and doc["complete"] and doc["n_change"] == 1 and doc["changes"][0]["b"]["rule"] == "questions",
       "diff --json", out)
    rc, out, err = run("diff", a, b, "--effort", "1")
    ok(rc == 3 and "not settled" in out, "diff: too little effort is told", (rc, out, err))
    rc, out, err = run("diff", a, write(os.path.join(tmp, "broken.yaml"), "rules: 1\n"))
    ok(rc == 3 and out == "" and "broken.yaml:" in err, "diff: a broken policy", (rc, out, err))


def make_log(tmp, requests):
    path = os.path.join(tmp, "log.jsonl")
    with open(path, "wb") as f:
        subprocess.run([sys.executable, os.path.join(TOP, "tests/router/mklog.py"), "--requests",
                        str(requests)], stdout=f, check=True)
    return path


def check_simulate(tmp):
    log = make_log(tmp, 4000)
    a, b = os.path.join(tmp, "a.yaml"), os.path.join(tmp, "b.yaml")
    rc, out, err = run("simulate", log, a, "--json")
    doc = json.loads(out)
    side = doc["policies"][0]
    ok(rc == 0 and doc["requests"] == 4000 and doc["conversations"] > 500
       and sum(r["requests"] for r in side["routes"]) == 4000 and sum(side["rules"].values()) == 4000
       and side["quality"]["n"] == 4000, "simulate: every request is decided", (rc, out, err))
    rc, out, err = run("simulate", log, a, b, "--json")
    doc = json.loads(out)
    more = [s["routes"][1]["requests"] for s in doc["policies"]]
    ok(rc == 0 and sum(c["requests"] for c in doc["changes"]) == more[1] - more[0] > 0
       and doc["changes"][0]["rule_a"] == "default" and doc["changes"][0]["rule_b"] == "questions",
       "simulate: what changes", out)
    rc, out, err = run("simulate", log, a, b, "--all")
    ok(rc == 0 and out.count("(questions)\n") == doc["changes"][0]["requests"] and "req-000" in out,
       "simulate --all: each one", out[:2000])
    rc, out, err = run("simulate", log, a)
    ok(rc == 0 and "4000 requests" in out and "on the device" in out and "rule questions" in out,
       "simulate: for people", out)

    # Labels stay with a conversation: what was private once keeps the later turns at home.
    def line(session, classes, more=""):
        return ('{"session":"%s","facts":{"data.class":%s,"intent":"none","confidence":0.1,'
                '"request.prompt_tokens":10,"links":{"cloud":{"link.state":"up"}}%s}}\n'
                % (session, json.dumps(classes), more))
    talk = write(os.path.join(tmp, "talk.jsonl"), line("s", ["public.general"]) + line("s", ["cabin"])
                 + line("s", ["public.general"]) + line("t", ["public.general"]) + line("", []) +
                 '{"data.class":["public.general"],"intent":"none","confidence":0.1,'
                 '"links":{"cloud":{"state":"up"}}}\n')
    rc, out, err = run("simulate", talk, a, "--json")
    side = json.loads(out)["policies"][0]
    ok(rc == 0 and side["rules"]["questions"] == 3 and side["rules"]["default"] == 3,
       "simulate: a conversation keeps its labels; a line may be facts alone", out)

    # What the policy itself has done before counts, not what the log's did.
    seen = write(os.path.join(tmp, "seen.yaml"), POLICY.split("rules:")[0] + """\
rules:
  - name: stay-where-it-went
    when:
      data.class: { only: [public.general] }
      history.last_route: prompt
      history.turns: { ge: 1 }
    route: prompt
    target: cloud
  - name: first
    when: { data.class: { only: [public.general] }, confidence: { lt: 0.2 } }
    route: prompt
    target: cloud
""")
    rc, out, err = run("simulate", write(os.path.join(tmp, "h.jsonl"), line("s", ["public.general"], ',"history.turns":0')
                       + line("s", ["public.general"], ',"history.last_route":"local","history.turns":1')),
                       seen, "--json")
    side = json.loads(out)["policies"][0]
    ok(side["rules"]["first"] == 1 and side["rules"]["stay-where-it-went"] == 1, "simulate: history is the policy's",
       out)

    # Budgets: with 25 bytes, two requests of 10 tokens (4 bytes each assumed) leave nothing.
    budget = write(os.path.join(tmp, "budget.yaml"), POLICY.split("rules:")[0] + """\
budgets:
  data: { unit: bytes, limit: 60, per: trip, targets: [cloud] }
rules:
  - name: while-it-lasts
    when: { data.class: { only: [public.general] }, budget.data.left: { gt: 0 } }
    route: prompt
    target: cloud
""")
    rc, out, err = run("simulate", write(os.path.join(tmp, "b.jsonl"), "".join(
        line("s%d" % i, ["public.general"]) for i in range(5))), budget, "--json")
    side = json.loads(out)["policies"][0] if rc == 0 else {}
    ok(rc == 0 and side["rules"]["while-it-lasts"] == 2 and side["budgets"][0]["most"] == 80
       and side["budgets"][0]["nothing_left"] == 3, "simulate: budgets run out", (rc, out, err))

    bad = write(os.path.join(tmp, "bad.jsonl"), "{\n" + line("s", ["public.general"]) + "[1]\n\n"
                + '{"facts":{"request.prompt_tokens":"x"}}\n' + '{"Vehicle.Speed": 3}\n')
    rc, out, err = run("simulate", bad, a)
    ok(rc == 0 and "2 requests" in out and f"{bad}:1:" in err and f"{bad}:3:" in err and f"{bad}:5:" in err
       and "3 lines could not be read" in err, "simulate: bad lines are told and left out", (rc, out, err))
    for name, args in (("no log", (os.path.join(tmp, "none"), a)), ("a directory", (tmp, a)),
                       ("an empty log", (write(os.path.join(tmp, "e"), ""), a)),
                       ("no policy", (log, os.path.join(tmp, "none")))):
        rc, out, err = run("simulate", *args)
        ok(rc == 3 and out == "" and err != "", f"simulate: {name}", (rc, out, err))


def check_tune(tmp):
    log, a = os.path.join(tmp, "log.jsonl"), os.path.join(tmp, "a.yaml")
    out_path, svg = os.path.join(tmp, "tuned.yaml"), os.path.join(tmp, "tuned.svg")
    rc, out, err = run("tune", a, "--list")
    ok(rc == 0 and f"{a}:14:25: commands:confidence:lt is 0.5" in out and out.count("\n") == 2, "tune --list",
       (rc, out, err))
    rc, out, err = run("tune", a, "--log", log, "--goal", "edge_share=0.70", "--param", "commands:confidence",
                       "--param", "22:25", "--out", out_path, "--plot", svg, "--json")
    doc = json.loads(out) if rc == 0 else {}
    ok(rc == 0 and doc["met"] and abs(doc["fitted"]["tuned"]["edge_share"] - 0.70) <= 0.01,
       "tune: the goal is met within 1 %", (rc, out[:3000], err))
    fit = doc["fitted"]
    ok(abs(fit["one_threshold"]["edge_share"] - 0.70) <= 0.015
       and fit["tuned"]["quality"] > fit["one_threshold"]["quality"] + 0.005,
       "tune: better than one threshold for all", fit)
    with open(out_path) as f:
        text = f.read()
    want = POLICY
    for number, mark in zip(doc["numbers"], ("}   # commands", "} # questions")):
        want = want.replace("lt: 0.5 " + mark, "lt: %s %s" % (repr(number["is"]), mark))
    ok(text == want, "tune: only the numbers change", text)
    rc, out, err = run("simulate", log, out_path, "--json")
    share = json.loads(out)["policies"][0]["edge_share"]
    whole = sum(doc[part]["tuned"]["requests"] * doc[part]["tuned"]["edge_share"]
                for part in ("fitted", "held_out")) / 4000
    ok(abs(share - whole) < 1e-9, "tune: what it wrote does what it said", (share, whole))
    with open(svg) as f:
        drawing = f.read()
    ok(drawing.startswith("<svg") and drawing.rstrip().endswith("</svg>") and "goal 70 %" in drawing
       and drawing.count("polyline") == 6, "tune: the drawing", drawing[:300])
    rc, out, err = run("tune", a, "--log", log, "--goal", "edge_share>=0.9,ms<=1", "--param", "commands:confidence")
    ok(rc == 1 and "the goal is not met" in out, "tune: what can't be had", (rc, out, err))
    rc, out, err = run("tune", a, "--log", log, "--goal", "edge_share=0.7", "--param", "commands:confidence",
                       "--out", out_path)
    ok(rc == 3 and "exist" in err, "tune: does not overwrite without --force", (rc, out, err))
    unlabelled = os.path.join(tmp, "talk.jsonl")
    for name, want, args in (
            ("no goal", 2, (a, "--log", log)), ("a goal of nothing", 2, (a, "--log", log, "--goal", "speed=1")),
            ("no number named", 2, (a, "--log", log, "--goal", "edge_share=0.7")),
            ("a number that is not there", 2, (a, "--log", log, "--goal", "edge_share=0.7", "--param", "x:y")),
            ("no labels", 3, (a, "--log", unlabelled, "--goal", "edge_share=0.7", "--param", "commands:confidence")),
            ("no log", 3, (a, "--log", tmp, "--goal", "edge_share=0.7", "--param", "commands:confidence"))):
        rc, out, err = run("tune", *args)
        ok(rc == want and out == "" and err != "", f"tune: {name}", (rc, out, err))


with tempfile.TemporaryDirectory() as folder:
    for check in (check_colour, check_check, check_include, check_test, check_diff, check_simulate, check_tune):
        check(folder)
done()
