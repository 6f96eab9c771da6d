"""waypost-uplink from outside: ipc_drive plays the edge, h2_peer (or a hostile server made here) the
cloud. What is looked at is what left: connections, bytes, and what the ledger says about them."""
import contextlib
import json
import os
import queue
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import traceback

BUILD = os.environ["top_builddir"]
CTL, UPLINK = f"{BUILD}/waypostctl", f"{BUILD}/waypost-uplink"
DRIVE, PEER = f"{BUILD}/tests/uplink/ipc_drive", f"{BUILD}/tests/uplink/h2_peer"
WAIT_S = 30  # only a bug waits so long
OK, LIMIT, IO, TIMEOUT, CANCELED, NOTFOUND, PERM, BUSY, CLOSED, PROTO = 0, -3, -5, -6, -7, -8, -9, -10, -13, -14
PROMPT, HIDDEN = 1, 2


class Lines:
    """A child whose output is read line by line, with a deadline."""

    def __init__(self, args, env=None):
        self.p = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                  stderr=subprocess.PIPE, env=env)
        self.seen, self.err, self.q = [], [], queue.Queue()
        self.readers = [threading.Thread(target=f, daemon=True) for f in (self.read, self.read_err)]
        for t in self.readers:
            t.start()

    def read(self):
        for line in self.p.stdout:
            self.q.put(line.rstrip("\n"))
        self.q.put(None)

    def read_err(self):
        for line in self.p.stderr:
            self.err.append(line.rstrip("\n"))

    def send(self, text):
        self.p.stdin.write(text + "\n")
        self.p.stdin.flush()

    def wait(self, *starts):
        """The next line that begins with one of starts."""
        while True:
            line = self.q.get(timeout=WAIT_S)
            if line is None:
                raise AssertionError(f"ended while waiting for {starts}: {self.seen} {self.err}")
            self.seen.append(line)
            if line.startswith(starts):
                return line

    def drain(self):
        """All lines up to the end."""
        while (line := self.q.get(timeout=WAIT_S)) is not None:
            self.seen.append(line)
        return self.seen


class Edge(Lines):
    def __init__(self, args, env=None):
        super().__init__([DRIVE, UPLINK, "--ipc-fd", "3", *args], env)
        self.uplink_pid = int(self.wait("pid").split()[1])
        self.ready = self.wait("ready")

    def release(self, id, decision=None, target="cloud", mode=PROMPT, max_bytes=10000000,
                deadline_ms=20000, classes=1, rule="r1"):
        self.send(f"release {id} {decision or id} {target} {mode} {max_bytes} {deadline_ms} "
                  f"{classes} {rule}")

    def data(self, id, letter, n):
        self.send(f"data {id} {letter} {n}")

    def closed(self, id):
        """(code, bytes out, bytes in, text) of the next CLOSED, which must be id's."""
        f = self.wait("closed").split(" ", 5)
        assert f[1] == str(id), f
        return int(f[2]), int(f[3]), int(f[4]), f[5]

    def finish(self):
        """Hangs up; the whole log, every line. The uplink must end by itself with status 0."""
        if self.p.stdin:
            self.p.stdin.close()
        lines = self.drain()
        assert lines[-1] == "exit 0", (lines[-3:], self.err)
        ids = [l.split()[1] for l in lines if l.startswith("closed")]
        assert len(ids) == len(set(ids)), f"more than one CLOSED: {lines}"
        self.p.wait()
        self.readers[1].join()
        return lines


class Place:
    """A folder with certificates, a ledger, and whatever was started in it."""

    def __init__(self, *cert_options):
        self.tmp = tempfile.TemporaryDirectory(prefix="waypost-uplink-")
        self.dir = self.tmp.name
        self.ledger = f"{self.dir}/ledger"
        self.certs("certs", *cert_options)
        self.children = []

    def certs(self, name, *options):
        out = subprocess.run([CTL, "certs", f"{self.dir}/{name}", "--json", *options], check=True,
                             capture_output=True, text=True).stdout
        return json.loads(out)

    def peer(self, certs="certs"):
        p = Lines([PEER, f"{self.dir}/{certs}", self.ledger])
        self.children.append(p)
        p.port = int(p.wait("port").split()[1])
        return p

    def config(self, port, extra="", ca="certs", more="", name="cloud"):
        c = f"{self.dir}/certs"
        path = f"{self.dir}/uplink.conf"
        with open(path, "w") as f:
            f.write(f"target = name={name} url=https://localhost:{port} ca={self.dir}/{ca}/ca.pem "
                    f"cert={c}/uplink.pem key={c}/uplink-key.pem {more}\n"
                    f"ledger.file = {self.ledger}\nlog.level = debug\n{extra}\n")
        return path

    def edge(self, port, env=None, **k):
        e = Edge(["--config", self.config(port, **k)], env)
        self.children.append(e)
        return e

    def records(self):
        p = subprocess.run([CTL, "ledger", "show", self.ledger, "--json"], capture_output=True, text=True)
        return json.loads(p.stdout)["records"]

    def verify(self):
        p = subprocess.run([CTL, "ledger", "verify", self.ledger, "--json"], capture_output=True,
                           text=True)
        v = json.loads(p.stdout)
        assert v["ok"] and v["open"] == 0, v
        return v

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for c in self.children:
            if c.p.poll() is None:
                c.p.stdin.close() if isinstance(c, Edge) and not c.p.stdin.closed else c.p.terminate()
        for c in self.children:
            try:
                c.p.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                c.p.kill()
            if exc[0] is not None:
                print("#", c.p.args[0], *c.seen[-12:], *c.err[-12:], sep="\n#   ")
        self.tmp.cleanup()


class Listener:
    """Counts connections, and hands each to a function if there is one."""

    def __init__(self, serve=None):
        self.s = socket.create_server(("127.0.0.1", 0))
        self.port, self.n, self.serve = self.s.getsockname()[1], 0, serve
        self.t = threading.Thread(target=self.run, daemon=True)
        self.t.start()

    def run(self):
        with contextlib.suppress(OSError):
            while True:
                c, _ = self.s.accept()
                self.n += 1
                if self.serve:
                    with contextlib.suppress(OSError, ssl.SSLError):
                        self.serve(c)
                c.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.s.shutdown(socket.SHUT_RDWR)
        self.s.close()
        self.t.join(WAIT_S)


def tls_server(place, alpn, got, certs="certs", maximum=ssl.TLSVersion.TLSv1_3):
    """Serves TLS and keeps every decrypted byte in got."""
    ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ctx.load_cert_chain(f"{place.dir}/{certs}/server.pem", f"{place.dir}/{certs}/server-key.pem")
    ctx.maximum_version = maximum
    if alpn:
        ctx.set_alpn_protocols(alpn)

    def serve(c):
        c.settimeout(WAIT_S)
        with ctx.wrap_socket(c, server_side=True) as s:
            got.append(b"")
            while data := s.recv(65536):
                got[-1] += data

    return Listener(serve)


def test_a_request_goes_and_comes():
    with Place() as pl:
        peer = pl.peer()
        e = pl.edge(peer.port)
        assert e.ready == "ready cloud"
        e.release(1, max_bytes=1000)
        e.data(1, "E", 700)
        assert peer.wait("request") == (
            "request POST /v1/chat/completions peer=waypost-uplink ledger=1 type=application/json "
            "accept=text/event-stream agent=waypost/0.1.0 key=" + "01" * 16 + " length=- expect=-")
        peer.wait("body 700")
        e.wait("data 1 700")  # the answer flows while the body is still open
        e.data(1, "E", 300)
        e.send("end 1")
        assert e.closed(1) == (OK, 1000, 1000, "")
        e.release(2, mode=HIDDEN)
        e.data(2, "E", 5)
        e.send("end 2")
        assert "POST /waypost/v1/split" in (line := peer.wait("request")), line
        assert "type=application/waypost-frames accept=application/waypost-frames" in line
        assert e.closed(2)[:3] == (OK, 5, 5)
        lines = e.finish()
        assert [l for l in lines if l.startswith("head")] == ["head 1 200", "head 2 200"]
        assert lines.index("head 1 200") < lines.index("data 1 700")
        link = [l for l in lines if l.startswith("link")][0].split()
        assert link[1:3] == ["cloud", "up"] and 0 < int(link[3]) < 1000000
        r = pl.records()
        assert [x["kind"] for x in r] == ["release", "close"] * 2
        assert r[0]["rule"] == "r1" and r[0]["mode"] == "prompt" and r[2]["mode"] == "hidden"
        assert r[0]["classes"] == ["public.0"] and r[0]["policy"] == "ab" * 32
        assert r[0]["target"] == "cloud" and r[0]["max_bytes"] == 1000
        assert (r[1]["bytes_out"], r[1]["bytes_in"], r[1]["result"]) == (1000, 1000, "ok")
        v = pl.verify()
        assert any(f"head={v['head']}" in l for l in e.err), "the head is in the log at the end"


def test_no_release_no_connection():
    """Bytes, ends and cancels without a release; releases that say too little; and nothing connects."""
    with Place() as pl:
        li = Listener()
        e = pl.edge(li.port)
        e.data(7, "E", 100)
        e.send("end 7")
        e.send("cancel 7")
        e.release(1, target="elsewhere")
        assert e.closed(1)[0] == NOTFOUND
        e.release(2, classes=0)
        assert e.closed(2)[0] == PERM
        e.release(3, rule="")
        assert e.closed(3)[0] == PERM
        e.release(4, max_bytes=0)
        assert e.closed(4)[0] == PERM
        e.finish()
        li.close()
        assert li.n == 0 and pl.records() == []


def test_an_unwritable_ledger_stops_everything():
    with Place() as pl:
        li = Listener()
        e = pl.edge(li.port)
        os.rename(pl.ledger, pl.ledger + ".1")
        e.release(1)
        e.data(1, "E", 100)
        code, out, _, text = e.closed(1)
        assert (code, out) == (IO, 0) and "ledger" in text
        os.rename(pl.ledger + ".1", pl.ledger)
        e.release(2)
        assert e.closed(2)[0] == IO, "one failure is for good"
        e.finish()
        li.close()
        assert li.n == 0 and pl.records() == []


def test_a_ledger_that_breaks_stops_what_is_under_way():
    with Place() as pl:
        peer = pl.peer()
        e = pl.edge(peer.port)
        for id in (1, 2):
            e.release(id)
            e.data(id, "S", 1000)
            peer.wait("body 1000")
        os.rename(pl.ledger, pl.ledger + ".moved")
        e.release(3)
        e.data(1, "S", 1000)
        got = [e.wait("closed").split()[1:3] for _ in range(3)]
        assert sorted(got) == [[str(id), str(IO)] for id in (1, 2, 3)], got
        for _ in range(2):
            assert peer.wait("close") == "close 8 1000", "not a byte more"
        e.finish()


def test_the_ledger_is_flushed_before_the_connection():
    """strace: the release is written and synced before the first connect()."""
    with Place() as pl:
        trace = f"{pl.dir}/trace"
        args = ["strace", "-f", "-o", trace, "-e", "trace=write,fdatasync,connect", "-s", "100"]
        if not shutil.which("strace") or subprocess.run([*args, "true"], capture_output=True).returncode != 0:
            print("# no strace here: only the peer's own look at the ledger tells")
            return
        peer = pl.peer()
        e = Lines([*args, DRIVE, UPLINK, "--ipc-fd", "3", "--config", pl.config(peer.port)])
        pl.children.append(e)
        e.wait("ready")
        e.send(f"release 1 1 cloud 1 100 20000 1 r1")
        e.send("data 1 E 5")
        e.send("end 1")
        e.wait("closed 1 0 5 5")
        e.p.stdin.close()
        e.drain()
        calls = open(trace).read().splitlines()
        w = next(i for i, l in enumerate(calls) if "write(" in l and '{\\"v\\":1' in l)
        f = next(i for i, l in enumerate(calls) if i > w and "fdatasync(" in l)
        c = next(i for i, l in enumerate(calls) if "sin_port=htons(%d)" % peer.port in l)
        assert w < f < c, (w, f, c)


def test_a_server_without_http2_gets_no_byte():
    for alpn in (None, ["http/1.1"]):
        with Place() as pl:
            got = []
            li = tls_server(pl, alpn, got)
            e = pl.edge(li.port)
            e.release(1)
            e.data(1, "E", 5000)
            e.send("end 1")
            code, out, _, _ = e.closed(1)
            e.finish()
            li.close()
            assert (code, out) == (PROTO, 0), code
            assert b"".join(got) == b"", "not even a header"
            assert pl.records()[1]["bytes_out"] == 0


def test_tls12_is_refused():
    with Place() as pl:
        got = []
        li = tls_server(pl, ["h2"], got, maximum=ssl.TLSVersion.TLSv1_2)
        e = pl.edge(li.port)
        e.release(1)
        e.data(1, "E", 5)
        assert e.closed(1)[:2] == (PERM, 0)
        e.finish()
        li.close()
        assert b"".join(got) == b""


def refused(pl, port, want, **k):
    e = pl.edge(port, **k)
    e.release(1)
    e.data(1, "E", 500)
    e.send("end 1")
    code, out, _, text = e.closed(1)
    lines = e.finish()
    assert (code, out) == (PERM, 0), (code, text)
    assert want in text, text
    assert "link cloud down 0" in lines
    pl.verify()


def test_the_server_must_be_the_pinned_one():
    with Place() as pl:
        made = pl.certs("others")
        peer = pl.peer()
        refused(pl, peer.port, "certificate", ca="others")
        refused(pl, peer.port, "pinned", more="pin=" + made["server"]["pin"])
        good = pl.certs("certs", "--force")  # new keys: the peer still has the old ones
        refused(pl, peer.port, "certificate")
        peer2 = pl.peer()
        e = pl.edge(peer2.port, more=f"pin={good['server']['pin']} crl={pl.dir}/certs/crl.pem")
        e.release(2)
        e.data(2, "E", 5)
        e.send("end 2")
        assert e.closed(2)[0] == OK
        e.finish()


def test_expired_and_revoked_servers_are_refused():
    with Place("--expired", "server") as pl:
        refused(pl, pl.peer().port, "expired")
    with Place("--revoke", "server") as pl:
        refused(pl, pl.peer().port, "revoked", more=f"crl={pl.dir}/certs/crl.pem")


def test_a_refused_client_certificate_is_told():
    """In TLS 1.3 this comes after the handshake; it must not look like a lost link."""
    with Place("--expired", "uplink") as pl:
        peer = pl.peer()
        e = pl.edge(peer.port)
        e.release(1)
        e.data(1, "E", 5)
        code, _, _, text = e.closed(1)
        # The server closes with our first frames unread: its kernel may then drop the alert.
        assert (code == PERM and "refused the TLS connection" in text) or code == CLOSED, (code, text)
        e.finish()
        assert not any(l.startswith("request") for l in peer.seen)


def test_the_environment_is_ignored():
    with Place() as pl:
        peer, proxy = pl.peer(), Listener()
        url = f"http://127.0.0.1:{proxy.port}"
        keys = f"{pl.dir}/keys"
        env = dict(os.environ, https_proxy=url, HTTPS_PROXY=url, ALL_PROXY=url, all_proxy=url,
                   http_proxy=url, SSLKEYLOGFILE=keys, CURL_CA_BUNDLE="/dev/null",
                   SSL_CERT_FILE="/dev/null", OPENSSL_CONF="/nonexistent")
        e = pl.edge(peer.port, env=env)
        e.release(1)
        e.data(1, "E", 5)
        e.send("end 1")
        assert e.closed(1)[0] == OK
        e.finish()
        proxy.close()
        assert proxy.n == 0 and not os.path.exists(keys)


def test_not_a_byte_over_the_release():
    with Place() as pl:
        peer = pl.peer()
        e = pl.edge(peer.port)
        e.release(1, max_bytes=1000)
        e.data(1, "S", 1000)
        peer.wait("body 1000")
        e.data(1, "S", 1)
        code, out, _, text = e.closed(1)
        assert (code, out) == (PERM, 1000) and "release" in text
        assert peer.wait("close").split()[2] == "1000"
        e.release(2, max_bytes=1000)
        e.data(2, "S", 1001)
        assert e.closed(2)[:2] == (PERM, 0)
        e.data(2, "S", 100)  # late: dropped
        e.finish()
        assert sum(l.startswith("request") for l in peer.seen) == 1
        pl.verify()


def test_cancel_resets_at_once():
    with Place() as pl:
        peer = pl.peer()
        e = pl.edge(peer.port)
        e.release(1)
        e.release(2)
        e.data(1, "S", 10)
        e.data(2, "S", 10)
        peer.wait("body")
        peer.wait("body")
        t = time.monotonic()
        e.send("cancel 1")
        assert e.closed(1)[:2] == (CANCELED, 10)
        assert peer.wait("close").split()[1] != "0"
        assert time.monotonic() - t < 5
        e.data(1, "S", 10)
        e.send("cancel 1")  # both too late, both without effect
        e.data(2, "S", 10)
        peer.wait("body 20")  # the other request and the connection live on
        e.send("cancel 2")
        e.closed(2)
        e.finish()
        pl.verify()
        assert [r["result"] for r in pl.records() if r["kind"] == "close"] == ["canceled"] * 2


def test_hanging_up_closes_everything():
    for how in ("hangup", "term", "garbage", "wrong way"):
        with Place() as pl:
            peer = pl.peer()
            e = pl.edge(peer.port)
            for i in (1, 2, 3):
                e.release(i)
                e.data(i, "S", 10)
            for i in (1, 2, 3):
                peer.wait("body 10")
            if how == "term":
                os.kill(e.uplink_pid, signal.SIGTERM)
            elif how == "garbage":
                e.send("raw 0500000000ffffffffff")
            elif how == "wrong way":
                e.send("raw 05000000" + "00" + "8200040101")  # a CANCEL, then a HEAD as the edge never sends
                e.send("raw 07000000" + "00" + "83000501010200")
            else:
                e.send("hangup")
            lines = e.finish()
            codes = [l.split()[2] for l in lines if l.startswith("closed")]
            assert len(codes) <= 3 and set(codes) <= {str(CANCELED)}, codes
            if how in ("hangup", "term"):
                assert len(codes) == 3
            for _ in range(3):
                peer.wait("close")
            v = pl.verify()
            assert v["records"] == 6 and v["bytes_out"] == 30, v


def test_a_peer_that_dies_ends_each_request_once():
    with Place() as pl:
        peer = pl.peer()
        e = pl.edge(peer.port, extra="link_retry_ms = 200")
        e.release(1)
        e.data(1, "S", 10)
        peer.wait("body 10")
        e.release(2)
        e.data(2, "D", 10)
        ends = {e.wait("closed").split()[1:3][0]: e.seen[-1].split()[2] for _ in range(2)}
        assert ends == {"1": str(CLOSED), "2": str(CLOSED)}, ends
        e.wait("link cloud unknown")  # after a while it may be tried again
        e.release(3)  # nobody listens
        assert e.closed(3)[:2] == (CLOSED, 0)
        lines = e.finish()
        assert "link cloud down 0" in lines
        assert pl.verify()["records"] == 6


def test_a_reset_stream_is_not_a_lost_link():
    with Place() as pl:
        peer = pl.peer()
        e = pl.edge(peer.port)
        e.release(1)
        e.data(1, "R", 10)
        assert e.closed(1)[0] == CANCELED
        e.release(2)
        e.data(2, "E", 10)
        e.send("end 2")
        assert e.closed(2)[0] == OK
        assert not any("down" in l for l in e.finish())


def h2_frames(s):
    """(type, stream) of each frame that a client sends, after its preface."""
    f = s.makefile("rb")
    f.read(24)
    while len(head := f.read(9)) == 9:
        f.read(int.from_bytes(head[:3], "big"))
        yield head[3], int.from_bytes(head[5:], "big")


def test_a_refused_stream_is_not_tried_again_without_its_beginning():
    """A server may refuse a stream (RFC 9113, 8.7) whose body libcurl has begun to read: sent again, it
    would lack that part."""
    with Place() as pl:
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ctx.load_cert_chain(f"{pl.dir}/certs/server.pem", f"{pl.dir}/certs/server-key.pem")
        ctx.set_alpn_protocols(["h2"])
        seen, window_known, body_read = [], threading.Event(), threading.Event()

        def serve(c):
            c.settimeout(WAIT_S)
            with ctx.wrap_socket(c, server_side=True) as s:
                seen.append([])
                window = 0 if len(seen) == 1 else 1 << 20
                s.sendall(bytes.fromhex("000006040000000000" "0004") + window.to_bytes(4, "big"))
                for kind, stream in h2_frames(s):
                    seen[-1].append(kind)
                    if len(seen) == 1 and seen[-1].count(4) == 2:  # its own settings, and that it has ours
                        window_known.set()
                        body_read.wait(WAIT_S)
                        s.sendall(bytes.fromhex("000004030000000001" "00000007"))

        li = Listener(serve)
        e = pl.edge(li.port)
        e.release(1)
        assert window_known.wait(WAIT_S)
        e.data(1, "E", 200000)
        e.send("end 1")
        time.sleep(0.3)  # for libcurl to read some of it, which no window lets go
        body_read.set()
        code, _, _, text = e.closed(1)
        e.finish()
        li.close()
        assert code == CLOSED and "refused" in text, (code, text)
        assert not any(0 in frames for frames in seen), "no part of the body without the first"


def test_an_answer_that_ends_before_the_question():
    """The split session ends so: the last frame is the cloud's, and the edge ends its side after it."""
    with Place() as pl:
        peer = pl.peer()
        e = pl.edge(peer.port)
        e.release(1)
        e.data(1, "Y", 10)  # the whole answer comes at once
        e.wait("data 1 5")
        e.send("end 1")
        assert e.closed(1) == (OK, 10, 5, "")
        e.release(2)
        e.data(2, "Z", 10)
        e.wait("data 2 10")
        e.data(2, "Z", 20)  # the last bytes and the end come together
        e.wait("data 2 20")
        e.send("end 2")
        assert e.closed(2) == (OK, 30, 30, "")
        e.finish()
        pl.verify()


def test_deadlines_are_kept():
    with Place() as pl:
        black_hole = Listener(lambda c: c.recv(1 << 20) and time.sleep(3))
        e = pl.edge(black_hole.port, extra="connect_deadline_ms = 300")
        t = time.monotonic()
        e.release(1)
        e.data(1, "E", 10)
        assert e.closed(1)[:2] == (TIMEOUT, 0)
        assert 0.2 < time.monotonic() - t < 10
        assert "link cloud down 0" in e.finish()
        black_hole.close()
    with Place() as pl:
        peer = pl.peer()
        e = pl.edge(peer.port)
        e.release(1, deadline_ms=400)
        e.data(1, "S", 10)
        assert e.closed(1)[:2] == (TIMEOUT, 10)
        assert peer.wait("close").split()[1] != "0"
        assert not any("down" in l for l in e.finish()), "a slow answer is no broken link"


def test_limits():
    with Place() as pl:
        peer = pl.peer()
        e = pl.edge(peer.port, extra="max_requests = 2\nanswer_bytes = 100000")
        e.release(1)
        e.release(2)
        e.release(3)
        assert e.closed(3)[0] == BUSY
        e.release(1, decision=9)  # an id that is open: ignored, the first goes on
        e.data(1, "B", 1)
        code, _, into, _ = e.closed(1)
        assert code == LIMIT and into < 200000
        e.data(2, "E", 5)
        e.send("end 2")
        assert e.closed(2)[0] == OK
        e.finish()
        assert len(pl.records()) == 4
        pl.verify()


def test_an_edge_that_does_not_read_bounds_the_answer():
    """The answer is endless; the edge reads nothing for a while. The uplink holds the server back."""
    with Place() as pl:
        peer = pl.peer()
        e = pl.edge(peer.port)
        e.release(1)
        e.data(1, "B", 1)
        e.wait("data 1")
        e.send("stall 1500")
        time.sleep(1.2)
        rss = int(next(l for l in open(f"/proc/{e.uplink_pid}/status") if l.startswith("VmRSS")).split()[1])
        sanitized = "asan" in subprocess.run(["ldd", UPLINK], capture_output=True, text=True).stdout
        assert rss < 150000 or sanitized, f"{rss} kB"
        e.send("cancel 1")
        assert e.wait("closed 1").split()[2] == str(CANCELED)
        e.finish()
        pl.verify()


def test_preconnect_only_where_configured():
    with Place() as pl:
        li = Listener()
        e = pl.edge(li.port)
        time.sleep(0.3)
        e.finish()
        li.close()
        assert li.n == 0
    with Place() as pl:
        peer = pl.peer()
        relay_n = []

        def relay(c):
            relay_n.append(1)
            up = socket.create_connection(("127.0.0.1", peer.port))

            def pump(a, b):
                with contextlib.suppress(OSError):
                    while d := a.recv(65536):
                        b.sendall(d)
                    b.shutdown(socket.SHUT_WR)
            t = threading.Thread(target=pump, args=(up, c), daemon=True)
            t.start()
            pump(c, up)
            t.join(WAIT_S)
        li = Listener(relay)
        e = pl.edge(li.port, extra="preconnect = cloud")
        e.wait("link cloud up")
        assert not any(l.startswith("request") for l in peer.seen)
        assert pl.records() == []
        e.release(1)
        e.data(1, "E", 5)
        e.send("end 1")
        assert e.closed(1)[0] == OK
        peer.wait("request")
        e.finish()
        li.close()
        assert len(relay_n) == 1, "the request used the connection that was there"


def test_an_idle_connection_is_closed():
    with Place() as pl:
        gone = threading.Event()
        peer = pl.peer()

        def relay(c):
            up = socket.create_connection(("127.0.0.1", peer.port))
            threading.Thread(target=lambda: [c.sendall(d) for d in iter(lambda: up.recv(65536), b"")],
                             daemon=True).start()
            while d := c.recv(65536):
                up.sendall(d)
            gone.set()
        li = Listener(relay)
        e = pl.edge(li.port, extra="idle_close_ms = 200")
        e.release(1)
        e.data(1, "E", 5)
        e.send("end 1")
        assert e.closed(1)[0] == OK
        assert gone.wait(WAIT_S)
        e.finish()
        li.close()


def test_bad_configurations_say_what_is_wrong():
    with Place() as pl:
        good = pl.config(1)
        c = f"{pl.dir}/certs"
        tail = f"ca={c}/ca.pem cert={c}/uplink.pem key={c}/uplink-key.pem"
        run = lambda *a: subprocess.run([UPLINK, *a], capture_output=True, text=True)
        assert run("--config", good, "--check-config").returncode == 0
        assert "waypost-edge starts" in run("--config", good).stderr
        os.chmod(f"{c}/tool-key.pem", 0o640)
        for text, want in (
                ("", "target"),
                (f"target = name=a url=http://x:1 {tail}", "https"),
                (f"target = name=a url=https://x:1/path {tail}", "https"),
                (f"target = name=a url=https://u@x:1 {tail}", "https"),
                (f"target = name=a url=https://x:1 {tail} pin=sha256//abc", "pin"),
                (f"target = name=a url=https://x:1 {tail} pni=x", "pni"),
                (f"target = name=a url=https://x:1 ca={c}/no.pem cert={c}/uplink.pem key={c}/uplink-key.pem",
                 "no.pem"),
                (f"target = name=a url=https://x:1 ca={c}/ca.pem cert={c}/tool.pem key={c}/tool-key.pem",
                 "chmod"),
                (f"target = name=a url=https://x:1 {tail}", "ledger.file"),
                (f"target = name=a url=https://x:1 {tail}\nledger.file = l\npreconnect = b", "'b'"),
                (f"target = name=a url=https://x:1 {tail}\ntarget = name=a url=https://x:2 {tail}", "twice")):
            with open(f"{pl.dir}/bad.conf", "w") as f:
                f.write(text + "\n")
            p = run("--config", f"{pl.dir}/bad.conf", "--check-config")
            assert p.returncode == 2 and want in p.stderr, (text, p.stderr)


def main():
    tests = [(n, f) for n, f in list(globals().items()) if n.startswith("test_")]
    if len(sys.argv) > 1:
        tests = [t for t in tests if sys.argv[1] in t[0]]
    print(f"1..{len(tests)}", flush=True)
    for i, (name, f) in enumerate(tests, 1):
        try:
            f()
            print(f"ok {i} - {name}", flush=True)
        except Exception:
            print("# " + traceback.format_exc().replace("\n", "\n# "))
            print(f"not ok {i} - {name}", flush=True)


main()
