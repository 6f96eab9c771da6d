"""The two daemons with their configuration and files: for quickstart and the acceptance scripts."""
import hashlib
import http.client
import os
import pathlib
import secrets
import socket
import subprocess
import sys
import time

API_KEY_BYTES = 24
CERT_RENEW_DAYS = 30


def fail(text):
    print("quickstart: " + text, file=sys.stderr)
    sys.exit(1)


def free_port(preferred):
    for port in (preferred, 0):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                print(f"port {preferred} is taken; using another one")
                continue
            return s.getsockname()[1]
    fail("no free port on 127.0.0.1")


class Stack:
    """The two daemons, their configuration and their files."""

    def __init__(self, top, model, folder, policy, classes, edge_settings=()):
        self.top = pathlib.Path(top)
        self.model = os.path.abspath(model)
        self.dir = pathlib.Path(folder)
        self.dir.mkdir(parents=True, exist_ok=True)
        os.chmod(self.dir, 0o700)
        self.policy = pathlib.Path(policy).resolve()
        self.classes = classes
        self.edge_settings = edge_settings
        self.edge_port = free_port(8088)
        self.stub_port = free_port(8443)
        self.procs = {}
        self.key = self.read_key()

    def program(self, name):
        return str(self.top / "build" / name)

    def read_key(self):
        path = self.dir / "api-key"
        if not path.exists():
            with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "w") as f:
                f.write(secrets.token_urlsafe(API_KEY_BYTES))
        return path.read_text().strip()

    def certs_last(self, certs):
        """Whether there are certificates young enough to be used again."""
        ages = [time.time() - p.stat().st_mtime for p in certs.glob("*.pem")] if certs.exists() else []
        return bool(ages) and max(ages) < CERT_RENEW_DAYS * 86400

    def write_config(self):
        certs = self.dir / "certs"
        if not self.certs_last(certs):
            subprocess.run([self.program("waypostctl"), "certs", str(certs), "--force"], check=True,
                           stdout=subprocess.DEVNULL)
        key_hash = hashlib.sha256(self.key.encode()).hexdigest()
        (self.dir / "stub.conf").write_text(
            f"listen.port = {self.stub_port}\n"
            f"tls.cert = {certs}/server.pem\ntls.key = {certs}/server-key.pem\n"
            f"tls.client_ca = {certs}/ca.pem\nmodel.path = {self.model}\n")
        (self.dir / "uplink.conf").write_text(
            f"target = name=cloud url=https://127.0.0.1:{self.stub_port} ca={certs}/ca.pem"
            f" cert={certs}/uplink.pem key={certs}/uplink-key.pem\n"
            f"ledger.file = {self.dir}/ledger.jsonl\n")
        (self.dir / "edge.conf").write_text(
            f"http.port = {self.edge_port}\nhttp.socket = {self.dir}/edge.sock\n"
            f"model.path = {self.model}\npolicy.file = {self.policy}\n"
            f"uplink.program = {self.program('waypost-uplink')}\n"
            f"uplink.config = {self.dir}/uplink.conf\n"
            f"decision_log.file = {self.dir}/decisions.jsonl\n"
            "caller = name=quickstart key_sha256=" + key_hash +
            " classes=" + ",".join(self.classes) + "\n" + "".join(s + "\n" for s in self.edge_settings))

    def start(self, name, config):
        log = open(self.dir / (name + ".log"), "ab")
        self.procs[name] = subprocess.Popen(
            [self.program(name), "--config", str(self.dir / config)], stdout=log, stderr=log,
            stdin=subprocess.DEVNULL)

    def wait(self, name, port, ready):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if self.procs[name].poll() is not None:
                tail = (self.dir / (name + ".log")).read_text(errors="replace").splitlines()[-5:]
                fail(f"{name} stopped at once:\n  " + "\n  ".join(tail))
            try:
                if ready(port):
                    return
            except OSError:
                pass
            time.sleep(0.05)
        fail(f"{name} is not ready after 60 s; see {self.dir}/{name}.log")

    def start_stub(self):
        self.start("waypost-cloud-stub", "stub.conf")
        self.wait("waypost-cloud-stub", self.stub_port, is_listening)

    def start_edge(self):
        self.start("waypost-edge", "edge.conf")
        self.wait("waypost-edge", self.edge_port, is_ready)

    def stop(self, name):
        proc = self.procs.pop(name, None)
        if proc is None:
            return
        proc.terminate()
        try:
            proc.wait(10)
        except subprocess.TimeoutExpired:
            proc.kill()
            proc.wait()

    def stop_all(self):
        for name in list(self.procs):
            self.stop(name)


def is_listening(port):
    with socket.create_connection(("127.0.0.1", port), 1):
        return True


def is_ready(port):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        c.request("GET", "/readyz")
        return c.getresponse().status == 200
    finally:
        c.close()
