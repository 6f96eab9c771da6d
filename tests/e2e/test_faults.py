"""What the link and the far side can do to an answer: each case gives the documented fallback, and each
accepted request exactly one end."""
import ctypes
import os
import re
import signal
import socket
import struct
import threading
import time

import wp
from wp import eq

RULES = {"h.cloud": ("hidden", 8, "cloud", "f32", "local"), "h.edge": ("hidden", 20, "edge", "f32", "local"),
         "h.must": ("hidden", 8, "cloud", "f32", "refuse"), "p": ("prompt", 0, "", "", "local"),
         "p.must": ("prompt", 0, "", "", "refuse")}


class Stack:
    def __init__(self, f, model, stub_model=None, certs=None, port=None, uplink=None, start_stub=True,
                 rules=None):
        self.f = f
        self.stub = None
        if port is None:
            self.stub = wp.Stub(f, stub_model or model, certs).start()
            port = self.stub.port
        rules = rules or RULES
        caller = [f"name=faults key_sha256={wp.sha256('k')} classes={','.join(rules)}"]
        self.edge = wp.Edge(f, model, policy=wp.split_policy(rules), caller=caller,
                            target=["name=cloud model=waypost"],
                            uplink=wp.uplink_conf(f, port, certs, **(uplink or {}))).start()
        eq(self.edge.uplink_state(), "ready", "uplink")
        self.text = wp.long_prompt(self.edge)

    def ask(self, cls=None, **fields):
        return self.edge.chat(self.text, cls, key="k", **fields)

    def stream(self, cls=None, **fields):
        return self.edge.stream(self.text, cls, key="k", **fields)

    def kill_uplink(self):
        """The uplink is the launcher's child, the launcher the edge's."""
        launcher = children(self.edge.proc.pid)
        uplinks = [p for x in launcher for p in children(x)]
        eq(len(uplinks), 1, "one uplink")
        os.kill(uplinks[0], signal.SIGKILL)


def children(pid):
    out = []
    for t in os.listdir(f"/proc/{pid}/task"):
        out += [int(x) for x in open(f"/proc/{pid}/task/{t}/children").read().split()]
    return out


def content(b):
    return b["choices"][0]["message"]["content"]


def cut_in_the_middle(s, cls, cut, n_tok=50, after=8):
    """One streamed answer during which `cut` is called."""
    st = s.stream(cls, max_tokens=n_tok)
    for _ in st.events():
        if st.chunks == after:
            cut()
    return st


def test_stub_killed_in_the_middle():
    with wp.Folder() as f:
        s = Stack(f, f.slow())
        want = content(s.ask(max_tokens=50)[2])
        for cls in ("h.cloud", "h.edge", "p"):
            st = cut_in_the_middle(s, cls, lambda: s.stub.stop(signal.SIGKILL))
            eq((st.status, st.n_final, st.done, st.error), (200, 1, True, None), cls)
            eq(st.final["tier"], "both", cls)
            if cls != "p":  # text that is tokenised again need not give the same tokens
                eq(st.text, want, f"{cls}: nothing repeated, nothing missing")
            else:
                assert len(st.text) > 0
            s.stub.restart_on_same_port()
            wp.wait_for(lambda: s.ask(cls, max_tokens=2)[1]["x-waypost-route"] != "local",
                        "the cloud is used again", 30)


def test_fallback_refuse_in_the_middle():
    with wp.Folder() as f:
        s = Stack(f, f.slow())
        for cls in ("h.must", "p.must"):
            st = cut_in_the_middle(s, cls, lambda: s.stub.stop(signal.SIGKILL))
            eq((st.n_final, st.done, st.error["code"]), (0, False, "escalation_failed"), cls)
            s.stub.restart_on_same_port()
            wp.wait_for(lambda: s.ask(cls, max_tokens=2)[0] == 200, "back", 30)


def test_uplink_killed_in_the_middle():
    with wp.Folder() as f:
        s = Stack(f, f.slow())
        want = content(s.ask(max_tokens=50)[2])
        for cls in ("h.cloud", "h.edge"):
            st = cut_in_the_middle(s, cls, s.kill_uplink)
            eq((st.text, st.n_final, st.final["tier"]), (want, 1, "both"), cls)
            s.edge.wait_uplink()
            wp.wait_for(lambda: s.ask(cls, max_tokens=2)[1]["x-waypost-route"] == "hidden", "back", 30)


def test_no_cloud_at_all():
    with socket.create_server(("127.0.0.1", 0)) as taken, wp.Folder() as f:
        port = taken.getsockname()[1]
        taken.close()
        s = Stack(f, f.tiny(), port=port, rules={c: (r[0], min(r[1], 2), *r[2:]) for c, r in RULES.items()})
        want = content(s.ask()[2])
        for cls in ("h.cloud", "h.edge", "p"):
            st, h, b = s.ask(cls)
            eq((st, h["x-waypost-route"], h["x-waypost-tier"], content(b)), (200, "local", "edge", want), cls)
            eq(b["waypost"]["bytes_out"], 0, "released, but nothing left")
        st, h, b = s.ask("p.must")
        eq((st, b["error"]["code"], h["x-waypost-rule"]), (503, "escalation_failed", "p-must"), "refuse")


def small(rules=RULES):
    """The same rules for a model of four layers."""
    return {c: (r[0], min(r[1], 2), *r[2:]) for c, r in rules.items()}


def refused_with(f, s, log):
    """All routes fall back before a token, and the edge's or uplink's log says why."""
    want = content(s.ask()[2])
    for cls in ("h.cloud", "h.edge", "p"):
        st, h, b = s.ask(cls)
        eq((st, h["x-waypost-route"], content(b)), (200, "local", want), cls)
    assert re.search(log, s.edge.log(), re.I), s.edge.log()[-1500:]
    eq(s.ask("h.must")[0], 503, "no fallback")


def test_another_model_is_refused_before_the_first_row():
    with wp.Folder() as f:
        s = Stack(f, f.tiny(), stub_model=f.tiny("other.gguf", "--seed", "9"), rules=small())
        want = content(s.ask()[2])
        for cls in ("h.cloud", "h.edge"):
            st, h, b = s.ask(cls)
            eq((st, h["x-waypost-route"], content(b)), (200, "local", want), cls)
            assert b["waypost"]["bytes_out"] < 2000, "identity and request, no rows"
        assert re.search(r"differ.*[0-9a-f]{16}.*[0-9a-f]{16}", s.edge.log()), s.edge.log()[-1500:]
        eq(s.ask("h.must")[0], 503, "no fallback")


def test_expired_certificates():
    for who in ("server", "uplink"):
        with wp.Folder() as f:
            s = Stack(f, f.tiny(), certs=f.certs("--expired", who), rules=small())
            refused_with(f, s, r"certif|expired|tls|closed|not permitted")


def test_somebody_elses_ca():
    with wp.Folder() as f:
        stub = wp.Stub(f, f.tiny(), f.certs(name="theirs")).start()
        s = Stack(f, f.tiny(), certs=f.certs(name="ours"), port=stub.port, rules=small())
        refused_with(f, s, r"certif|tls|not permitted")


class Liar:
    """A TCP server that says `reply` and then closes, or holds the line for ever."""

    def __init__(self, reply, hold=False):
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.reply, self.hold, self.kept = reply, hold, []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            c, _ = self.sock.accept()
            if self.reply:
                c.sendall(self.reply)
            self.kept.append(c)
            if not self.hold:
                c.close()


def test_no_tls_and_silence():
    for liar in (Liar(b"HTTP/1.1 200 OK\r\n\r\nhello"), Liar(b""), Liar(b"", hold=True)):
        with wp.Folder() as f:
            s = Stack(f, f.tiny(), port=liar.port, rules=small(), uplink={"connect_deadline_ms": 300})
            start = time.monotonic()
            refused_with(f, s, r"uplink|closed|timeout|tls|deadline")
            assert time.monotonic() - start < 20


class Wire:
    """A line to a port that can be cut as a tunnel cuts it: not a byte, acknowledgement or end comes."""

    def __init__(self, port):
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.port, self.to, self.is_cut, self.kept = self.sock.getsockname()[1], port, False, []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            near = self.sock.accept()[0]
            far = socket.create_connection(("127.0.0.1", self.to))
            self.kept.append((near, far))
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self.carry, args=(a, b), daemon=True).start()

    def carry(self, a, b):
        try:
            while (data := a.recv(65536)) and not self.is_cut:
                b.sendall(data)
        except OSError:
            pass

    def cut(self):
        self.is_cut = True
        drop_all = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))  # BPF: return 0
        for near, _ in self.kept:
            near.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HP", 1, ctypes.addressof(drop_all)))


def test_cut_link():
    for cls in ("h.cloud", "p"):
        with wp.Folder() as f:
            stub = wp.Stub(f, f.slow()).start()
            wire = Wire(stub.port)
            s = Stack(f, f.slow(), port=wire.port, uplink={"connect_deadline_ms": 1500})
            start = time.monotonic()
            st = cut_in_the_middle(s, cls, wire.cut, n_tok=200)
            eq((st.status, st.n_final, st.done, st.error), (200, 1, True, None), cls)
            eq(st.final["tier"], "both", cls)
            assert time.monotonic() - start < 100, "before the deadline of 120 s, on slow builds too"


def test_client_gone_stops_both_tiers():
    with wp.Folder() as f:
        s = Stack(f, f.slow())
        for cls in ("h.cloud", "h.edge", "p"):
            st = s.stream(cls, max_tokens=400)
            for _ in st.events():
                if st.chunks == 4:
                    break
            st.close()
            wp.wait_for(lambda: s.edge.metric("waypost_engine_jobs") == 0 and
                        s.edge.metric("waypost_requests_active") == 0, "the edge has stopped", 5)
            n = len([r for r in wp.ledger(f) if r["kind"] == "release"])
            wp.wait_for(lambda: len([r for r in wp.ledger(f) if r["kind"] == "close"]) == n,
                        "the uplink has closed it", 5)
            eq(s.edge.decisions()[-1]["outcome"]["result"], "gone", cls)


def test_one_end_each_while_everything_breaks():
    with wp.Folder() as f:
        s = Stack(f, f.slow())
        classes = [None, "h.cloud", "h.edge", "p"]

        def one(i):
            return s.stream(classes[i % 4], max_tokens=25).all()

        stop = threading.Event()

        def breaker():
            while not stop.wait(0.25):
                s.stub.stop(signal.SIGKILL)
                s.stub.restart_on_same_port()

        t = threading.Thread(target=breaker)
        t.start()
        try:
            got = [st for _ in range(3) for st in wp.together(8, one)]
        finally:
            stop.set()
            t.join()
        for st in got:
            eq((st.status, st.n_final, st.done, st.error), (200, 1, True, None), "one end")
        wp.wait_for(lambda: s.edge.metric("waypost_requests_active") == 0, "none is left")
        want = content(s.ask(max_tokens=25)[2])
        for i, st in enumerate(got):
            if classes[i % 4] != "p":
                eq(st.text, want, f"{classes[i % 4]}")


if __name__ == "__main__":
    wp.run(globals())
