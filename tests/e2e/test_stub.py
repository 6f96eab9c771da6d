"""The cloud stub alone: what it says to curl and nghttp, whom it refuses, and split sessions whose frames
split_frames prepares. After each abuse it still serves."""
import json
import os
import re
import socket
import ssl
import subprocess

import wp
from wp import eq

FRAMES = "application/waypost-frames"
N_PROMPT, N_NEW = 70, 8  # as in split_frames.c
OK, MISMATCH, VERSION, BAD, LIMIT, BUSY, CANCELED, TIMEOUT, INTERNAL, UNSUPPORTED, REPEATED = range(11)
LONG = {"messages": [{"role": "user", "content": "the user and " * 1000}], "max_tokens": 8}


class Stub(wp.Stub):
    def __init__(self, f, **settings):
        super().__init__(f, model=settings.pop("model", None) or f.tiny("t.gguf", "--seed", "5", "--untied"),
                         **{"model__name": "tiny", **settings})
        self.certs = settings.get("certs") or f.certs()
        self.model = dict(x.split(" = ", 1) for x in self.config.read_text().splitlines())["model.path"]
        self.n = 0

    def argv(self, path, *args, client="tool", body_to="-"):
        a = ["curl", "--http2", "-sS", "-N", "--max-time", "100", "--cacert", f"{self.certs}/ca.pem",
             "-o", str(body_to)]
        if client is not None:
            a += ["--cert", f"{self.certs}/{client}.pem", "--key", f"{self.certs}/{client}-key.pem"]
        return a + [*args, f"https://127.0.0.1:{self.port}{path}"]

    def curl(self, path, *args, body=None, client="tool", headers=()):
        """(status, response headers, body); status 0: refused before HTTP."""
        self.n += 1
        head = self.folder.path / f"head.{self.n}"
        a = ["-D", str(head), *args]
        for h in headers:
            a += ["-H", h]
        if body is not None:
            a += ["--data-binary", "@-"]
        p = subprocess.run(self.argv(path, *a, client=client), input=body, capture_output=True)
        lines = head.read_text().splitlines() if head.exists() else []
        if not lines:
            assert p.returncode != 0, "neither an answer nor an error"
            return 0, {}, p.stderr
        eq(lines[0].split()[0], "HTTP/2", "protocol")
        eq(p.returncode, 0, f"curl {path}: {p.stderr}")
        return (int(lines[0].split()[1]), dict(x.split(": ", 1) for x in lines[1:] if ": " in x), p.stdout)

    def chat(self, text="Hello", headers=(), path="/v1/chat/completions", client="tool", **fields):
        b = fields.pop("raw", None) or json.dumps(wp.chat_body(text, **fields)).encode()
        s, h, body = self.curl(path, body=b, headers=["content-type: application/json", *headers],
                               client=client)
        return s, h, json.loads(body) if h.get("content-type") == "application/json" else body

    def frames(self, *spec, k=2, model=None):
        return subprocess.run([wp.program("tests/e2e/split_frames"), "frames", str(model or self.model),
                               str(k), *spec], check=True, capture_output=True).stdout

    def split(self, *spec, k=2, model=None, raw=None):
        """The reply to these frames, a line each."""
        s, _, body = self.curl("/waypost/v1/split", headers=[f"content-type: {FRAMES}"],
                               body=self.frames(*spec, k=k, model=model) if raw is None else raw)
        eq(s, 200, "split")
        return decode(body)

    def hold(self, *spec, path="/waypost/v1/split", content_type=FRAMES):
        """A client that keeps its side open."""
        return Held(self, path, content_type, self.frames(*spec) if spec else b"")

    def busy(self):
        """A client whose long answer the engine has begun: a stream's headers say so."""
        head = self.folder.path / "busy"
        p = subprocess.Popen(self.argv("/v1/chat/completions", "-D", str(head), "--data-binary",
                                       json.dumps({**LONG, "stream": True})),
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wp.wait_for(lambda: head.exists() and "HTTP/2 200" in head.read_text(), "an answer begins")
        return p

    def serves(self):
        eq(self.curl("/healthz")[0], 200, "still there")
        eq(self.split("hello", fresh_open(), f"rows:n={N_PROMPT},want=1")[1:2],
           local(self.model, "token")[:1], "still right")


class Held:
    """A client that says what it wants when it wants: curl reads nothing while it waits for more to send.
    As little HTTP/2 as that takes; the windows that both sides begin with are enough."""

    def __init__(self, stub, path, content_type, first):
        tls = ssl.create_default_context(cafile=f"{stub.certs}/ca.pem")
        tls.load_cert_chain(f"{stub.certs}/tool.pem", f"{stub.certs}/tool-key.pem")
        tls.set_alpn_protocols(["h2"])
        self.sock = tls.wrap_socket(socket.create_connection(("127.0.0.1", stub.port), 60),
                                    server_hostname="localhost")
        self.body, self.ended, self.lost = b"", False, False
        head = {":method": "POST", ":scheme": "https", ":authority": "localhost", ":path": path,
                "content-type": content_type}
        block = b"".join(b"\0" + bytes([len(k)]) + k.encode() + bytes([len(v)]) + v.encode()
                         for k, v in head.items())
        self.sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + h2_frame(4, 0, 0) + h2_frame(1, 4, 1, block))
        self.send(first)

    def send(self, b, last=False):
        for i in range(0, len(b), 16384):
            self.sock.sendall(h2_frame(0, 0, 1, b[i:i + 16384]))
        if last:
            self.sock.sendall(h2_frame(0, 1, 1))

    def take(self):
        """One frame from the stub."""
        head = self.read(9)
        n, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        payload = self.read(n)
        if kind == 0:
            self.body += payload
        if kind in (0, 1) and flags & 1:
            self.ended = True
        if kind in (3, 7):
            self.lost = True
        if kind == 4 and not flags & 1:
            self.sock.sendall(h2_frame(4, 1, 0))

    def read(self, n):
        out = b""
        while len(out) < n:
            got = self.sock.recv(n - len(out))
            if not got:
                raise EOFError
            out += got
        return out

    def until(self, what):
        while not any(x.startswith(what) for x in show(self.body)):
            self.take()
        return self

    def end(self):
        """The stub ends it: the body."""
        while not self.ended:
            self.take()
        self.sock.close()
        return self.body

    def vanish(self):
        self.sock.close()


def h2_frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


KEYS = iter(range(1, 256))


def fresh_open(*more):
    return "open:" + ",".join([f"key={next(KEYS)}", *more])


def show(body, whole=False):
    return subprocess.run([wp.program("tests/e2e/split_frames"), "decode"], input=body, check=whole,
                          capture_output=True).stdout.decode().splitlines()


def decode(body):
    lines = show(body, whole=True)
    eq(lines[0].split()[:2], ["hello", "1"], "first")
    eq([i for i, x in enumerate(lines) if x.startswith("status")], [len(lines) - 1], "one STATUS, last")
    return lines


def status(lines):
    return int(lines[-1].split()[1])


def local(model, what):
    out = subprocess.run([wp.program("tests/e2e/split_frames"), "local", str(model)], check=True,
                         capture_output=True, text=True).stdout
    return [x for x in out.splitlines() if x.startswith(what)]


def answers(dtype=0):
    """ROWS for a whole answer: the prompt in two frames, then a row a token."""
    return ["rows:from=0,n=40,dtype=%d" % dtype, "rows:from=40,n=30,want=1,dtype=%d" % dtype] + [
        f"rows:from={N_PROMPT + i},n=1,want=1,dtype={dtype}" for i in range(N_NEW)]


# ---- chat

def test_chat():
    with wp.Folder() as f:
        s = Stub(f).start()
        st, h, b = s.chat("Name a colour.", max_tokens=12, headers=["x-request-id: mine-1"])
        eq((st, h["x-request-id"], b["object"], b["model"]), (200, "mine-1", "chat.completion", "tiny"))
        text, usage = b["choices"][0]["message"]["content"], b["usage"]
        eq(usage["total_tokens"], usage["prompt_tokens"] + usage["completion_tokens"], "usage")
        assert usage["prompt_tokens"] > 0 and usage["completion_tokens"] > 0, usage
        st, h, b = s.chat("Name a colour.", max_tokens=12, stream=True,
                          stream_options={"include_usage": True})
        eq((st, h["content-type"]), (200, "text/event-stream"), "stream")
        ev = [x[6:] for x in b.decode().split("\n\n") if x]
        eq(ev[-1], "[DONE]", "end")
        ev = [json.loads(x) for x in ev[:-1]]
        eq("".join(c["delta"].get("content") or "" for e in ev for c in e["choices"]), text, "same text")
        eq(ev[-1]["usage"], usage, "same usage")
        eq([c["finish_reason"] for e in ev for c in e["choices"] if c["finish_reason"]],
           ["length" if usage["completion_tokens"] == 12 else "stop"], "one finish_reason")


def test_logprobs_stop_completions_models():
    with wp.Folder() as f:
        s = Stub(f).start()
        b = s.chat("colours", max_tokens=12, logprobs=True, top_logprobs=3)[2]
        lp = b["choices"][0]["logprobs"]["content"]
        eq(len(lp), b["usage"]["completion_tokens"], "one a token")
        for t in lp:
            eq((len(t["top_logprobs"]), t["top_logprobs"][0]["bytes"]), (3, t["bytes"]), "greedy is the top")
            assert t["logprob"] <= 0
        text = b["choices"][0]["message"]["content"]
        stop = next(text[i] for i in range(2, len(text)) if text[i].isascii())
        b = s.chat("colours", max_tokens=12, stop=[stop])[2]
        eq((b["choices"][0]["message"]["content"], b["choices"][0]["finish_reason"]),
           (text[:text.index(stop)], "stop"), "stop string")
        st, _, b = s.chat(path="/v1/completions",
                          raw=json.dumps({"prompt": "the user", "max_tokens": 4}).encode())
        eq((st, b["object"]), (200, "text_completion"), "completions")
        st, _, b = s.curl("/v1/models?x=1")
        eq((st, [m["id"] for m in json.loads(b)["data"]]), (200, ["tiny"]), "models")
        hot = dict(max_tokens=12, temperature=1.5, seed=3)
        eq(s.chat("a", **hot)[2]["choices"], s.chat("a", **hot)[2]["choices"], "a seed repeats")


def test_refusals():
    with wp.Folder() as f:
        s = Stub(f, limits__body_bytes=4096).start()

        def refused(want, code, got):
            eq((got[0], got[2]["error"]["code"]), (want, code), "refusal")

        refused(404, "model_not_found", s.chat(model="gpt-5"))
        refused(413, "body_too_large", s.chat("x" * 5000))
        refused(413, "body_too_large", s.chat("x" * 5000000))
        eq(s.chat(raw=b'{"messages": [')[0], 400, "bad JSON")
        eq(s.chat(raw=b" ")[0], 400, "no JSON")
        eq(s.chat(raw=b'{"messages": []}')[0], 400, "no message")
        refused(400, "context_length_exceeded", s.chat("a, b; " * 600))
        refused(404, "not_found", s.chat(path="/v1/embeddings"))
        refused(404, "not_found", s.chat(path="/v1/embeddings", raw=b"x" * 3000000))
        for path, allow in (("/v1/chat/completions", "POST"), ("/waypost/v1/split", "POST")):
            st, h, _ = s.curl(path)
            eq((st, h["allow"]), (405, allow), path)
        st, h, _ = s.curl("/healthz", body=b"x" * 100000)
        eq((st, h["allow"]), (405, "GET"), "POST /healthz")
        refused(400, "bad_idempotency_key", s.chat(headers=["idempotency-key: zz"]))
        st, _, b = s.curl("/waypost/v1/split", headers=["content-type: text/plain"], body=b"x" * 100000)
        eq((st, json.loads(b)["error"]["code"]), (415, "unsupported_media_type"), "content type")
        eq(s.curl("/healthz", headers=["x-big: " + "y" * 20000])[0], 431, "headers")
        s.serves()


def test_reply_larger_than_the_queue():
    with wp.Folder() as f:
        s = Stub(f, limits__out_bytes=65536).start()
        b = wide(s)[1]
        assert len(json.dumps(b)) > 131072, len(json.dumps(b))
        eq(len(b["choices"][0]["logprobs"]["content"]), 200, "whole")


def wide(s):
    """A prompt whose answer is long (a random model may end at once), many bytes a token; and that answer."""
    for i in range(50):
        st, _, b = s.chat(f"number {i}", max_tokens=200, logprobs=True, top_logprobs=20)
        eq(st, 200, "status")
        if b["usage"]["completion_tokens"] == 200:
            return f"number {i}", b
    raise AssertionError("no prompt has a long answer")


def test_client_that_does_not_read():
    with wp.Folder() as f:
        s = Stub(f, limits__out_bytes=65536, engine__sessions=1, limits__progress_ms=60000).start()
        body = wp.chat_body(wide(s)[0], max_tokens=200, logprobs=True, top_logprobs=20, stream=True)
        held = s.hold(path="/v1/chat/completions", content_type="application/json")
        held.send(json.dumps(body).encode(), last=True)
        wp.wait_for(lambda: 'outcome="client too slow"' in s.log(), "the stream is dropped")
        s.serves()
        held.vanish()


def test_busy_and_idempotency():
    with wp.Folder() as f:
        s = Stub(f, model=f.slow(), engine__sessions=1, engine__context=8000).start()
        key = "idempotency-key: " + "0a" * 16
        long = s.busy()
        st, h, b = s.chat(max_tokens=1, headers=[key])
        eq((st, h["retry-after"], b["error"]["type"]), (429, "1", "rate_limit_error"), "busy")
        got = s.split("hello", fresh_open(), "rows:n=1,want=1")
        eq((status(got), got[-1].split()[4]), (BUSY, "1000"), "a session is told the same")
        long.kill()  # a client that vanishes gives its slot back
        long.wait()
        wp.wait_for(lambda: s.chat(max_tokens=1)[0] == 200, "the slot is free")
        eq(s.chat(max_tokens=1, headers=[key])[0], 200, "what was refused may come again")
        st, _, b = s.chat(max_tokens=1, headers=[key])
        eq((st, b["error"]["code"]), (409, "repeated"), "what was started may not")


def test_deadlines():
    with wp.Folder() as f:
        s = Stub(f, model=f.slow(), engine__context=8000, engine__chunk=8, limits__body_ms=300,
                 limits__request_ms=3000).start()
        body = s.hold(path="/v1/chat/completions", content_type="application/json").end()
        eq(json.loads(body)["error"]["message"], "The body did not come in time.", "no body")
        st, _, b = s.chat(**LONG)
        eq((st, b["error"]["code"]), (504, "timeout"), "the answer took too long")
        st, _, b = s.chat(**LONG, stream=True)
        eq(st, 200, "a stream has begun")
        assert b'"timeout"' in b and b.count(b"data: {") == 1, b
        eq(s.chat(max_tokens=1)[0], 200, "and the next one is served")


def test_nothing_of_a_request_is_logged():
    with wp.Folder() as f:
        s = Stub(f, log__level="debug").start()
        canary = "Kanarienvogel"
        s.chat(canary, max_tokens=2)
        s.chat(raw=b'{"messages": [{"role": "%s"}], "%s": 1' % (canary.encode(), canary.encode()))
        s.chat("x", model=canary)
        s.chat("x", headers=[f"x-request-id: a {canary}", f"idempotency-key: {canary}"])
        s.curl(f"/{canary}?{canary}")
        eq(s.log().count("path="), 5, "every request has its line")
        assert canary not in s.log(), s.log()


# ---- who may come

def test_nghttp():
    with wp.Folder() as f:
        s = Stub(f).start()
        body = f.file("body.json", json.dumps(wp.chat_body("Hello", max_tokens=4)))
        p = subprocess.run(["nghttp", "--cert", f"{s.certs}/tool.pem", "--key", f"{s.certs}/tool-key.pem",
                            "-d", str(body), f"https://127.0.0.1:{s.port}/v1/chat/completions"],
                           capture_output=True, text=True, timeout=60)
        eq((p.returncode, json.loads(p.stdout)["object"]), (0, "chat.completion"), p.stderr)
        p = subprocess.run(["nghttp", f"https://127.0.0.1:{s.port}/healthz"], capture_output=True,
                           text=True, timeout=60)
        assert '"status"' not in p.stdout, "without a certificate"
        s.serves()


def test_certificates():
    with wp.Folder() as f:
        s = Stub(f).start()
        eq(s.curl("/healthz")[0], 200, "a good one")
        eq(s.curl("/healthz", client=None)[0], 0, "none")
        eq(s.curl("/healthz", client="server")[0], 0, "a server's")
        p = subprocess.run(s.argv("/healthz", "--http1.1"), capture_output=True)
        assert p.returncode != 0 and b"ok" not in p.stdout, "HTTP/1.1"
        p = subprocess.run(s.argv("/healthz", "--tls-max", "1.2"), capture_output=True)
        assert p.returncode != 0 and b"ok" not in p.stdout, "TLS 1.2"
        s.serves()
        other = Stub(f, name="other", certs=f.certs(name="other-ca")).start()
        other.port, port = s.port, other.port
        eq(other.curl("/healthz", "-k")[0], 0, "another CA's")
        other.port = port
        old = Stub(f, name="old", certs=f.certs("--expired", "tool", name="old")).start()
        eq(old.curl("/healthz")[0], 0, "expired")
        eq(old.curl("/healthz", client="uplink")[0], 200, "not expired")


def test_revoked():
    with wp.Folder() as f:
        c = f.certs("--revoke", "tool", name="revoked")
        lax = Stub(f, name="lax", certs=c).start()
        eq(lax.curl("/healthz")[0], 200, "no list is configured")
        s = Stub(f, certs=c, tls__crl=c / "crl.pem").start()
        eq(s.curl("/healthz")[0], 0, "revoked")
        eq(s.curl("/healthz", client="uplink")[0], 200, "not revoked")


def test_one_client_may_not_take_all():
    with wp.Folder() as f:
        s = Stub(f, limits__peer_streams=1).start()
        held = s.hold("hello")
        held.until("hello")
        st, h, _ = s.chat(max_tokens=1)
        eq((st, h["retry-after"]), (429, "1"), "the same certificate")
        eq(s.curl("/healthz")[0], 200, "health is not counted")
        eq(s.chat(max_tokens=1, client="uplink")[0], 200, "another one")
        held.vanish()
        wp.wait_for(lambda: s.chat(max_tokens=1)[0] == 200, "room again")


# ---- split sessions

def test_split_gives_what_a_local_run_gives():
    with wp.Folder() as f:
        s = Stub(f).start()
        for k in (0, 1, 2, 3):
            for tail, what in ((0, "token"), (1, "state")):
                got = s.split("hello", fresh_open(f"tail={tail}"), *answers(), k=k)
                eq(got[1:-1], local(s.model, what), f"k={k} tail={tail}")
                eq(got[-1].split()[1:4], [str(OK), str(N_PROMPT + N_NEW), str(N_NEW + 1)], "status")
        for dtype in (1, 2):
            got = s.split("hello", fresh_open(f"dtype={dtype}", "tail=1", f"reply={dtype}"), *answers(dtype))
            eq([x.split()[:2] for x in got[1:-1]], [x.split()[:2] for x in local(s.model, "state")], "places")
            eq(status(got), OK, "smaller rows")


def test_four_sessions_on_one_connection():
    with wp.Folder() as f:
        s = Stub(f, engine__sessions=4, limits__connections=1).start()
        out = [f.path / f"out.{i}" for i in range(4)]
        args = []
        for i, o in enumerate(out):
            p = f.path / f"in.{i}"
            p.write_bytes(s.frames("hello", fresh_open(f"tail={i % 2}"), *answers()))
            a = s.argv("/waypost/v1/split", "--data-binary", f"@{p}", "-H", f"content-type: {FRAMES}",
                       "-w", "%{num_connects}\n", body_to=o)
            args += (["--next"] if i else []) + a[1:]
        p = subprocess.run(["curl", "-Z", *args], capture_output=True, text=True)
        eq((p.returncode, sorted(p.stdout.split())), (0, ["0", "0", "0", "1"]), "curl")
        for i, o in enumerate(out):
            eq(decode(o.read_bytes())[1:-1], local(s.model, ("token", "state")[i % 2]), f"session {i}")


def test_what_breaks_the_contract():
    rows = f"rows:n={N_PROMPT},want=1"
    with wp.Folder() as f:
        s = Stub(f).start()
        h = ("hello",)
        for name, want, spec in (
                ("OPEN before HELLO", BAD, ["open", rows]),
                ("ROWS before OPEN", BAD, [*h, rows]),
                ("HELLO twice", BAD, ["hello", "hello"]),
                ("OPEN twice", BAD, [*h, fresh_open(), fresh_open()]),
                ("CANCEL first", BAD, ["cancel"]),
                ("nothing after HELLO", BAD, [*h]),
                ("another version", VERSION, ["hello:version=2"]),
                ("rows at a wrong position", BAD, [*h, fresh_open(), "rows:n=4,pos=1,want=1"]),
                ("rows that overlap", BAD, [*h, fresh_open(), "rows:n=4", "rows:from=3,n=1,want=1"]),
                ("rows of another layer", BAD, [*h, fresh_open(), "rows:n=4,layer=1,want=1"]),
                ("rows of another dtype", BAD, [*h, fresh_open(), "rows:n=4,dtype=1,want=1"]),
                ("more rows than opened", LIMIT, [*h, fresh_open("ctx=20"), "rows:n=21,want=1"]),
                ("one row more", LIMIT, [*h, fresh_open("ctx=20"), "rows:n=20", "rows:from=20,want=1"]),
                ("a larger context than offered", LIMIT, [*h, fresh_open("ctx=513"), rows]),
                ("layer L", UNSUPPORTED, [*h, fresh_open("layer=4"), rows]),
                ("layer far out", UNSUPPORTED, [*h, fresh_open("layer=500"), rows]),
                ("CANCEL before OPEN", CANCELED, [*h, "cancel"]),
                ("CANCEL", CANCELED, [*h, fresh_open(), "rows:n=4", "cancel"])):
            eq(status(s.split(*spec)), want, name)
            s.serves()
        for name, raw in (("garbage", os.urandom(20000)), ("zeros", bytes(500)), ("nothing", b""),
                          ("cut", s.frames(*h)[:-1]), ("a flipped bit", flip(s.frames(*h, "open", rows)))):
            got = s.split(raw=raw)
            eq((status(got), got[-1].split()[2:4]), (BAD, ["0", "0"]), name)
            s.serves()


def test_rows_beyond_what_numbers_hold():
    with wp.Folder() as f:
        s = Stub(f).start()
        got = s.split("hello", fresh_open("tail=1", "reply=1"), "rows:n=4,want=1,exp=9")
        eq((status(got), len(got)), (INTERNAL, 2), "a state beyond f16")
        s.serves()
        for tail in (0, 1):  # squares overflow inside: an answer or an error, as the kernels round
            got = s.split("hello", fresh_open(f"tail={tail}"), "rows:n=4,want=1,exp=37")
            assert (status(got), len(got)) in ((OK, 3), (INTERNAL, 2)), got
            s.serves()


def flip(b):
    """In the middle of the rows: the checksum's business."""
    return b[:-500] + bytes([b[-500] ^ 4]) + b[-499:]


def test_identity_and_repeats():
    with wp.Folder() as f:
        s = Stub(f).start()
        for other, part in ((f.tiny("o.gguf", "--seed", "6", "--untied"), "h|layer"),
                            (f.tiny("l.gguf", "--seed", "5", "--untied", "--layers", "5"), "layers")):
            got = s.split("hello", fresh_open(), f"rows:n={N_PROMPT},want=1", model=other)
            eq((status(got), len(got)), (MISMATCH, 2), "another model")
            if part == "h|layer":
                hashes = re.findall(r"\b[0-9a-f]{32}\b", got[-1])
                assert len(set(hashes)) == 2, got
            s.serves()
        spec = ["hello", fresh_open(), "rows:n=4,want=1"]
        eq([status(s.split(*spec)) for _ in range(3)], [OK, REPEATED, REPEATED], "one key, once")
        refused = ["hello", fresh_open("ctx=513"), "rows:n=4"]
        eq([status(s.split(*refused)) for _ in range(2)], [LIMIT, LIMIT], "what never started")


def test_silence_and_deadline():
    with wp.Folder() as f:
        s = Stub(f, limits__session_idle_ms=300).start()
        for spec in ([], ["hello"], ["hello", fresh_open()], ["hello", fresh_open(), "rows:n=4,want=1"]):
            body = s.hold(*spec).end()
            eq(status(decode(body)), TIMEOUT, f"silence after {spec}")
        s.serves()
        d = Stub(f, name="deadline").start()
        body = d.hold("hello", fresh_open("deadline=300"), "rows:n=4,want=1").end()
        eq(status(decode(body)), TIMEOUT, "the client's own deadline")
        d.serves()
        m = Stub(f, name="longest", limits__session_ms=300).start()
        body = m.hold("hello", fresh_open("deadline=60000")).end()
        eq(status(decode(body)), TIMEOUT, "the server's")


def test_client_vanishes():
    with wp.Folder() as f:
        s = Stub(f, engine__sessions=1).start()
        for n in range(3):
            held = s.hold("hello", fresh_open(), f"rows:n={N_PROMPT},want=1")
            held.until("token")
            eq(status(s.split("hello", fresh_open(), "rows:n=1,want=1")), BUSY, "the slot is taken")
            held.vanish()
            wp.wait_for(lambda: status(s.split("hello", fresh_open(), "rows:n=1,want=1")) == OK, "free")
        s.serves()


def test_cancel_in_the_middle():
    with wp.Folder() as f:
        s = Stub(f, engine__sessions=1).start()
        held = s.hold("hello", fresh_open(), f"rows:n={N_PROMPT},want=1")
        held.until("token")
        held.send(s.frames("cancel"))
        eq(status(decode(held.end())), CANCELED, "canceled")
        s.serves()


def test_sigterm_with_open_streams():
    with wp.Folder() as f:
        s = Stub(f, model=f.slow(), engine__context=8000).start()
        held = s.hold("hello", fresh_open(), "rows:n=4,want=1")
        held.until("hello")
        long = s.busy()
        eq(s.stop(), 0, "it ends in order")
        assert long.wait(20) != 0, "curl sees that it was cut"
        try:
            held.end()
        except (EOFError, OSError):
            held.ended = False
        assert not held.ended, "a session that was cut does not look like one that ended"
        held.vanish()


if __name__ == "__main__":
    wp.run(globals())
