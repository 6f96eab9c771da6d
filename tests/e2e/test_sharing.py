"""Callers share an engine: who goes first, what is read only once, and for whom."""
import subprocess

import wp
from wp import eq

DRIVER = "driver's key"
CALLERS = [f"name=driver key_sha256={wp.sha256(DRIVER)} priority=10",
           f"name=other key_sha256={wp.sha256('other')}",
           f"name=idle key_sha256={wp.sha256('idle')} priority=-1"]
TALK = [{"role": "system", "content": "You are the voice of a car. " * 4},
        {"role": "user", "content": "What is the capital of Italy?"}]


def cached(answer):
    return answer["usage"]["prompt_tokens_details"]["cached_tokens"]


def test_a_conversation_is_read_once():
    with wp.Folder() as f:
        e, plain = wp.Edge(f, caller=CALLERS).start(), wp.Edge(f, name="plain", engine__cache_bytes=0)
        plain.start()
        ask = {"messages": TALK, "logprobs": True, "top_logprobs": 2, "repeat_penalty": 1.2}
        _, _, first = e.chat(**ask)
        eq(cached(first), 0, "nothing was there")
        wp.wait_for(lambda: e.metric("waypost_engine_cache_entries") == 1, "kept")
        said = first["choices"][0]["message"]
        ask["messages"] = TALK + [{"role": "assistant", "content": said["content"]},
                                  {"role": "user", "content": "And of France?"}]
        _, _, more = e.chat(**ask)
        assert cached(more) >= first["usage"]["prompt_tokens"], more["usage"]
        assert cached(more) < more["usage"]["prompt_tokens"], more["usage"]
        _, _, want = plain.chat(**ask)
        eq(cached(want), 0, "the cache is off")
        eq(more["choices"], want["choices"], "the same bits")
        st = e.stream("", **ask, stream_options={"include_usage": True}).all()
        eq(st.text, want["choices"][0]["message"]["content"], "and again")
        eq(st.usage["prompt_tokens_details"]["cached_tokens"], st.usage["prompt_tokens"] - 1,
           "all but the last, whose logits are wanted")
        eq(e.metric("waypost_engine_cache_hits_total"), 2, "hits")
        eq(e.metric("waypost_engine_cache_tokens_total"), cached(more) + st.usage["prompt_tokens"] - 1,
           "tokens")
        assert e.metric("waypost_engine_cache_bytes") > 0


def test_nobody_profits_from_another():
    with wp.Folder() as f:
        e = wp.Edge(f, caller=CALLERS).start()
        for key in (wp.KEY, "other", DRIVER, None, None):
            eq(cached(e.chat(messages=TALK, key=key)[2]), 0, "the first of each; strangers always")
        wp.wait_for(lambda: e.metric("waypost_engine_cache_entries") == 3, "one each of three")
        assert cached(e.chat(messages=TALK, key="other")[2]) > 0
        eq(cached(e.chat(messages=TALK, key=wp.KEY, unix=True)[2]), 0, "another listener")
        wp.wait_for(lambda: e.metric("waypost_engine_cache_entries") == 4, "kept by user id")
        assert cached(e.chat(messages=TALK, key=wp.KEY, unix=True)[2]) > 0


def test_the_driver_goes_first():
    with wp.Folder() as f:
        e = wp.Edge(f, f.slow(), engine__sessions=1, engine__queue=2, engine__context=4096,
                    caller=CALLERS).start()
        text = wp.long_prompt(e)
        running = e.stream(text, max_tokens=2048)
        next(iter(running.events()))
        idle = []
        for n in (1, 2):
            idle.append(e.stream("idle", key="idle", max_tokens=4))
            wp.wait_for(lambda: e.metric("waypost_requests_waiting") == n, "it waits")
        eq(e.chat("driver", key=DRIVER, max_tokens=4)[0], 200, "a session is kept for the driver")
        eq(e.metric("waypost_requests_waiting"), 2, "and nobody moved up")
        passenger = e.stream("passenger", max_tokens=4)
        # The line is full: its last gives way.
        eq(idle[1].all().status, 429, "the last of low priority")
        eq(idle[1].error["code"], "queue_full", "why")
        eq(e.chat("one more", key="idle")[0], 429, "who is alike turns nobody away")
        running.close()
        eq([s.all().status for s in (passenger, idle[0])], [200, 200], "the others")
        ended = [d["facts"]["caller"] for d in e.decisions() if d["outcome"]["status"] == 200]
        eq(ended[-3:], ["driver", "e2e", "idle"], "in this order")


def test_a_prompt_that_is_too_long_is_told_in_numbers():
    with wp.Folder() as f:
        e = wp.Edge(f, engine__context=64).start()
        s, _, b = e.chat("word " * 40)
        eq((s, b["error"]["code"]), (400, "context_length_exceeded"), "refused")
        assert "at most 63 tokens" in b["error"]["message"], b
        n = int(b["error"]["message"].split("The prompt has ")[1].split(" tokens")[0])
        assert 63 < n < 256, b
        s, _, b = e.chat("word " * 400)
        assert "has more than 256 tokens" in b["error"]["message"] or "bytes" in b["error"]["message"], b
        eq(e.metric("waypost_engine_steps_total"), 0, "before anything has run")


def test_drafts_change_nothing():
    with wp.Folder() as f:
        want = None
        for n in (0, 1, 8):
            e = wp.Edge(f, name=f"draft{n}", engine__draft_tok=n, engine__context=512).start()
            got = [e.chat("a, b, c. " * 10, max_tokens=80, temperature=t, seed=3, logprobs=True)[2]
                   for t in (0, 0, 0.2, 1)]
            got = [g["choices"] for g in got]
            want = want or got
            eq(got, want, "the same bits")
            eq(e.metric("waypost_engine_drafts_total") > 0, n > 0, "drafted")
            e.stop()


def test_a_caller_with_a_wrong_priority_is_refused():
    with wp.Folder() as f:
        for word, ok in (("100", True), ("-100", True), ("101", False), ("1x", False), ("", False)):
            conf = f.file("edge.conf", f"model.path = {f.tiny()}\ncaller = name=x listen=tcp priority={word}\n")
            r = subprocess.run([wp.program("waypost-edge"), "--config", str(conf), "--check-config"],
                               capture_output=True, text=True)
            eq(r.returncode == 0, ok, word)
            assert ok or f"priority '{word}' is not in -100..100" in r.stderr, r.stderr


if __name__ == "__main__":
    wp.run(globals())
