"""The edge alone: its API, limits, labels, sessions, and what a client sees of each."""
import json
import os
import signal
import socket
import threading
import time

import wp
from wp import eq


def test_start_and_plain_pages():
    with wp.Folder() as f:
        e = wp.Edge(f).start()
        s, _, b = e.get("/healthz")
        eq((s, b), (200, b"ok\n"), "healthz")
        b = json.loads(e.get("/readyz")[2])
        eq((b["ready"], b["uplink"], b["policy"]["state"]), (True, "none", "none"), "readyz")
        eq([m["id"] for m in json.loads(e.get("/v1/models")[2])["data"]], ["tiny"], "models")
        s, h, b = e.get("/nowhere")
        eq((s, json.loads(b)["error"]["code"]), (404, "not_found"), "404")
        s, h, b = e.get("/v1/chat/completions")
        eq((s, h["allow"], json.loads(b)["error"]["code"]), (405, "POST", "method_not_allowed"), "405")
        text = e.get("/metrics")[2].decode()
        assert 'waypost_requests_total{route="local",result="ok"} 0' in text, text
        assert all(line.startswith("waypost_") or line.startswith("# ") for line in text.splitlines())
        eq(e.stop(), 0, "exit status after SIGTERM")


def test_answer_and_stream_agree():
    with wp.Folder() as f:
        e = wp.Edge(f).start()
        s, h, b = e.chat("What is the capital of Italy?", headers={"x-request-id": "my-id.1"})
        eq(s, 200, "status")
        eq(h["x-request-id"], "my-id.1", "the client's id")
        eq((h["x-waypost-route"], h["x-waypost-rule"], h["x-waypost-tier"]),
           ("local", "default", "edge"), "headers")
        eq(h["x-waypost-policy"], "none sha256:000000000000", "policy header")
        eq(b["waypost"]["route"], "local", "waypost object")
        eq(b["waypost"]["bytes_out"], 0, "bytes out")
        eq(b["usage"]["completion_tokens"], 16, "usage")
        st = e.stream("What is the capital of Italy?", stream_options={"include_usage": True}).all()
        eq(st.text, b["choices"][0]["message"]["content"], "the same text")
        eq((st.finish, st.n_final, st.done), (b["choices"][0]["finish_reason"], 1, True), "one end")
        eq(st.usage["total_tokens"], b["usage"]["total_tokens"], "usage")
        eq(st.final["tier"], "edge", "tier in the final chunk")
        s, _, c = e.chat("What is the capital of Italy?", unix=True)
        eq(c["choices"], b["choices"], "the same over the unix socket")


def test_completions_stop_seed_and_logprobs():
    with wp.Folder() as f:
        e = wp.Edge(f).start()
        s, _, b = e.post("/v1/completions", {"prompt": "the user and", "max_tokens": 12,
                                             "temperature": 0})
        eq((s, b["object"]), (200, "text_completion"), "completions")
        full = b["choices"][0]["text"]
        cut = full[4:7]
        s, _, b = e.post("/v1/completions", {"prompt": "the user and", "max_tokens": 12,
                                             "temperature": 0, "stop": [cut]})
        eq((b["choices"][0]["text"], b["choices"][0]["finish_reason"]),
           (full[:full.index(cut)], "stop"), "cut before the stop string")
        a = [e.chat("x", temperature=1.5, seed=7)[2]["choices"][0]["message"] for _ in range(2)]
        eq(a[0], a[1], "the same seed")
        _, _, b = e.chat("x", logprobs=True, top_logprobs=3, max_tokens=5)
        lp = b["choices"][0]["logprobs"]["content"]
        eq([len(t["top_logprobs"]) for t in lp], [3] * b["usage"]["completion_tokens"], "top")
        assert all(t["logprob"] == t["top_logprobs"][0]["logprob"] for t in lp), "greedy takes the top"


def test_errors_are_openai_shaped():
    with wp.Folder() as f:
        e = wp.Edge(f, http__max_body_bytes=20000).start()

        def err(s, h, b):
            return s, b["error"]["type"], b["error"]["param"], b["error"]["code"]

        eq(err(*e.post("/v1/chat/completions", {"messages": []}))[:3],
           (400, "invalid_request_error", "messages"), "no messages")
        eq(err(*e.chat(n=2))[:3], (400, "invalid_request_error", "n"), "n > 1")
        eq(e.request("POST", "/v1/chat/completions", "{\"messages\":", {
            "Content-Type": "application/json"})[0], 400, "not JSON")
        eq(e.request("POST", "/v1/chat/completions", "{}", {"Content-Type": "text/plain"})[0], 415,
           "a form of a web page")
        eq(err(*e.chat("word " * 2000)), (400, "invalid_request_error", None,
                                          "context_length_exceeded"), "too long")
        eq(e.chat("x" * 30000)[0], 413, "body")
        eq(err(*e.chat(metadata={"route": "hidden"})),
           (400, "invalid_request_error", "metadata.route", "route_hint"), "a widening hint")
        eq(e.chat(metadata={"route": "local"})[0], 200, "a tightening hint")
        eq(e.metric("waypost_requests_active"), 0, "all are over")


def test_a_text_that_cannot_fit_costs_nothing():
    with wp.Folder() as f:
        e = wp.Edge(f).start()
        s, _, b = e.chat("x" * 4000000)
        eq((s, b["error"]["code"]), (400, "context_length_exceeded"), "refused")
        eq(e.decisions()[-1]["facts"]["data.class"], [], "before the detectors have looked at it")


def test_labels_by_caller():
    with wp.Folder() as f:
        e = wp.Edge(f, caller=[f"name=navi listen=unix uid={os.getuid()} classes=public.navigation"])
        e.start()
        s, _, b = e.chat(data_class="public.general", key="wrong")
        eq((s, b["error"]["code"]), (403, "data_class_not_permitted"), "anonymous")
        assert "anonymous" in b["error"]["message"] and "caller" in b["error"]["message"]
        assert "public.general" not in b["error"]["message"], "a label may be anything: not repeated"
        eq(e.chat(data_class="public.general")[0], 200, "by key")
        eq(e.chat(data_class="public.navigation", key=None, unix=True)[0], 200, "by uid")
        eq(e.chat(data_class="public.general", key=None, unix=True)[0], 403, "not this one's class")
        eq(e.chat(data_class="cabin", key=None)[0], 200, "anybody may say cabin")
        eq(e.chat(data_class="No Class!", key=None)[0], 400, "not a class")
        e.chat("My number is +49 170 1234567", data_class="public.general")
        d = e.decisions()
        eq([x["facts"]["caller"] for x in d[1:3]], ["e2e", "navi"], "callers")
        eq(d[-1]["facts"]["data.class"], ["public.general", "identifier.phone"], "detectors add")
        eq(d[-2]["outcome"]["status"], 400, "refusals are in the log too")


def test_many_at_once_and_a_full_queue():
    with wp.Folder() as f:
        e = wp.Edge(f, f.slow(), engine__sessions=4, engine__queue=2).start()
        text = wp.long_prompt(e)
        alone = e.chat(text, max_tokens=40)[2]["choices"][0]["message"]["content"]
        got = wp.together(4, lambda i: e.stream([text, "other"][i % 2], max_tokens=40).all())
        eq([g.status for g in got], [200] * 4, "four at once")
        eq(got[0].text, alone, "company changes nothing")
        eq(got[2].text, alone, "company changes nothing")
        long = [e.stream(text, max_tokens=400) for i in range(6)]
        wp.wait_for(lambda: e.metric("waypost_requests_waiting") == 2, "two wait for a session")
        s, h, b = e.chat("one too many")
        eq((s, b["error"]["code"], h.get("retry-after")), (429, "queue_full", "1"), "queue full")
        for st in long:
            st.close()
        wp.wait_for(lambda: e.metric("waypost_requests_active") == 0, "all gone")
        eq(e.chat("again")[0], 200, "free again")


def test_client_gone_stops_the_work():
    with wp.Folder() as f:
        e = wp.Edge(f, f.slow(), engine__context=4096).start()
        st = e.stream(wp.long_prompt(e), max_tokens=2048)
        next(iter(st.events()))
        st.close()
        start = time.monotonic()
        wp.wait_for(lambda: e.metric("waypost_engine_jobs") == 0, "the job is closed", 5)
        took = time.monotonic() - start
        time.sleep(0.1)  # the step under way may end
        steps = e.metric("waypost_engine_steps_total")
        time.sleep(0.1)
        eq(e.metric("waypost_engine_steps_total"), steps, "no step after it")
        assert took < 2, took
        eq(e.decisions()[-1]["outcome"]["result"], "gone", "logged as gone")


def test_a_storm_of_cancels_fails_nobody_else():
    with wp.Folder() as f:
        e = wp.Edge(f, f.slow(), engine__context=2048, engine__sessions=2, engine__queue=4096,
                    http__max_conn=4096).start()
        body = json.dumps(wp.chat_body("word " * 150)).encode()
        raw = (b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
               b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)) + body

        done = threading.Event()

        def one(i):
            if i == 0:
                try:
                    return {e.chat("Hello", max_tokens=3)[0] for _ in range(30)}
                finally:
                    done.set()
            while not done.is_set():
                with socket.create_connection(("127.0.0.1", e.port)) as c:
                    c.sendall(raw)
                    time.sleep(0.001)

        eq(wp.together(7, one)[0], {200}, "answers beside it")


def test_deadlines():
    with wp.Folder() as f:
        e = wp.Edge(f, f.slow(), engine__context=8192, engine__sessions=1).start()
        text = wp.long_prompt(e)
        blocker = e.stream(text, max_tokens=2048)
        s, _, b = e.chat("waits", metadata={"deadline_ms": "30"})
        eq((s, b["error"]["code"]), (504, "deadline_exceeded"), "before the first token")
        blocker.close()
        for ms in (100, 400, 1600, 6400):  # one that leaves time for the first token at least
            s, _, b = e.chat(text, max_tokens=2048, metadata={"deadline_ms": str(ms)})
            if s == 200:
                break
        eq((s, b["choices"][0]["finish_reason"]), (200, "length"), "what is there, and why it ends")
        assert 0 < b["usage"]["completion_tokens"] < 2048, b["usage"]


def test_metrics_and_log_without_content():
    canary = "CANARY-5d1f"
    with wp.Folder() as f:
        e = wp.Edge(f, log__level="debug").start()
        eq(e.chat(f"secret {canary}", model=f"m-{canary}", user=canary)[0], 200, "asked")
        e.chat(f"secret {canary}", data_class="x" + canary.lower())
        e.post("/v1/chat/completions", {"messages": [{"role": canary, "content": canary}]})
        e.request("POST", "/v1/chat/completions", '{"' + canary, {"Content-Type": "application/json"})
        text = (f.text_of_all_logs() + e.get("/metrics")[2].decode()).lower()
        assert canary.lower() not in text, "content in a log"
        assert "request" in text
        eq(e.decisions()[0]["facts"]["request.model"], "(other)", "a free name is not logged")
        eq(e.metric('waypost_requests_total{route="local",result="ok"}'), 1, "counted")


def test_decision_log_rotates():
    with wp.Folder() as f:
        e = wp.Edge(f, decision_log__max_bytes=4096, decision_log__keep=2).start()
        for _ in range(24):
            e.chat("x", max_tokens=1)
        sizes = {p.name: p.stat().st_size for p in f.path.glob("edge-decisions.jsonl*")}
        eq(sorted(sizes), ["edge-decisions.jsonl", "edge-decisions.jsonl.1", "edge-decisions.jsonl.2"],
           "files")
        assert all(n <= 4096 for n in sizes.values()), sizes


def test_broken_policy_stays_local_and_check_config_says_so():
    import subprocess
    with wp.Folder() as f:
        e = wp.Edge(f, policy="waypost_policy: 1\nversion: x\nrulez: []\n").start()
        eq(e.chat(data_class="public.general")[1]["x-waypost-route"], "local", "route")
        assert ":3:1" in e.log(), "line and column"
        p = subprocess.run([*e.args, "--check-config"], capture_output=True, text=True)
        eq(p.returncode, 2, "check-config")
        assert ":3:1" in p.stderr, p.stderr


def test_bad_configuration_is_refused_with_the_reason():
    import subprocess
    cases = [("caller=name=a classes=x", "needs one of listen, uid, key_sha256"),
             ("caller=listen=unix", "name="), ("caller=name=a listen=udp", "neither unix nor tcp"),
             ("caller=name=a listen=tcp uid=1", "only on the unix socket"),
             ("caller=name=a uid=-1", "not a number"), ("caller=name=a key_sha256=12", "64 lower-case"),
             ("caller=name=a uid=1 classes=Public", "not a class name"),
             ("caller=name=a uid=1 colour=red", "colour"), ("target=name=cloud", "needs name"), ("target=name=c model=m url=x", "url"),
             ("http.socket_mode=rw", "octal"),
             ("engine.sessions=0", "not in 1..64"), ("engine.kv=f8", "none of f16|f32|q8_0"),
             ("limit.default_deadline_ms=400000", "above limit.deadline_ms"), ("no.such=1", "no option")]
    for setting, reason in cases:
        p = subprocess.run([wp.program("waypost-edge"), "--set", "model.path=/dev/null", "--set", setting,
                            "--check-config"], capture_output=True, text=True)
        assert p.returncode == 2 and reason in p.stderr, (setting, p.returncode, p.stderr)
    p = subprocess.run([wp.program("waypost-edge"), "--check-config"], capture_output=True, text=True)
    assert p.returncode == 2 and "model.path" in p.stderr, p.stderr
    p = subprocess.run([wp.program("waypost-edge"), "--dump-config"], capture_output=True, text=True)
    assert p.returncode == 0 and "http.port = 8088" in p.stdout
    with wp.Folder() as f:
        conf = f.file("a.conf", p.stdout + "\n")
        p = subprocess.run([wp.program("waypost-edge"), "--config", str(conf), "--set",
                            f"model.path={f.tiny()}", "--check-config"], capture_output=True, text=True)
        eq(p.returncode, 0, "what it dumps, it reads: " + p.stderr)


def test_bad_model_and_bad_address_stop_the_start():
    with wp.Folder() as f:
        for settings, reason in (({"model": f.file("not.gguf", "hello")}, "not.gguf"),
                                 ({"http__addr": "0.0.0.0"}, "0.0.0.0"),
                                 ({"uplink": f.file("u.conf", ""), "uplink__program": "/nowhere/up"},
                                  "/nowhere/up")):
            e = wp.Edge(f, name="edge-" + reason.strip("/").split("/")[0], **settings)
            try:
                e.start()
                raise AssertionError(f"{settings} started")
            except RuntimeError:
                eq(e.stop(), 1, "exit status")
                assert reason in e.log(), e.log()
                f.daemons.remove(e)


def test_sigterm_lets_answers_finish():
    with wp.Folder() as f:
        e = wp.Edge(f, f.slow(), engine__context=2048, process__drain_ms=60000).start()
        st = e.stream(wp.long_prompt(e), max_tokens=100)
        next(iter(st.events()))
        e.proc.send_signal(signal.SIGTERM)
        st.all()
        eq((st.finish, st.done), ("length", True), "the answer came whole")
        eq(e.proc.wait(10), 0, "and the daemon ended")


def test_sigterm_answers_those_who_take_too_long():
    with wp.Folder() as f:
        e = wp.Edge(f, f.slow(), engine__context=2048, engine__sessions=2, process__drain_ms=100).start()
        text = wp.long_prompt(e)

        def one(i):
            if i == 0:
                return e.stream(text, max_tokens=1500).all().error["code"]
            return e.chat(text, max_tokens=1500)[2]["error"]["code"]

        def stop():
            wp.wait_for(lambda: e.metric("waypost_requests_waiting") == 1, "two run, one waits")
            e.proc.send_signal(signal.SIGTERM)

        ends = wp.together(4, lambda i: stop() if i == 3 else one(i))
        eq(ends[:3], ["shutting_down"] * 3, "an answer for each")
        eq(e.proc.wait(10), 0, "and the daemon ended")


if __name__ == "__main__":
    wp.run(globals())
