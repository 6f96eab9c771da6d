"""The edge's side of the gate, with an uplink that only writes down what it gets (fake_uplink.py):
what is released, under which record, and what becomes of the answer when the far side misbehaves."""
import json
import os
import resource
import signal
import subprocess
import threading
import time

import wp
from test_faults import children
from wp import eq

POLICY = """waypost_policy: 1
version: "gate-1"
targets:
  cloud: { modes: [prompt, hidden] }
rules:
  - name: to-cloud
    when: { data.class: { only: [public.general] } }
    route: prompt
    target: cloud
    max_bytes: 4096
    fallback: local
  - name: must-cloud
    when: { data.class: { only: [public.media] } }
    route: prompt
    target: cloud
    fallback: refuse
"""


def sse(text=None, finish=None, usage=None):
    choice = {"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": finish}
    e = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m",
         "choices": [] if usage else [choice]}
    if usage:
        e["usage"] = usage
    return "data: " + json.dumps(e) + "\n\n"


GOOD = [["head", 200], ["data", sse("Ro") + sse("me")], ["data", sse(".", None) + sse(None, "stop")],
        ["data", sse(usage={"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12})],
        ["data", "data: [DONE]\n\n"], ["close", 0]]


class Gate:
    """An edge with a fake uplink."""

    def __init__(self, f, answer, policy=POLICY, targets=("cloud",), **settings):
        name = settings.get("name", "edge")
        self.log_path = f.path / f"{name}-uplink-got.log"
        self.conf = f.path / f"{name}-fake.json"
        self.set_answer(answer, targets)
        self.edge = wp.Edge(f, policy=policy, uplink=self.conf,
                            **{"uplink__program": wp.SOURCE / "tests/e2e/fake_uplink.py", **settings})
        self.edge.start()
        eq(self.edge.uplink_state(), "ready", "uplink")

    def set_answer(self, answer, targets=("cloud",)):
        on = "data" if answer and answer[0][0] == "first" else "end"
        self.conf.write_text(json.dumps({"log": str(self.log_path), "targets": list(targets),
                                         "answer": answer[on == "data":], "on": on}))

    def got(self, kind=None):
        # The uplink may be writing its next line: only those that have ended count.
        text = self.log_path.read_text()
        lines = [json.loads(x) for x in text[:text.rfind("\n") + 1].splitlines()]
        return [x for x in lines if kind is None or x["type"] == kind]


def local_answer(f, **fields):
    """What the same model says without any uplink."""
    e = wp.Edge(f, name="local").start()
    out = e.chat("What is the capital of Italy?", **fields)[2]["choices"][0]["message"]["content"]
    e.stop()
    return out


def ask(g, data_class="public.general", **fields):
    return g.edge.chat("What is the capital of Italy?", data_class, **fields)


def test_release_record_and_body():
    with wp.Folder() as f:
        g = Gate(f, GOOD)
        s, h, b = ask(g, max_tokens=7, metadata={"deadline_ms": "9000", "trip": "home"}, user="me")
        eq((s, b["choices"][0]["message"]["content"]), (200, "Rome."), "answer")
        eq((h["x-waypost-route"], h["x-waypost-rule"], h["x-waypost-tier"]),
           ("prompt", "to-cloud", "cloud"), "headers")
        eq(b["usage"], {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}, "usage")
        types = [x["type"] for x in g.got()]
        eq(types, ["start", "release", "data", "end"], "one request")
        r = g.got("release")[0]
        eq((r["rule"], r["target"], r["classes"], r["mode"], r["max_bytes"]),
           ("to-cloud", "cloud", ["public.general"], 1, 4096), "record")
        assert 8000 < r["deadline_ms"] <= 9000, r["deadline_ms"]
        eq(r["policy_hash"], wp.sha256(POLICY), "policy hash")
        assert h["x-waypost-policy"] == "gate-1 sha256:" + r["policy_hash"][:12]
        eq(g.edge.decisions()[-1]["decision_id"], r["decision_id"], "joins the decision log")
        body = "".join(x["data"] for x in g.got("data"))
        eq(b["waypost"]["bytes_out"], len(body), "bytes that left")
        o = json.loads(body)
        eq(o["messages"], [{"role": "user", "content": "What is the capital of Italy?"}], "messages")
        eq((o["stream"], o["max_tokens"] if "max_tokens" in o else o["max_completion_tokens"]),
           (True, 7), "request")
        assert "metadata" not in o and "user" not in o and "trip" not in body, body


def test_the_target_s_times_are_predicted():
    slow = [["link", ["cloud", 1, 20000]], ["head", 200], ["wait", 200], ["data", sse("Ro")],
            ["wait", 300], ["data", sse("me") + sse(None, "stop")],
            ["data", sse(usage={"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13})],
            ["data", "data: [DONE]\n\n"], ["close", 0]]
    policy = POLICY.replace("rules:\n", "rules:\n  - name: too-slow\n    when: { link.total_ms: { gt: 900 } }\n"
                            "    route: refuse\n    target: cloud\n")
    with wp.Folder() as f:
        g = Gate(f, slow, policy=policy)

        def times(n):
            ask(g, max_tokens=n)
            d = g.edge.decisions()[-1]
            at = d["facts"]["links"]["cloud"]
            return d["decision"]["rule"], at.get("link.first_token_ms"), at.get("link.total_ms")

        for i in range(4):  # the first had no round trip yet, and does not count
            eq(times(4), ("to-cloud", None, None), f"answer {i}")
        rule, first, total = times(4)
        assert rule == "to-cloud" and 200 <= first < 600 and 280 <= total - first < 700, (first, total)
        eq(times(60)[0], "too-slow", "a long answer would take too long")


def test_joules_are_counted():
    slow = [["head", 200], ["wait", 500], ["data", sse("Rome") + sse(None, "stop")], ["data", "data: [DONE]\n\n"],
            ["close", 0]]
    policy = POLICY.replace("rules:\n", "budgets:\n  heat: { unit: joules, limit: 1000, per: day }\n"
                            "  sent: { unit: joules, limit: 1000, per: day, targets: [cloud] }\nrules:\n"
                            "  - name: too-hot\n    when: { budget.heat.left: { lt: 100 }, budget.sent.left: { lt: 100 } }\n"
                            "    route: refuse\n")
    with wp.Folder() as f:
        counter = f.file("energy_uj", "5000000\n")
        f.file("max_energy_range_uj", "262143328850\n")

        def put(joules):
            with open(counter, "r+") as c:  # the same file: the daemon has it open
                c.write(f"{joules * 1000000}\n")

        g = Gate(f, slow, policy=policy, energy__file=counter, budget__file=f.path / "used.json")

        def last():
            d = g.edge.decisions()[-1]
            return (d["decision"]["rule"], d["facts"].get("budget.heat.left"), d["facts"].get("budget.sent.left"),
                    d["outcome"].get("joules"))

        def two(joules):
            """Two requests at once, while so much is used."""
            t = [threading.Thread(target=ask, args=(g,)) for _ in range(2)]
            [x.start() for x in t]
            wp.wait_for(lambda: len(g.got("end")) == 1, "one is on its way")
            time.sleep(0.2)  # the other, too, but the fake uplink looks at one after the other
            put(joules)
            [x.join() for x in t]

        two(505)
        d = g.edge.decisions()
        eq(sum(x["outcome"]["joules"] for x in d), 500, "shared out, nothing of it twice")
        eq([x["outcome"]["joules"] for x in d], [250, 250], "in equal parts")
        eq(ask(g, "cabin", max_tokens=1)[0], 200, "stays here")
        eq(last()[:3], ("default", 500, 500), "what is left")
        t = threading.Thread(target=ask, args=(g,))
        t.start()
        wp.wait_for(lambda: len(g.got("end")) == 3, "on its way")
        put(1000)
        ask(g, "cabin", max_tokens=1)
        eq(last()[1], 5, "what runs counts already")
        t.join()
        eq(ask(g)[0], 403, "nothing is left for it")
        eq(last()[0], "too-hot", "rule")
        g.edge.stop()
        g.edge.start()
        eq(ask(g)[0], 403, "over a restart")
        with open(counter, "r+") as c:
            c.truncate(0)
        ask(g, "cabin", max_tokens=1)
        eq(last()[1:3], (None, None), "the counter is gone: cannot tell")
        put(1001)
        ask(g, "cabin", max_tokens=1)
        eq(last()[1:3], (None, None), "a request ran meanwhile: nobody knows what it took")
        g.edge.stop()
        unset = wp.Edge(f, name="unset", policy=policy).start()
        unset.chat(max_tokens=1)
        d = unset.decisions()[-1]
        assert "joules" not in d["outcome"] and "budget.heat.left" not in d["facts"], d
        unset.stop()


def test_start_is_clean():
    with wp.Folder() as f:
        g = Gate(f, GOOD)
        s = g.got("start")[0]
        eq(s["argv"], ["--ipc-fd", "3", "--config", str(g.conf)], "arguments")
        assert set(s["env"]) <= {"PATH", "LANG", "LC_CTYPE", "ASAN_OPTIONS", "UBSAN_OPTIONS",
                                 "LSAN_OPTIONS", "TSAN_OPTIONS"}, s["env"]
        # 4 and 5 are the script's log and the folder that it lists.
        assert set(s["fds"]) <= {0, 1, 2, 3, 4, 5}, s["fds"]


def test_stream_comes_as_it_is_made():
    with wp.Folder() as f:
        g = Gate(f, GOOD)
        st = g.edge.stream("What?", "public.general", stream_options={"include_usage": True}).all()
        eq((st.text, st.finish, st.n_final, st.done), ("Rome.", "stop", 1, True), "stream")
        eq((st.final["route"], st.final["tier"]), ("prompt", "cloud"), "final chunk")
        eq(st.usage["completion_tokens"], 3, "usage")


def test_private_requests_never_reach_the_gate():
    with wp.Folder() as f:
        g = Gate(f, GOOD)
        for s, h, b in (ask(g, None), ask(g, "public.navigation"),
                        ask(g, metadata={"route": "local"}),
                        g.edge.chat("Call +49 170 1234567", "public.general"),
                        ask(g, messages=[{"role": "user", "content": "Call 0170"},
                                         {"role": "assistant", "content": "And then?"},
                                         {"role": "user", "content": "1234567"}]),
                        ask(g, stop=["+49 170 1234567"]), ask(g, model="ann@example.com")):
            eq((s, h["x-waypost-route"]), (200, "local"), "stays")
        s, _, b = g.edge.chat("hi", "public.general", key="not-the-key")
        eq((s, b["error"]["code"]), (403, "data_class_not_permitted"), "no label by force")
        eq([x["type"] for x in g.got()], ["start"], "the uplink heard nothing")
        eq(g.edge.metric("waypost_released_bytes_total"), 0, "nothing released")


def test_failures_before_the_first_token_fall_back():
    cases = {"closed": [["close", -13]], "status": [["head", 429], ["close", 0]],
             "whole but empty": [["head", 200], ["close", 0]],
             "not events": [["head", 200], ["data", "data: {\"choices\": 7}\n\n"], ["close", 0]],
             "error event": [["head", 200], ["data", "data: {\"error\": {\"message\": \"no\"}}\n\n"],
                             ["close", 0]],
             "garbage": [["garbage", 0]], "dead": [["die", 0]]}
    with wp.Folder() as f:
        want = local_answer(f)
        for name, answer in cases.items():
            g = Gate(f, answer, name="edge-" + name.replace(" ", "-"))
            s, h, b = ask(g)
            eq((s, h["x-waypost-route"], h["x-waypost-tier"]), (200, "local", "edge"), name)
            eq(b["choices"][0]["message"]["content"], want, name)
            assert b["waypost"]["because"].startswith("fell back"), b["waypost"]
            s, h, b = ask(g, "public.media")
            if name in ("garbage", "dead"):
                assert s == 503, s  # or the uplink was not back yet: 503 as well
            eq((s, b["error"]["code"]), (503, "escalation_failed"), name)
            eq((h["x-waypost-route"], h["x-waypost-rule"], "retry-after" in h),
               ("refuse", "must-cloud", True), name)
            assert "must-cloud" in b["error"]["message"]
            eq(g.edge.metric("waypost_fall_backs_total"), 2, name)
            g.edge.stop()


def test_failure_in_the_middle_goes_on_without_a_gap():
    broken = [["head", 200], ["data", sse("The capital ") + sse("of Italy is")], ["close", -13]]
    with wp.Folder() as f:
        g = Gate(f, broken)
        st = g.edge.stream("What is the capital of Italy?", "public.general", max_tokens=10).all()
        assert st.text.startswith("The capital of Italy is"), st.text
        eq((st.n_final, st.done, st.error), (1, True, None), "one end")
        eq((st.headers["x-waypost-tier"], st.final["tier"], st.final["route"]),
           ("cloud", "both", "prompt"), "tiers")
        assert len(st.text) > len("The capital of Italy is") or st.finish == "stop", st.text
        st = g.edge.stream("What is the capital of Italy?", "public.media", max_tokens=10).all()
        eq((st.text, st.n_final, st.error["code"]), ("The capital of Italy is", 0, "escalation_failed"),
           "fallback refuse: an error event ends it")


def test_bytes_out_is_what_left():
    with wp.Folder() as f:
        # A whole answer, no link, a link that was cut, an uplink that claims too much, one that died.
        cases = {"good": (GOOD, lambda n: n), "no link": ([["sent", 0], ["close", -13]], lambda n: 0),
                 "cut": ([["sent", 7], ["close", -13]], lambda n: 7),
                 "liar": ([["sent", 99999], ["close", -13]], lambda n: n),
                 "dead": ([["die", 0]], lambda n: n)}
        for name, (answer, want) in cases.items():
            g = Gate(f, answer, name="edge-" + name.replace(" ", "-"))
            b = ask(g)[2]
            n = sum(len(x["data"]) for x in g.got("data"))
            eq(b["waypost"]["bytes_out"], want(n), name)
            o = g.edge.decisions()[-1]["outcome"]
            eq((o["released_bytes"], o["bytes_out"]), (n, want(n)), name)
            eq(g.edge.metric("waypost_released_bytes_total"), n, name)
            wp.wait_for(lambda: g.edge.metric("waypost_out_bytes_total") == want(n), name)
            g.edge.stop()


def test_bytes_out_is_corrected_when_the_edge_has_left():
    with wp.Folder() as f:
        g = Gate(f, [["head", 429], ["sent", 3], ["close", 0]], model=f.slow())
        b = g.edge.chat(wp.long_prompt(g.edge), "public.general", max_tokens=60)[2]
        eq((b["waypost"]["route"], b["waypost"]["bytes_out"]), ("local", 3), "said while it answers")


def test_a_whole_answer_is_one_whatever_comes_after_it():
    end = sse("Rome.") + sse(None, "stop")
    with wp.Folder() as f:
        for i, after in enumerate(([["close", -13]], [["data", "garbage\n\ndata: 7\n\n"], ["close", 0]],
                                   [["data", end + "data: [DONE]\n\n"], ["close", 0]], [["die", 0]])):
            g = Gate(f, [["head", 200], ["data", end], *after], name=f"edge-{i}")
            s, h, b = ask(g, "public.media")
            eq((s, h["x-waypost-tier"], b["choices"][0]["message"]["content"][:5]), (200, "cloud", "Rome."),
               f"{after}")
            g.edge.stop()


def test_uplink_comes_back_after_its_death():
    with wp.Folder() as f:
        g = Gate(f, [["die", 0]])
        eq(ask(g)[1]["x-waypost-route"], "local", "dies")
        g.set_answer(GOOD)
        g.edge.wait_uplink()
        wp.wait_for(lambda: ask(g)[1]["x-waypost-route"] == "prompt", "the next one serves")
        assert len(g.got("start")) >= 2


def test_uplink_comes_back_when_descriptors_had_run_out():
    with wp.Folder() as f:
        g = Gate(f, GOOD)
        pid = g.edge.proc.pid
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limits[1]))
        os.kill(children(children(pid)[0])[0], signal.SIGKILL)
        wp.wait_for(lambda: len(g.got("start")) >= 2, "a new one, whose socket the edge cannot take")
        time.sleep(0.2)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        g.edge.wait_uplink()
        eq(ask(g)[1]["x-waypost-route"], "prompt", "it serves")


def test_uplink_that_cannot_start_is_retried_slowly():
    with wp.Folder() as f:
        bad = f.file("dies.sh", "#!/bin/sh\necho x >> \"$4\".n\nexit 1\n")
        bad.chmod(0o700)
        conf = f.file("up.conf", "")
        e = wp.Edge(f, policy=POLICY, uplink=conf, uplink__program=bad)
        e.start()  # ready without it, a little later
        eq(e.uplink_state(), "down", "uplink")
        eq(e.chat("x", "public.general")[1]["x-waypost-route"], "local", "route")
        starts = len((f.path / "up.conf.n").read_text().splitlines())
        assert 3 <= starts <= 8, starts  # 0.1 + 0.2 + 0.4 + 0.8 + 1.6 s …


def test_a_silent_cloud_is_given_up():
    patience = {"uplink__patience_ms": 200}
    hidden = wp.split_policy({"public.navigation": ("hidden", 2, "cloud", "f32", "local")})
    with wp.Folder() as f:
        want = local_answer(f)
        for name, policy, cls, answer in (
                ("prompt", POLICY, "public.general", [["wait_cancel", 0]]),
                ("head-only", POLICY, "public.general", [["head", 200], ["wait_cancel", 0]]),
                ("hidden", hidden, "public.navigation", [["first", 0], ["wait_cancel", 0]])):
            g = Gate(f, answer, policy, name=name, **patience)
            s, h, b = ask(g, cls)
            eq((s, h["x-waypost-route"], h["x-waypost-tier"]), (200, "local", "edge"), name)
            eq(b["choices"][0]["message"]["content"], want, name)
            wp.wait_for(lambda: g.got("cancel"), name, 5)
            g.edge.stop()
        # After the first words: the answer goes on, once.
        g = Gate(f, [["head", 200], ["data", sse("Ro")], ["wait_cancel", 0]], name="stalls", **patience)
        s, h, b = ask(g)
        text = b["choices"][0]["message"]["content"]
        eq((s, b["waypost"]["tier"], text.startswith("Ro")),
           (200, "both", True), "goes on")
        # Where nothing may stand in, it is an error that says so.
        s, _, b = ask(g, "public.media")
        eq(s, 503, "no fallback")
        assert "deadline" in b["error"]["message"], b
        g.edge.stop()


def test_client_gone_cancels():
    with wp.Folder() as f:
        g = Gate(f, [["head", 200], ["data", sse("He")], ["wait_cancel", 0]])
        st = g.edge.stream("What?", "public.general")
        next(iter(st.events()))
        start = time.monotonic()
        st.close()
        wp.wait_for(lambda: g.got("cancel"), "cancel", 5)
        assert time.monotonic() - start < 2
        eq(g.edge.decisions()[-1]["outcome"]["result"], "gone", "result")


def test_a_full_queue_takes_cancels():
    with wp.Folder() as f:
        g = Gate(f, GOOD, uplink__queue_bytes=1 << 20)
        uplink = children(children(g.edge.proc.pid)[0])[0]
        os.kill(uplink, signal.SIGSTOP)
        waiting = [g.edge.stream("What?", "public.general") for _ in range(40)]
        wp.wait_for(lambda: g.edge.metric("waypost_requests_active") == 40, "all are open")
        for stop in (["x" * 900] * 4, ["x"]):  # until not even the smallest one fits
            n = g.edge.metric("waypost_fall_backs_total")
            while g.edge.metric("waypost_fall_backs_total") == n:
                g.edge.chat("What?", "public.general", stop=stop, metadata={"deadline_ms": "3"})
        for st in waiting:
            st.close()
        wp.wait_for(lambda: g.edge.metric("waypost_requests_active") == 0, "all are gone")
        os.kill(uplink, signal.SIGCONT)
        wp.wait_for(lambda: {x["id"] for x in g.got("cancel")} >= {x["id"] for x in g.got("release")} >=
                    set(range(1, 41)), "each of them is canceled")


def test_max_bytes_of_the_rule_holds():
    with wp.Folder() as f:
        g = Gate(f, GOOD, policy=POLICY.replace("4096", "512"))
        s, h, b = g.edge.chat("word " * 80, "public.general", max_tokens=4)
        eq((s, h["x-waypost-route"]), (200, "local"), "falls back")
        eq(len(g.got("data")), 0, "not a byte of it")
        eq(len(g.got("cancel")), 1, "and the release is closed")
        assert "max_bytes" in g.edge.log()


def test_text_completions_do_not_leave_as_prompts():
    with wp.Folder() as f:
        g = Gate(f, GOOD)
        for cls, want in (("public.general", (200, "local")), ("public.media", (503, "refuse"))):
            s, h, b = g.edge.post("/v1/completions", {"prompt": "Once", "max_tokens": 4,
                                                      "metadata": {"data_class": cls}})
            eq((s, h["x-waypost-route"]), want, f"{b}")
        eq([x["type"] for x in g.got()], ["start"], "the uplink heard nothing")


def test_target_that_the_uplink_does_not_have():
    with wp.Folder() as f:
        g = Gate(f, GOOD, targets=("other",))
        eq(ask(g)[1]["x-waypost-route"], "local", "falls back")
        eq(g.got("release"), [], "no release")


HIDDEN = """waypost_policy: 1
version: "h"
targets:
  cloud: { modes: [hidden] }
rules:
  - name: states
    when: { data.class: { only: [public.general] } }
    route: hidden
    target: cloud
    layer: %d
    tail: %s
    dtype: f32
    fallback: local
"""


def test_hidden_without_a_cloud_is_the_local_answer():
    bad_frame = "\x05\x00\x00\x00\x00hello"
    ends = {"closed": [["close", -13]], "refused": [["head", 503], ["close", 0]],
            "garbage": [["head", 200], ["data", bad_frame], ["close", 0]],
            "early end": [["head", 200], ["close", 0]]}
    with wp.Folder() as f:
        want = local_answer(f, max_tokens=24)
        for name, answer in ends.items():
            for k, tail in ((1, "cloud"), (2, "edge"), (3, "cloud")):
                g = Gate(f, [["first", 0]] + answer, policy=HIDDEN % (k, tail),
                         name=f"edge-{name.replace(' ', '-')}-{k}")
                s, h, b = ask(g, max_tokens=24)
                eq((s, h["x-waypost-route"], h["x-waypost-tier"]), (200, "local", "edge"), name)
                eq(b["choices"][0]["message"]["content"], want, f"{name} k={k}")
                r = g.got("release")[-1]
                eq((r["mode"], r["rule"]), (2, "states"), "record")
                text = "".join(x["data"] for x in g.got("data"))
                assert "capital" not in text
                # Only HELLO and OPEN: rows wait for the other side's identity.
                assert len(text) < 1000, len(text)
                g.edge.stop()


CONFIDENCE = """waypost_policy: 1
version: "c"
targets:
  cloud: { modes: [prompt] }
rules:
  - name: unsure
    when: { data.class: { only: [public.general] }, model.confidence: { %s } }
    route: prompt
    target: cloud
"""


def test_confidence_decides_after_the_first_tokens():
    with wp.Folder() as f:
        want = local_answer(f)
        for cond, route, text in (("le: 1.0", "prompt", "Rome."), ("lt: 0.0000001", "local", want)):
            g = Gate(f, GOOD, policy=CONFIDENCE % cond, name="edge-" + route)
            for stream in (False, True):
                if stream:
                    st = g.edge.stream("What is the capital of Italy?", "public.general").all()
                    got, r = st.text, st.headers["x-waypost-route"]
                else:
                    _, h, b = ask(g)
                    got, r = b["choices"][0]["message"]["content"], h["x-waypost-route"]
                eq((r, got), (route, text), f"{cond} stream={stream}")
            facts = g.edge.decisions()[-1]["facts"]
            if route == "prompt":
                assert 0 < facts["model.confidence"] <= 1, facts
            eq(g.edge.chat("x")[1]["x-waypost-route"], "local", "cabin data is not even asked about")
            assert "model.confidence" not in g.edge.decisions()[-1]["facts"]
            g.edge.stop()


def confidence_file(f, name, p, model=None, task="signal min_prob 1 0 1"):
    """Every answer is right with this probability."""
    info = json.loads(subprocess.run([wp.program("waypostctl"), "model", "info", str(f.tiny()), "--hash", "--json"],
                                     stdout=subprocess.PIPE, check=True).stdout)
    return f.file(name, f"waypost-confidence 1\nmodel {model or info['identity']['base_model_hash']}\nadapter none\n"
                        f"task answer\n{task}\nknot 0 {p}\nend\n")


def test_a_fitted_file_tells_the_confidence():
    with wp.Folder() as f:
        for p, route in ((0.9, "prompt"), (0.2, "local")):
            g = Gate(f, GOOD, policy=CONFIDENCE % "gt: 0.5", name="edge-" + route,
                     router__confidence_file=confidence_file(f, "conf" + route, p))
            _, h, _ = ask(g)
            eq(h["x-waypost-route"], route, p)
            if route == "prompt":
                eq(round(g.edge.decisions()[-1]["facts"]["model.confidence"], 6), p, "the file's number")
            g.edge.stop()
        for name, text, word in (("other", confidence_file(f, "other", 0.5, model="ab" * 16), "ab" * 16),
                                 ("states", confidence_file(f, "st", 0.5, task="state mean 1 64\n" + "1 " * 64),
                                  "asks for states")):
            r = subprocess.run(wp.Edge(f, name=name, router__confidence_file=text).args, capture_output=True,
                               text=True, check=False, timeout=60)
            assert r.returncode != 0 and word in r.stderr, r


if __name__ == "__main__":
    wp.run(globals())
