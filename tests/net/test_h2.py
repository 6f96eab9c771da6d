"""The HTTP/2 server, from outside: curl and nghttp as honest clients, hand-written frames as hostile
ones, against tests/net/h2_echo. Certificates are made on the spot with the openssl command."""
import contextlib
import os
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tap  # noqa: E402

ECHO = os.path.abspath(os.path.join(os.environ.get("top_builddir", "build"), "tests/net/h2_echo"))
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONT = range(10)
END_STREAM, END_HEADERS, ACK = 1, 4, 1
NO_ERROR, PROTOCOL_ERROR, FLOW_CONTROL_ERROR, REFUSED, CANCEL, CALM = 0, 1, 3, 7, 8, 11

CA_CONF = """
[ca]
default_ca = d
[d]
dir = .
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
default_days = 30
default_crl_days = 30
policy = p
unique_subject = no
[p]
commonName = supplied
[req]
distinguished_name = dn
prompt = no
[dn]
CN = unused
[server]
basicConstraints = critical,CA:FALSE
subjectAltName = IP:127.0.0.1,DNS:localhost
extendedKeyUsage = serverAuth
[client]
basicConstraints = critical,CA:FALSE
extendedKeyUsage = clientAuth
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
"""


class Pki:
    """A CA in a temporary folder with server and client certificates of every kind."""

    def __init__(self):
        self.tmp = tempfile.TemporaryDirectory()
        self.dir = self.tmp.name
        with open(self["conf"], "w") as f:
            f.write(CA_CONF)
        self.make_ca("ca")
        self.issue("server", "ca", "server")
        self.issue("client", "ca", "client")
        self.issue("expired", "ca", "client", "-startdate", "20200101000000Z", "-enddate",
                   "20200201000000Z")
        self.issue("revoked", "ca", "client")
        self.issue("wrongpurpose", "ca", "server")
        self.make_ca("other")
        self.issue("stranger", "other", "client")

    def __getitem__(self, name):
        return os.path.join(self.dir, name)

    def run(self, *args):
        env = dict(os.environ, OPENSSL_CONF=self["conf"])
        p = subprocess.run(["openssl", *args], cwd=self.dir, env=env, capture_output=True, text=True)
        assert p.returncode == 0, p.stderr

    def key(self, name):
        self.run("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out",
                 name + ".key")
        os.chmod(self[name + ".key"], 0o600)

    def make_ca(self, name):
        open(self["index.txt"], "a").close()
        with open(self["serial"], "w") as f:
            f.write("%04x\n" % (0x1000 if name == "ca" else 0x2000))
        self.key(name)
        self.run("req", "-x509", "-new", "-config", "conf", "-key", name + ".key", "-subj",
                 "/CN=test " + name, "-days", "30", "-extensions", "root", "-out", name + ".pem")

    def issue(self, name, ca, ext, *more):
        self.key(name)
        self.run("req", "-new", "-config", "conf", "-key", name + ".key", "-subj", "/CN=" + name,
                 "-out", "csr")
        self.run("ca", "-batch", "-config", "conf", "-cert", ca + ".pem", "-keyfile", ca + ".key",
                 "-in", "csr", "-notext", "-extensions", ext, "-out", name + ".pem", *more)

    def crl(self, *revoked):
        for name in revoked:
            self.run("ca", "-config", "conf", "-cert", "ca.pem", "-keyfile", "ca.key", "-revoke",
                     name + ".pem")
        self.run("ca", "-config", "conf", "-cert", "ca.pem", "-keyfile", "ca.key", "-gencrl", "-out",
                 "crl.pem")


PKI = Pki()


class Server:
    def __init__(self):
        self.log = tempfile.TemporaryFile()
        self.proc = subprocess.Popen([ECHO, PKI.dir], stdout=subprocess.PIPE, stderr=self.log)
        self.buf = b""
        self.port = int(self.line().split()[1])

    def line(self, timeout=10.0):
        end = time.monotonic() + timeout
        while b"\n" not in self.buf:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.proc.stdout], [], [], left)[0]:
                raise TimeoutError("the server printed nothing")
            more = os.read(self.proc.stdout.fileno(), 4096)
            if not more:
                raise EOFError("the server is gone")
            self.buf += more
        line, self.buf = self.buf.split(b"\n", 1)
        return line.decode()

    def logged(self):
        self.log.seek(0)
        return self.log.read().decode()

    def url(self, path):
        return f"https://127.0.0.1:{self.port}{path}"

    def curl(self, path, *more, client="client", proto="--http2"):
        cmd = ["curl", "-sS", "--max-time", "10", "--noproxy", "*", "--cacert", PKI["ca.pem"], proto]
        if client:
            cmd += ["--cert", PKI[client + ".pem"], "--key", PKI[client + ".key"]]
        return subprocess.run(cmd + list(more) + [self.url(path)], capture_output=True)

    def alive(self):
        p = self.curl("/info")
        assert p.returncode == 0 and b"peer=client" in p.stdout, (p, self.logged())


@contextlib.contextmanager
def server():
    s = Server()
    try:
        yield s
        s.proc.send_signal(signal.SIGTERM)
        rc = s.proc.wait(20)
        assert rc == 0, f"the server ended with {rc}: {s.logged()[-3000:]}"
    except BaseException:
        s.proc.kill()
        s.proc.wait()
        raise
    finally:
        s.proc.stdout.close()
        s.log.close()


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def header_block(path, method=b"\x83", extra=b""):
    return method + b"\x87\x04" + bytes([len(path)]) + path + b"\x01\x01h" + extra


class Peer:
    """A client that speaks raw frames."""

    def __init__(self, srv, settings=b"", client="client", preface=True):
        ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        ctx.load_verify_locations(PKI["ca.pem"])
        ctx.load_cert_chain(PKI[client + ".pem"], PKI[client + ".key"])
        ctx.set_alpn_protocols(["h2"])
        sock = socket.create_connection(("127.0.0.1", srv.port), timeout=10)
        self.s = ctx.wrap_socket(sock, server_hostname="127.0.0.1")
        self.goaway = None
        self.resets = []
        self.buf = b""
        if preface:
            self.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, settings))

    def __enter__(self):
        return self

    def __exit__(self, *a):
        self.s.close()

    def send(self, data):
        self.s.sendall(data)

    def flood(self, data, times):
        """True if the server ended the connection while or after it was sent."""
        try:
            for _ in range(times):
                self.s.settimeout(0.2)
                with contextlib.suppress(TimeoutError, ssl.SSLWantWriteError):
                    self.s.sendall(data)
                if select.select([self.s], [], [], 0)[0] and not self.some():
                    return True
        except (OSError, ssl.SSLError):
            return True
        return self.ended()

    def some(self, timeout=10):
        """Reads and notes frames; False: the connection has ended."""
        self.s.settimeout(timeout)
        try:
            data = self.s.recv(65536)
        except TimeoutError:
            raise
        except (OSError, ssl.SSLError):
            return False
        self.buf += data
        self.note()
        return bool(data)

    def wait_reset(self, stream, code):
        self.note()
        while (stream, code) not in self.resets:
            assert self.some(), "the connection ended"

    def note(self):
        for kind, _, stream, payload in self.frames():
            if kind == GOAWAY:
                self.goaway = struct.unpack(">II", payload[:8])[1]
            elif kind == RST:
                self.resets.append((stream, struct.unpack(">I", payload)[0]))

    def frames(self):
        while len(self.buf) >= 9:
            n = int.from_bytes(self.buf[:3], "big")
            if len(self.buf) < 9 + n:
                return
            head, payload, self.buf = self.buf[:9], self.buf[9:9 + n], self.buf[9 + n:]
            yield head[3], head[4], int.from_bytes(head[5:9], "big"), payload

    def ended(self, timeout=10):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            try:
                if not self.some(max(0.01, end - time.monotonic())):
                    return True
            except TimeoutError:
                return False
        return False

    def read(self, want, stream=1):
        """The next frame of kind want on stream."""
        while True:
            for kind, flags, sid, payload in self.frames():
                if kind == want and sid == stream:
                    return flags, payload
                assert kind not in (GOAWAY, RST), (kind, payload)
            self.s.settimeout(10)
            data = self.s.recv(65536)
            assert data, "the connection ended"
            self.buf += data


def refused(p):
    return p.returncode != 0 and p.stdout == b""


def test_curl_and_nghttp():
    with server() as srv:
        p = srv.curl("/info", "-H", "X-Tag: t1", "-w", "%{http_version} %{http_code}")
        assert p.stdout == b"GET /info peer=client tag=t1 open=1\n2 200", p
        assert srv.line() == "close 0"
        body = os.urandom(50000)
        with tempfile.NamedTemporaryFile() as f:
            f.write(body * 4)
            f.flush()
            p = srv.curl("/echo", "--data-binary", "@" + f.name)
            assert p.stdout == body * 4, (len(p.stdout), p.stderr)
            assert srv.line() == "close 0"
            if shutil.which("nghttp"):
                p = subprocess.run(["nghttp", "--cert", PKI["client.pem"], "--key", PKI["client.key"],
                                    "-d", f.name, srv.url("/echo")], capture_output=True, timeout=20)
                assert p.stdout == body * 4, (len(p.stdout), p.stderr)
                assert srv.line() == "close 0"
        p = srv.curl("/info", "--head")
        assert p.returncode == 0 and p.stdout.startswith(b"HTTP/2 200"), p
        assert srv.line() == "close 0"
        p = srv.curl("/nothing", "-w", "%{http_code}")
        assert p.stdout == b"404", p


def test_clients_without_a_good_certificate_are_refused():
    with server() as srv:
        assert refused(srv.curl("/info", client=None))
        for name in "stranger", "expired", "wrongpurpose":
            assert refused(srv.curl("/info", client=name)), name
        if shutil.which("nghttp"):
            p = subprocess.run(["nghttp", srv.url("/info")], capture_output=True, timeout=20)
            assert b"peer=" not in p.stdout
        assert not srv.buf and srv.logged().count("handshake failed") >= 4, srv.logged()
        srv.alive()


def test_revoked_client_is_refused():
    try:
        PKI.crl("revoked")
        with server() as srv:
            assert refused(srv.curl("/info", client="revoked"))
            srv.alive()
    finally:
        os.unlink(PKI["crl.pem"])
    with server() as srv:  # the control: without the list it passes
        assert srv.curl("/info", client="revoked").returncode == 0


def test_old_tls_and_other_protocols_are_refused():
    with server() as srv:
        assert refused(srv.curl("/info", "--tls-max", "1.2"))
        assert refused(srv.curl("/info", proto="--http1.1"))
        assert refused(srv.curl("/info", "--no-alpn"))
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", srv.port)) as s:
            s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"HTTP" not in s.recv(1000)
        srv.alive()


def test_no_tickets():
    with server() as srv, Peer(srv) as p:
        p.send(frame(HEADERS, END_STREAM | END_HEADERS, 1, header_block(b"/info")))
        p.read(DATA)
        assert p.s.session is None or not p.s.session.has_ticket


def test_key_file_must_be_private():
    os.chmod(PKI["server.key"], 0o640)
    try:
        p = subprocess.run([ECHO, PKI.dir], capture_output=True, text=True, timeout=10)
        assert p.returncode == 2 and "0640" in p.stderr and "0600" in p.stderr, p.stderr
    finally:
        os.chmod(PKI["server.key"], 0o600)


def broken(name, content):
    """The server's complaint when file name holds content."""
    with open(PKI[name]) as f:
        good = f.read()
    try:
        with open(PKI[name], "w") as f:
            f.write(content)
        p = subprocess.run([ECHO, PKI.dir], capture_output=True, text=True, timeout=10)
        assert p.returncode == 2 and name in p.stderr, p.stderr
        return p.stderr
    finally:
        with open(PKI[name], "w") as f:
            f.write(good)


def test_bad_files_are_named():
    for name in "server.pem", "server.key", "ca.pem":
        broken(name, "nothing\n")
    with open(PKI["client.key"]) as f:
        assert "does not fit" in broken("server.key", f.read())


def test_full_duplex():
    with server() as srv, Peer(srv) as p:
        p.send(frame(HEADERS, END_HEADERS, 1, header_block(b"/echo")))
        p.read(HEADERS)
        for i in range(200):
            word = b"turn %d" % i
            p.send(frame(DATA, 0, 1, word))
            assert p.read(DATA)[1] == word
        p.send(frame(DATA, END_STREAM, 1, b"last"))
        flags, payload = p.read(DATA)
        while not flags & END_STREAM:
            flags, more = p.read(DATA)
            payload += more
        assert payload == b"last"
        assert srv.line() == "close 0"


def test_streams_are_independent_and_limited():
    with server() as srv, Peer(srv) as p:
        for i in range(8):
            p.send(frame(HEADERS, END_HEADERS, 2 * i + 1, header_block(b"/work")))
        p.send(frame(HEADERS, END_HEADERS | END_STREAM, 17, header_block(b"/info")))
        p.wait_reset(17, REFUSED)
        p.send(frame(RST, 0, 1, struct.pack(">I", CANCEL)))
        assert srv.line() == f"close {CANCEL}"
        p.send(frame(HEADERS, END_HEADERS | END_STREAM, 19, header_block(b"/info")))
        assert b"open=8" in p.read(DATA, 19)[1]


def test_connections_are_limited():
    with server() as srv:
        held = [Peer(srv) for _ in range(16)]
        for p in held:
            p.send(frame(HEADERS, END_HEADERS, 1, header_block(b"/work")) + frame(PING, 0, 0, b"8" * 8))
            p.read(PING, 0)
        assert refused(srv.curl("/info"))
        for p in held:
            p.s.close()
        for _ in held:
            assert srv.line() == f"close {CANCEL}"
        srv.alive()


def test_lost_connection_closes_its_streams():
    with server() as srv:
        p = Peer(srv)
        p.send(frame(HEADERS, END_HEADERS, 1, header_block(b"/work")) +
               frame(HEADERS, END_HEADERS, 3, header_block(b"/work")) + frame(PING, 0, 0, b"8" * 8))
        p.read(PING, 0)
        p.s.close()
        start = time.monotonic()
        assert srv.line() == f"close {CANCEL}" and srv.line() == f"close {CANCEL}"
        assert time.monotonic() - start < 1


def test_early_answer_and_reset():
    with server() as srv, Peer(srv) as p:
        p.send(frame(HEADERS, END_HEADERS, 1, header_block(b"/early")) + frame(DATA, 0, 1, b"x" * 100))
        assert p.read(DATA)[1] == b"early\n"
        p.wait_reset(1, NO_ERROR)
        assert srv.line() == "close 0"
        p.send(frame(HEADERS, END_HEADERS, 3, header_block(b"/reset")))
        p.wait_reset(3, CANCEL)
        assert srv.line() == f"close {CANCEL}"


def test_headers_over_the_limit_get_431():
    with server() as srv:
        p = srv.curl("/info", "-H", "X-Long: " + "a" * 5000, "-w", "%{http_code}")
        assert p.stdout == b"431", p
        many = [a for i in range(60) for a in ("-H", f"X-{i}: a")]
        p = srv.curl("/info", *many, "-w", "%{http_code}")
        assert p.stdout == b"431", p
        assert not srv.buf
        srv.alive()


def hostile(send, code=CALM, settings=b""):
    """send(peer) attacks: the server must end the connection, say why, and serve the next one."""
    with server() as srv:
        with Peer(srv, settings) as p:
            assert send(p), "the connection is still open"
            assert p.goaway in (None, code), p.goaway
            said = p.goaway
        srv.alive()
        assert "connection ended" in srv.logged(), srv.logged()
        return said


def test_rapid_reset():
    def attack(p):
        sid = 1
        try:
            for _ in range(200):
                block = b""
                for _ in range(20):
                    block += frame(HEADERS, END_HEADERS, sid, header_block(b"/work"))
                    block += frame(RST, 0, sid, struct.pack(">I", CANCEL))
                    sid += 2
                p.send(block)
        except (OSError, ssl.SSLError):
            return True
        return p.ended()

    hostile(attack)


def test_ping_flood():
    hostile(lambda p: p.flood(frame(PING, 0, 0, b"12345678") * 100, 100))


def test_settings_flood():
    hostile(lambda p: p.flood(frame(SETTINGS) * 100, 100))


def test_priority_flood():
    hostile(lambda p: p.flood(frame(PRIORITY, 0, 1, struct.pack(">IB", 0, 1)) * 100, 100))


def test_window_update_flood():
    hostile(lambda p: p.flood(frame(WINDOW, 0, 0, struct.pack(">I", 1)) * 500, 100))


def test_unknown_frames_are_ignored():
    with server() as srv, Peer(srv) as p:
        p.send(frame(0xbb, 0, 0, b"") * 20000 + frame(0xbb, 7, 3, b"x" * 16384) * 100)
        p.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, header_block(b"/info")))
        assert b"peer=client" in p.read(DATA)[1]


def test_empty_data_flood():
    def attack(p):
        p.send(frame(HEADERS, END_HEADERS, 1, header_block(b"/work")))
        return p.flood(frame(DATA, 0, 1) * 100, 100)

    hostile(attack)


def test_padded_empty_data_flood():
    def attack(p):
        p.send(frame(HEADERS, END_HEADERS, 1, header_block(b"/work")))
        return p.flood(frame(DATA, 8, 1, b"\x03\0\0\0") * 100, 100)

    hostile(attack)


def test_header_bomb_by_continuation():
    block = literal(b"x-a", b"v" * 100)

    def attack(p):
        p.send(frame(HEADERS, 0, 1, header_block(b"/info")))
        return p.flood(frame(CONT, 0, 1, block * 100), 1000)

    hostile(attack)


def test_empty_continuation_flood():
    def attack(p):
        p.send(frame(HEADERS, 0, 1, header_block(b"/info")))
        return p.flood(frame(CONT, 0, 1) * 100, 100)

    hostile(attack)


def test_hpack_bomb():
    """One big entry in the dynamic table, then one byte for each copy of it."""
    entry = b"\x40\x01a" + b"\x7f" + b"\xf9\x1c" + b"v" * 3832  # 127 + 0x79 + (0x1c << 7) = 3832

    def attack(p):
        block = header_block(b"/info", extra=entry) + b"\xbe" * 12000
        return p.flood(frame(HEADERS, END_HEADERS, 1, block), 1)

    hostile(attack)


def reset_flood(make):
    """MadeYouReset: each stream is made to be reset by the server."""
    def attack(p):
        sid = 1
        try:
            for _ in range(400):
                p.send(frame(HEADERS, END_HEADERS, sid, header_block(b"/work")) + make(sid))
                sid += 2
        except (OSError, ssl.SSLError):
            return True
        return p.ended()

    hostile(attack)


def test_made_you_reset_by_window_overflow():
    reset_flood(lambda sid: frame(WINDOW, 0, sid, struct.pack(">I", 0x7fffffff)))


def test_made_you_reset_by_content_length():
    def attack(p):
        sid = 1
        try:
            for _ in range(400):
                extra = literal(b"content-length", b"1")
                p.send(frame(HEADERS, END_HEADERS, sid, header_block(b"/work", extra=extra)) +
                       frame(DATA, 0, sid, b"too long"))
                sid += 2
        except (OSError, ssl.SSLError):
            return True
        return p.ended()

    hostile(attack)


def test_zero_window_is_dropped():
    """A peer that asks for much and opens no window loses its stream, and memory stays bounded."""
    settings = struct.pack(">HI", 4, 0)
    with server() as srv, Peer(srv, settings) as p:
        start = time.monotonic()
        p.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, header_block(b"/flood")))
        p.wait_reset(1, CANCEL)
        assert 0.5 < time.monotonic() - start < 5
        assert srv.line() == f"close {CANCEL}"
        p.send(frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535)))
        p.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, header_block(b"/info")))
        assert b"peer=client" in p.read(DATA, 3)[1]


def test_drip_window_is_dropped():
    """One byte of window now and then is no progress."""
    with server() as srv, Peer(srv, struct.pack(">HI", 4, 0)) as p:
        p.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, header_block(b"/flood")))
        for _ in range(100):
            p.send(frame(WINDOW, 0, 1, struct.pack(">I", 1)))
            time.sleep(0.05)
            assert p.some()
            if (1, CANCEL) in p.resets:
                return
        raise AssertionError("the stream still lives")


def test_peer_that_does_not_read_is_dropped():
    with server() as srv:
        big = struct.pack(">HI", 4, 0x7fffffff)
        with Peer(srv, big) as p:
            p.send(frame(WINDOW, 0, 0, struct.pack(">I", 0x7fff0000)))
            p.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, header_block(b"/flood")))
            assert srv.line() == f"close {CANCEL}"
            rss = open(f"/proc/{srv.proc.pid}/statm").read().split()[1]
            assert int(rss) * 4096 < 500 << 20
        srv.alive()


def test_flow_goes_on_after_a_full_queue():
    """/flood fills its queue over and over as the peer takes it."""
    with server() as srv, Peer(srv) as p:
        p.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, header_block(b"/flood")))
        got = 0
        while got < 2 << 20:
            n = len(p.read(DATA)[1])
            got += n
            if n:
                more = struct.pack(">I", n)
                p.send(frame(WINDOW, 0, 0, more) + frame(WINDOW, 0, 1, more))


def test_header_deadline():
    with server() as srv:
        # no TLS at all, TLS and nothing, and half a header block
        s = socket.create_connection(("127.0.0.1", srv.port), timeout=10)
        with Peer(srv, preface=False) as quiet, Peer(srv) as half, s:
            half.send(frame(HEADERS, 0, 1, header_block(b"/info")))
            start = time.monotonic()
            assert s.recv(1) == b"" and quiet.ended() and half.ended()
            assert 0.5 < time.monotonic() - start < 5
        srv.alive()


def test_idle_connection_is_closed():
    with server() as srv, Peer(srv) as p:
        p.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, header_block(b"/info")))
        assert p.ended() and p.goaway == NO_ERROR


def test_request_without_progress_is_dropped():
    with server() as srv, Peer(srv) as p:
        p.send(frame(HEADERS, END_HEADERS, 1, header_block(b"/echo")) + frame(DATA, 0, 1, b"x"))
        p.wait_reset(1, CANCEL)


def test_garbage():
    import random
    rnd = random.Random(5)
    with server() as srv:
        for i in range(60):
            with Peer(srv, preface=i % 3 != 0) as p:
                raw = b""
                for _ in range(rnd.randrange(1, 12)):
                    n = rnd.choice([0, 1, 4, 5, 6, 8, 9, 40])
                    payload = bytes(rnd.randrange(256) for _ in range(n))
                    if rnd.random() < 0.3:
                        payload = header_block(rnd.choice([b"/echo", b"/work", b"/info", b"/flood"]))
                    raw += frame(rnd.randrange(12), rnd.randrange(256), rnd.choice([0, 1, 1, 3, 5]),
                                 payload)
                with contextlib.suppress(OSError, ssl.SSLError):
                    p.send(raw)
                    p.s.settimeout(0.02)
                    p.s.recv(4096)
        srv.alive()


def test_stop_with_open_streams():
    with server() as srv:
        p, q = Peer(srv), Peer(srv)
        for x in p, q:
            x.send(frame(HEADERS, END_HEADERS, 1, header_block(b"/work")) + frame(PING, 0, 0, b"8" * 8))
            x.read(PING, 0)
        srv.proc.send_signal(signal.SIGTERM)
        assert srv.proc.wait(10) == 0
        p.s.close()
        q.s.close()


if __name__ == "__main__":
    for tool in "openssl", "curl":
        if not shutil.which(tool):
            sys.exit(f"{tool} is needed")
    tap.run(globals())
