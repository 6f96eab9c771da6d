"""The local HTTP server, from outside: raw sockets against tests/net/http_echo."""
import contextlib
import http.client
import json
import os
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import tap  # noqa: E402

ECHO = os.path.join(os.environ.get("top_builddir", "build"), "tests/net/http_echo")


class Server:
    def __init__(self, *args):
        self.dir = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.dir.name, "api.sock")
        self.proc = subprocess.Popen([ECHO, self.path, *args], stdout=subprocess.PIPE)
        self.buf = b""
        self.port = int(self.line().split()[1])

    def line(self, timeout=5.0):
        """The next line that the server printed."""
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

    def tcp(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)

    def unix(self):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(5)
        s.connect(self.path)
        return s

    def stop(self):
        self.proc.send_signal(signal.SIGTERM)
        rc = self.proc.wait(10)
        self.proc.stdout.close()
        gone = not os.path.exists(self.path)
        self.dir.cleanup()
        assert rc == 0, f"the server ended with {rc}"
        assert gone, "the socket file was left behind"


@contextlib.contextmanager
def server(*args):
    s = Server(*args)
    try:
        yield s
    except BaseException:
        s.proc.kill()
        s.proc.wait()
        raise
    s.stop()


def get(path="/echo", extra="", host="localhost", method="GET"):
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{extra}\r\n".encode()


def read_all(s):
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := s.recv(65536):
            data += chunk
    return data


def read_reply(s, method="GET"):
    r = http.client.HTTPResponse(s, method=method)
    r.begin()
    return r, r.read()


def ask(s, raw, method="GET"):
    s.sendall(raw)
    return read_reply(s, method)


def error_of(s, raw):
    """Sends raw; the status and JSON error code, and the connection must end."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        s.sendall(raw)
    r, body = read_reply(s)
    assert r.getheader("Content-Type") == "application/json", r.getheaders()
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert read_all(s) == b""
    return r.status, error["code"]


def alive(srv):
    with srv.tcp() as s:
        assert ask(s, get())[0].status == 200


def test_normal_and_keep_alive():
    with server() as srv, srv.tcp() as s:
        for i in range(3):
            r, body = ask(s, get(f"/echo?q={i}", "X-Tag: t\r\n"))
            assert r.status == 200 and r.getheader("X-Echo") == "yes"
            assert r.getheader("Injected") is None and r.getheader("X-Bad") is None
            assert body == b"GET /echo unix=0 uid=-1 tag=t jobs=0 len=0\n", body
        r, body = ask(s, get(extra="Content-Length: 5\r\n", method="POST") + b"hello")
        assert body.endswith(b"len=5\nhello"), body
        chunked = b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
        r, body = ask(s, get(extra="Transfer-Encoding: chunked\r\n", method="POST") + chunked)
        assert body.endswith(b"len=5\nabcde"), body
        r, body = ask(s, get(extra="Connection: close\r\n"))
        assert r.status == 200 and read_all(s) == b""


def test_unix_socket_and_uid():
    with server() as srv:
        assert stat.S_IMODE(os.stat(srv.path).st_mode) == 0o660
        with srv.unix() as s:
            r, body = ask(s, get(host="anything"))
            assert f"unix=1 uid={os.getuid()} ".encode() in body, body


def test_unix_socket_path_is_checked():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "x.sock")
        for bad in "", "/" + "x" * 200:
            p = subprocess.run([ECHO, bad], capture_output=True, text=True, timeout=10)
            assert p.returncode == 2 and "path" in p.stderr, p.stderr
        with open(path, "w") as f:
            f.write("not a socket")
        p = subprocess.run([ECHO, path], capture_output=True, text=True, timeout=10)
        assert p.returncode == 2 and "not a socket" in p.stderr, p.stderr
        assert os.path.exists(path)
        os.unlink(path)
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(path)
        p = subprocess.Popen([ECHO, path], stdout=subprocess.PIPE)
        assert p.stdout.readline().startswith(b"port ")
        q = subprocess.run([ECHO, path], capture_output=True, text=True, timeout=10)
        assert q.returncode == 2 and "another process" in q.stderr, q.stderr
        p.terminate()
        assert p.wait(10) == 0
        p.stdout.close()


def test_only_loopback_is_bound():
    p = subprocess.run([ECHO, "/nonexistent/x", "0.0.0.0"], capture_output=True, text=True,
                       timeout=10)
    assert p.returncode == 2 and "127.0.0.1 and ::1 only" in p.stderr, p.stderr


def test_head_and_other_methods_reach_the_handler():
    with server() as srv, srv.tcp() as s:
        r, body = ask(s, get(method="HEAD"), "HEAD")
        assert r.status == 200 and body == b"" and int(r.getheader("Content-Length")) > 0
        for m in "OPTIONS", "DELETE", "PATCH", "PUT":
            r, body = ask(s, get(method=m))
            assert body.startswith(m.encode()), body


def test_disconnect_during_work_is_seen():
    with server() as srv:
        for connect in srv.tcp, srv.unix:
            s = connect()
            s.sendall(get("/work"))
            assert srv.line() == "work"
            start = time.monotonic()
            s.close()
            assert srv.line() == "gone"
            assert time.monotonic() - start < 1.0
        alive(srv)


def test_disconnect_during_stream_is_seen():
    with server() as srv:
        s = srv.tcp()
        s.sendall(get("/stream"))
        assert b"200" in s.recv(4096)
        s.close()
        assert srv.line() == "gone"


def test_bytes_during_work_do_no_harm():
    with server() as srv:
        for extra in b"x", b"\r\n", b"y" * 100000:
            with srv.tcp() as s:
                s.sendall(get("/work"))
                assert srv.line() == "work"
                s.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    s.send(extra)
                s.setblocking(True)
                time.sleep(0.05)
                alive(srv)
            if len(extra) < 16384:
                assert srv.line() == "gone"


def test_pushing_during_stream_is_bounded():
    """What a client sends while it gets a stream is not read into memory without end."""
    with server() as srv, srv.tcp() as s:
        s.sendall(get("/work"))
        assert srv.line() == "work"
        s.settimeout(0.3)
        sent = 0
        with contextlib.suppress(TimeoutError, BlockingIOError):
            while sent < 64 << 20:
                sent += s.send(b"z" * 65536)
        assert sent < 64 << 20, "the server took it all"


def test_pipelining():
    with server() as srv, srv.tcp() as s:
        s.sendall(get("/slow") + get("/stream") + get("/echo", "X-Tag: third\r\n"))
        f = s.makefile("rb")
        data = b""
        while b"tag=third" not in data:
            more = f.read1(65536)
            assert more, data
            data += more
        order = [data.index(x) for x in (b"slow\n", b"piece 5", b"piece 1", b"tag=third")]
        assert order == sorted(order), data
        f.close()


def test_stream_is_chunked_and_ends():
    with server() as srv, srv.tcp() as s:
        r, body = ask(s, get("/stream"))
        assert r.getheader("Transfer-Encoding") == "chunked"
        assert body == b"".join(b"piece %d\n" % i for i in (5, 4, 3, 2, 1))
        assert ask(s, get())[0].status == 200
    with server() as srv, srv.tcp() as s:
        r, body = ask(s, get("/stream", "Connection: close\r\n"))
        assert body.endswith(b"piece 1\n") and read_all(s) == b""
    with server() as srv, srv.tcp() as s:
        s.sendall(b"GET /stream HTTP/1.0\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n")
        data = read_all(s)
        assert b"chunked" not in data and data.endswith(b"piece 1\n"), data


def test_slow_loris_is_cut():
    with server() as srv:
        with srv.tcp() as s:
            start = time.monotonic()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                for c in get("/echo", "X: " + "a" * 500 + "\r\n"):
                    s.send(bytes([c]))
                    time.sleep(0.02)
                    if select.select([s], [], [], 0)[0]:
                        break
            r, body = read_reply(s)
            assert r.status == 408 and json.loads(body)["error"]["code"] == "request_timeout"
            assert 0.4 < time.monotonic() - start < 5
        with srv.tcp() as s:  # a body that drips
            s.sendall(get(extra="Content-Length: 60000\r\n", method="POST"))
            for _ in range(200):
                time.sleep(0.02)
                if select.select([s], [], [], 0)[0]:
                    break
                s.send(b"b")
            assert read_reply(s)[0].status == 408
        alive(srv)


def test_idle_connections_are_closed():
    with server() as srv, srv.tcp() as s, srv.tcp() as kept:
        start = time.monotonic()
        assert ask(kept, get())[0].status == 200
        assert read_all(s) == b"" and read_all(kept) == b""
        assert 1.0 < time.monotonic() - start < 5


def test_errors_are_json():
    good = "Host: localhost\r\n"
    cases = [
        (b"BREW / HTTP/1.1\r\nHost: localhost\r\n\r\n", 501, "not_implemented"),
        (b"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n", 501, "not_implemented"),
        (b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 501, "not_implemented"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n\n", 400, "bad_request"),
        (b"GET /\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/2.0\r\n" + good.encode() + b"\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.7\r\n" + good.encode() + b"\r\n", 505, "http_version"),
        (b"GET / HTTP/-1.1\r\n" + good.encode() + b"\r\n", 505, "http_version"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_request"),
        (b"GET / HTTP/1.0\r\n\r\n", 400, "bad_request"),
        (b"GET http://localhost/ HTTP/1.1\r\n" + good.encode() + b"\r\n", 400, "bad_request"),
        (get(extra=good), 400, "bad_request"),
        (get(extra="no colon\r\n"), 400, "bad_request"),
        (get(extra="Content-Length : 5\r\n"), 400, "bad_request"),
        (get(extra="X: a\x01b\r\n"), 400, "bad_request"),
        (get(extra="Content-Length: 5\r\nContent-Length: 5\r\n", method="POST") + b"hello", 400,
         "bad_request"),
        (get(extra="Content-Length: +5\r\n", method="POST") + b"hello", 400, "bad_request"),
        (get(extra="Content-Length: -5\r\n", method="POST"), 400, "bad_request"),
        (get(extra="Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", method="POST") +
         b"0\r\n\r\n", 400, "bad_request"),
        (get(extra="Transfer-Encoding: gzip\r\n", method="POST"), 501, "not_implemented"),
        (get(extra="Transfer-Encoding: chunked\r\n", method="POST") + b"zz\r\n", 413,
         "body_too_large"),
        (get(extra="Expect: the-unexpected\r\nContent-Length: 2\r\n", method="POST"), 417,
         "expectation_failed"),
        (get("/" + "a" * 5000), 431, "header_too_large"),
        (get(extra="X: " + "a" * 5000 + "\r\n"), 431, "header_too_large"),
        (get(extra="X: a\r\n" * 2000), 431, "header_too_large"),
        (b"G" * 20000, 431, "header_too_large"),
        (get(extra="Content-Length: 65537\r\n", method="POST") + b"x" * 65537, 413,
         "body_too_large"),
        (get(extra="Content-Length: 9223372036854775807\r\n", method="POST"), 413,
         "body_too_large"),
        (get(extra="Transfer-Encoding: chunked\r\n", method="POST") + b"ffffff\r\n" + b"x" * 99999,
         413, "body_too_large"),
    ]
    with server() as srv:
        for raw, status, code in cases:
            for connect in srv.tcp, srv.unix:
                if connect == srv.unix and raw == b"GET / HTTP/1.0\r\n\r\n":
                    continue
                with connect() as s:
                    got = error_of(s, raw)
                    assert got == (status, code), (raw[:80], got, (status, code))
        alive(srv)


def test_large_body_within_the_limit():
    with server() as srv, srv.tcp() as s:
        body = os.urandom(65536)
        r, got = ask(s, get(extra="Content-Length: 65536\r\n", method="POST") + body)
        assert got.endswith(body)
        extra = "Content-Length: 5\r\nExpect: 100-continue\r\n"
        s.sendall(get(extra=extra, method="POST"))
        assert s.recv(100).startswith(b"HTTP/1.1 100")
        s.sendall(b"later")
        assert read_reply(s)[1].endswith(b"later")


def test_endless_chunk_line_is_bounded():
    with server() as srv, srv.tcp() as s:
        s.sendall(get(extra="Transfer-Encoding: chunked\r\n", method="POST"))
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            s.sendall(b"1" * 1000000)
        assert read_reply(s)[0].status == 408


def test_browser_pages_are_refused():
    with server() as srv:
        refused = [
            get(host="evil.example"), get(host="evil.example:8088"), get(host="127.0.0.1.evil.example"),
            get(host="localhost.evil.example"), get(host="127.0.0.1@evil.example"), get(host=""),
            get(host="[::2]"), get(host="localhost:80x"), get(host="[::1"),
            get(extra="Origin: http://evil.example\r\n"), get(extra="Origin: null\r\n"),
            get(extra="Origin: https://localhost.evil.example\r\n"),
            get(extra="Origin: http://localhost\r\nOrigin: http://evil.example\r\n"),
            get(extra="Sec-Fetch-Site: cross-site\r\n"),
        ]
        allowed = [
            get(host="LOCALHOST"), get(host="127.0.0.1:8088"), get(host="[::1]:1"), get(host="127.1.2.3"),
            get(extra="Origin: http://localhost:3000\r\n"), get(extra="Sec-Fetch-Site: same-origin\r\n"),
        ]
        for raw in refused:
            with srv.tcp() as s:
                assert error_of(s, raw) == (403, "forbidden_origin"), raw
        with srv.tcp() as s:
            for raw in allowed:
                assert ask(s, raw)[0].status == 200, raw


def test_too_many_connections():
    with server() as srv:
        held = [srv.tcp() for _ in range(8)]
        for s in held:
            assert ask(s, get())[0].status == 200
        for connect in srv.tcp, srv.unix:
            with connect() as s:
                r, body = read_reply(s)
                assert r.status == 503 and r.getheader("Retry-After") == "1"
                assert json.loads(body)["error"]["code"] == "busy"
                assert read_all(s) == b""
        assert ask(held[3], get())[0].status == 200
        held.pop().close()
        for _ in range(100):
            with srv.tcp() as s:
                if ask(s, get())[0].status == 200:
                    break
        else:
            raise AssertionError("a freed place was not given away")
        for s in held:
            s.close()


def test_slow_reader_is_dropped():
    with server() as srv:
        with srv.tcp() as s:
            s.sendall(get("/flood"))
            assert srv.line(30) == "slow"
            assert srv.line() == "gone"
        alive(srv)


def test_burst_of_connections():
    with server() as srv:
        socks = [srv.tcp() for _ in range(60)]
        for s in socks:
            s.close()
        for _ in range(50):
            with srv.tcp() as s, contextlib.suppress(ConnectionResetError, BrokenPipeError,
                                                     http.client.RemoteDisconnected):
                if ask(s, get())[0].status == 200:
                    return
            time.sleep(0.02)
        raise AssertionError("no connection got through after the burst")


def test_stop_with_open_requests():
    with server() as srv:
        socks = [srv.tcp() for _ in range(3)]
        for s in socks:
            s.sendall(get("/work"))
            assert srv.line() == "work"
        idle = srv.tcp()
        half = srv.tcp()
        half.sendall(b"GET /")
        srv.proc.send_signal(signal.SIGTERM)
        for _ in socks:
            assert srv.line() == "gone"
        assert srv.proc.wait(10) == 0
        for s in socks + [idle, half]:
            s.close()


def test_random_bytes():
    import random
    rnd = random.Random(7)
    words = [b"GET", b"POST", b" ", b"/", b"HTTP/1.1", b"\r\n", b"\n", b":", b"Host", b"localhost",
             b"Content-Length", b"Transfer-Encoding", b"chunked", b"5", b"0", b"\0", b"\xff", b"Expect",
             b"100-continue", b"Connection", b"close", b"keep-alive", b" x", b"?", b"/stream", b"/slow"]
    with server() as srv:
        for _ in range(300):
            raw = b"".join(rnd.choice(words) for _ in range(rnd.randrange(1, 60)))
            with contextlib.suppress(OSError), srv.tcp() as s:
                if rnd.random() < 0.5:
                    raw = get("/echo", "Content-Length: 3\r\n", method="POST") + b"abc" + raw
                s.sendall(raw)
                s.settimeout(0.005)
                s.recv(4096)
        time.sleep(0.3)
        alive(srv)


if __name__ == "__main__":
    if re.search(r"^\s*$", ECHO):
        sys.exit("no test server")
    tap.run(globals())
