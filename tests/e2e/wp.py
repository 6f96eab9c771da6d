"""Real processes for the end-to-end tests: the daemons in a private folder with ports of their own,
requests to them, and TAP. Nothing here outlives the test, and only loopback is used."""
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback

BUILD = pathlib.Path(os.environ.get("top_builddir", "build")).resolve()
SOURCE = pathlib.Path(os.environ.get("top_srcdir", ".")).resolve()
START_S = 60  # sanitizers on a busy machine are slow; nothing waits that long otherwise
KEY = "e2e-key-of-nobody"
CLASSES = "public.general,public.navigation,public.media"


def program(name):
    return str(BUILD / name)


class Folder:
    """A private folder with the files that several daemons share; stops them all at the end."""

    def __init__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="waypost-e2e-"))
        self.daemons = []
        self.n_certs = 0

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        ends = {d.name: d.stop() for d in reversed(self.daemons)}
        bad = {n: s for n, s in ends.items() if s not in (None, 0)}
        # Children of the daemons write to the same logs: a sanitizer's finding there counts too.
        found = [w for w in ("Sanitizer", "runtime error:") if w in self.text_of_all_logs()]
        broken = exc[0] is None and (bad or found)
        if exc[0] is not None or broken:
            for log in sorted(self.path.glob("*.log")):
                for line in log.read_text(errors="replace").splitlines()[-25:]:
                    print(f"# {log.name}: {line}")
        shutil.rmtree(self.path, ignore_errors=True)
        if broken:
            raise AssertionError(f"a daemon ended badly: {bad} {found}")

    def file(self, name, text=None):
        p = self.path / name
        if text is not None:
            p.write_text(text)
        return p

    def tiny(self, name="tiny.gguf", *args):
        """A small random model: quick, and the same bytes for the same arguments."""
        p = self.path / name
        if not p.exists():
            subprocess.run([program("tests/fixtures/mktiny"), str(p), *args], check=True)
        return p

    def adapter(self, name, base, *args):
        """A random adapter for a model file."""
        p = self.path / name
        subprocess.run([program("tests/fixtures/mklora"), str(base), str(p), *args], check=True)
        return p

    def slow(self):
        """Milliseconds a token, so that something can happen in the middle of an answer."""
        return self.tiny("slow.gguf", "--type", "Q8_0", "--layers", "32", "--d", "256", "--ff", "1024",
                         "--ctx", "8192")

    def certs(self, *args, name="certs"):
        """A development CA with a server's and the uplink's certificates."""
        p = self.path / name
        if not p.exists():
            subprocess.run([program("waypostctl"), "certs", str(p), *args], check=True,
                           stdout=subprocess.DEVNULL)
        return p

    def text_of_all_logs(self):
        return "".join(p.read_text(errors="replace") for p in self.path.iterdir()
                       if p.is_file() and (".log" in p.name or ".jsonl" in p.name))


class Daemon:
    """One process with its configuration file, log and port file."""

    def __init__(self, folder, name, exe, settings):
        self.folder, self.name = folder, name
        self.log_path = folder.path / f"{name}.log"
        self.port_file = folder.path / f"{name}.port"
        self.config = folder.file(f"{name}.conf", "".join(f"{k} = {v}\n" for k, v in settings))
        self.args = [program(exe), "--config", str(self.config)]
        self.proc = None
        self.port = None
        folder.daemons.append(self)

    def start(self):
        self.port_file.unlink(missing_ok=True)
        with open(self.log_path, "ab") as log:
            self.proc = subprocess.Popen(self.args, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            if self.proc.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.proc.returncode}: {self.log()[-400:]}")
            if self.port_file.exists():
                self.port = int(self.port_file.read_text())
                if self.is_ready():
                    return self
            time.sleep(0.02)
        raise RuntimeError(f"{self.name} did not get ready")

    def is_ready(self):
        return True

    def stop(self, sig=signal.SIGTERM):
        if self.proc is None:
            return None
        if self.proc.poll() is None:
            self.proc.send_signal(sig)
        try:
            status = self.proc.wait(20)
        except subprocess.TimeoutExpired:
            self.proc.kill()
            status = self.proc.wait()
        self.proc = None
        return status

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""


class Edge(Daemon):
    def __init__(self, folder, model=None, policy=None, uplink=None, name="edge", **settings):
        """policy: text. uplink: the uplink's configuration file. Settings: a_b=… stands for `a.b`."""
        self.socket_path = folder.path / f"{name}.sock"
        self.decisions_path = folder.path / f"{name}-decisions.jsonl"
        conf = {"http.port": 0, "http.port_file": folder.path / f"{name}.port",
                "http.socket": self.socket_path, "model.path": model or folder.tiny(),
                "model.name": "tiny", "engine.context": 512, "engine.threads": 1,
                "decision_log.file": self.decisions_path}
        if policy is not None:
            conf["policy.file"] = folder.file(f"{name}-policy.yaml", policy)
        if uplink is not None:
            conf["uplink.program"] = program("waypost-uplink")
            conf["uplink.config"] = uplink
        lines = [("caller", f"name=e2e key_sha256={sha256(KEY)} classes={CLASSES}")]
        for k, v in settings.items():
            if isinstance(v, list):
                lines += [(k.replace("__", "."), one) for one in v]
            else:
                conf[k.replace("__", ".")] = v
        super().__init__(folder, name, "waypost-edge", list(conf.items()) + lines)

    def is_ready(self):
        return self.get("/readyz")[0] == 200

    def uplink_state(self):
        return json.loads(self.get("/readyz")[2])["uplink"]

    def wait_uplink(self, state="ready"):
        wait_for(lambda: self.uplink_state() == state, f"uplink {state}")

    def connect(self, unix=False, timeout=60):
        if unix:
            c = http.client.HTTPConnection("localhost", timeout=timeout)
            c.sock = socket.socket(socket.AF_UNIX)
            c.sock.settimeout(timeout)
            c.sock.connect(str(self.socket_path))
            return c
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def request(self, method, path, body=None, headers=None, unix=False):
        """(status, headers, body)"""
        c = self.connect(unix)
        try:
            c.request(method, path, body, headers or {})
            r = c.getresponse()
            return r.status, {k.lower(): v for k, v in r.getheaders()}, r.read()
        finally:
            c.close()

    def get(self, path, **kw):
        return self.request("GET", path, **kw)

    def post(self, path, obj, key=KEY, unix=False, headers=None):
        h = {"Content-Type": "application/json", **(headers or {})}
        if key is not None:
            h["Authorization"] = "Bearer " + key
        s, hs, b = self.request("POST", path, json.dumps(obj), h, unix)
        try:
            return s, hs, json.loads(b)
        except ValueError:
            return s, hs, b

    def chat(self, text="Hello", data_class=None, key=KEY, headers=None, unix=False, **fields):
        return self.post("/v1/chat/completions", chat_body(text, data_class, **fields), key, unix,
                         headers)

    def stream(self, text="Hello", data_class=None, key=KEY, **fields):
        return Stream(self, chat_body(text, data_class, stream=True, **fields), key)

    def decisions(self):
        if not self.decisions_path.exists():
            return []
        return [json.loads(line) for line in self.decisions_path.read_text().splitlines()]

    def metric(self, name):
        for line in self.get("/metrics")[2].decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[-1])
        raise KeyError(name)


class Stub(Daemon):
    """The cloud's stand-in."""

    def __init__(self, folder, model=None, certs=None, name="stub", **settings):
        c = certs or folder.certs()
        conf = {"listen.port": 0, "listen.port_file": folder.path / f"{name}.port",
                "tls.cert": c / "server.pem", "tls.key": c / "server-key.pem",
                "tls.client_ca": c / "ca.pem", "model.path": model or folder.tiny(),
                "engine.context": 512, "engine.threads": 1}
        conf.update({k.replace("__", "."): v for k, v in settings.items()})
        super().__init__(folder, name, "waypost-cloud-stub", list(conf.items()))

    def restart_on_same_port(self):
        text = self.config.read_text()
        self.config.write_text("".join(f"listen.port = {self.port}\n" if x.startswith("listen.port =")
                                       else x + "\n" for x in text.splitlines()))
        return self.start()


def uplink_conf(folder, port, certs=None, name="uplink", **settings):
    """An uplink's configuration file with one target, `cloud`, and a ledger beside it."""
    c = certs or folder.certs()
    lines = [f"target = name=cloud url=https://127.0.0.1:{port} ca={c}/ca.pem cert={c}/uplink.pem"
             f" key={c}/uplink-key.pem", f"ledger.file = {folder.path}/{name}-ledger.jsonl"]
    lines += [f"{k.replace('__', '.')} = {v}" for k, v in settings.items()]
    return folder.file(f"{name}.conf", "\n".join(lines) + "\n")


def ledger(folder, name="uplink"):
    """The records, after waypostctl has verified the chain."""
    path = folder.path / f"{name}-ledger.jsonl"
    if not path.exists():
        return []
    subprocess.run([program("waypostctl"), "ledger", "verify", str(path)], check=True,
                   stdout=subprocess.DEVNULL)
    return [json.loads(line) for line in path.read_text().splitlines()]


def split_policy(rules):
    """rules: class -> (route, layer, tail, dtype, fallback)."""
    out = ["waypost_policy: 1", 'version: "e2e"', "classes:", *(f"  {cls}: any" for cls in rules),
           "targets:", "  cloud: { modes: [prompt, hidden] }", "rules:"]
    for cls, (route, layer, tail, dtype, fallback) in rules.items():
        out += [f"  - name: {cls.replace('.', '-')}", f"    when: {{ data.class: {{ only: [{cls}] }} }}",
                f"    route: {route}", "    target: cloud", f"    fallback: {fallback}"]
        if route == "hidden":
            out += [f"    layer: {layer}", f"    tail: {tail}", f"    dtype: {dtype}"]
    return "\n".join(out) + "\n"


def chat_body(text, data_class=None, **fields):
    body = {"model": "tiny", "temperature": 0, "max_tokens": 16, **fields}
    body.setdefault("messages", [{"role": "user", "content": text}])
    if data_class is not None:
        body["metadata"] = {**body.get("metadata", {}), "data_class": data_class}
    return body


def long_prompt(edge, n_tok=60):
    """A prompt whose greedy answer is at least that long: a random model may end at once."""
    for i in range(50):
        s, _, b = edge.chat(f"number {i}", max_tokens=n_tok)
        if s == 200 and b["usage"]["completion_tokens"] == n_tok:
            return f"number {i}"
    raise AssertionError("no prompt has a long answer")


class Stream:
    """One streamed answer, event by event."""

    def __init__(self, edge, body, key=KEY):
        self.conn = edge.connect()
        h = {"Content-Type": "application/json"}
        if key is not None:
            h["Authorization"] = "Bearer " + key
        self.conn.request("POST", "/v1/chat/completions", json.dumps(body), h)
        self.resp = self.status = self.headers = None
        self.text, self.final, self.error, self.usage, self.done = "", None, None, None, False
        self.finish, self.n_final, self.chunks = None, 0, 0

    def head(self):
        """Waits for status and headers, which come with the first token."""
        if self.resp is None:
            self.resp = self.conn.getresponse()
            self.status = self.resp.status
            self.headers = {k.lower(): v for k, v in self.resp.getheaders()}
        return self

    def events(self):
        self.head()
        if self.status != 200:
            self.take(json.loads(self.resp.read()))
        for raw in self.resp:
            line = raw.decode().rstrip("\r\n")
            if not line.startswith("data: "):
                continue
            if line == "data: [DONE]":
                self.done = True
                continue
            e = json.loads(line[6:])
            self.take(e)
            yield e
        self.conn.close()

    def take(self, e):
        self.chunks += 1
        self.error = e.get("error", self.error)
        self.final = e.get("waypost", self.final)
        self.usage = e.get("usage") or self.usage
        for c in e.get("choices", []):
            self.text += c.get("delta", {}).get("content") or ""
            if c.get("finish_reason"):
                self.finish = c["finish_reason"]
                self.n_final += 1

    def all(self):
        for _ in self.events():
            pass
        return self

    def close(self):
        """The client goes away."""
        if self.resp is not None:
            self.resp.close()
        self.conn.close()


def sha256(text):
    import hashlib
    return hashlib.sha256(text.encode()).hexdigest()


def wait_for(cond, what, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if cond():
            return
        time.sleep(0.01)
    raise AssertionError(f"waited {seconds} s for: {what}")


def together(n, fn):
    """fn(i) in n threads; their results in order."""
    out, errs = [None] * n, []

    def one(i):
        try:
            out[i] = fn(i)
        except Exception as e:  # shown by the caller's thread
            errs.append(e)

    ts = [threading.Thread(target=one, args=(i,)) for i in range(n)]
    for t in ts:
        t.start()
    for t in ts:
        t.join()
    if errs:
        raise errs[0]
    return out


def eq(got, want, what=""):
    assert got == want, f"{what}: got {got!r}, want {want!r}"


def run(namespace):
    """Calls each test_* function in order; TAP on stdout."""
    tests = [(n, f) for n, f in namespace.items() if n.startswith("test_") and callable(f)]
    only = sys.argv[1:]
    tests = [t for t in tests if not only or t[0] in only]
    failed = 0
    print(f"1..{len(tests)}", flush=True)
    for i, (name, func) in enumerate(tests, 1):
        start = time.monotonic()
        try:
            func()
            print(f"ok {i} - {name} # {time.monotonic() - start:.1f} s", flush=True)
        except Exception:
            failed += 1
            for line in traceback.format_exc().splitlines():
                print(f"# {line}")
            print(f"not ok {i} - {name}", flush=True)
    sys.exit(1 if failed else 0)
