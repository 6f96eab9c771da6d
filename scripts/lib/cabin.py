"""What check-cabin, bench-cabin and compare-cabin share: an edge with the cabin's adapter, the sentences, and calls as lines."""
import hashlib
import http.client
import json
import os
import pathlib
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
FOLDER = TOP / "adapters" / "cabin"
KEY = "of-one-voice"
SEAT = "driver"


def model_default():
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    return cache / "waypost" / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"


def rows(path, limit=0):
    """(language, sentence, line) of each row."""
    out = [line.split("\t") for line in pathlib.Path(path).read_text().splitlines() if line.strip()]
    bad = [r for r in out if len(r) != 3]
    if bad:
        sys.exit(f"{path}: a row is language, sentence, line with tabs between: {bad[0]}")
    return out[:limit] if limit else out


class Catalogue:
    def __init__(self, path):
        self.tools = json.loads(pathlib.Path(path).read_text())
        self.args = {t["function"]["name"]: list(t["function"].get("parameters", {}).get("properties", {}))
                     for t in self.tools}
        self.places = {(t["function"]["name"], name) for t in self.tools
                       for name, s in t["function"].get("parameters", {}).get("properties", {}).items()
                       if s.get("x-place")}

    def line_of(self, name, args):
        """A call as the line that makes it."""
        if not isinstance(args, dict) or set(args) != set(self.args.get(name, ())):
            return f"{name} ?"
        return " ".join([name] + [f"{args[k]:g}" if isinstance(args[k], (int, float)) and
                                  not isinstance(args[k], bool) else str(args[k]) for k in self.args[name]])

    def meant(self, line):
        """The line of the set, with the speaker's place for `me`."""
        name, *rest = line.split(" ")
        for i, arg in enumerate(self.args.get(name, ())):
            if i < len(rest) and rest[i] == "me" and (name, arg) in self.places:
                rest[i] = SEAT
        return " ".join([name, *rest])


class Edge:
    """An edge of its own, without policy or uplink; `with` ends it. Settings: a__b=… stands for `a.b`, a list for several lines."""

    def __init__(self, folder, name, model, build=TOP / "build", **settings):
        port_file = folder / f"{name}.port"
        conf = {"http.port": 0, "http.port_file": port_file, "http.socket": "none", "model.path": model,
                **{k.replace("__", "."): v for k, v in settings.items()}}
        sha = hashlib.sha256(KEY.encode()).hexdigest()
        text = "".join(f"{k} = {v}\n" for k, values in conf.items()
                       for v in (values if isinstance(values, list) else [values])) + f"caller = name=voice key_sha256={sha} seat={SEAT}\n"
        (folder / f"{name}.conf").write_text(text)
        self.log_path = folder / f"{name}.log"
        with open(self.log_path, "wb") as log:
            self.proc = subprocess.Popen([build / "waypost-edge", "--config", folder / f"{name}.conf"],
                                         stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + 60
        while not port_file.exists():
            if self.proc.poll() is not None or time.monotonic() > end:
                self.proc.kill()
                sys.exit("the edge did not start:\n" + self.log_path.read_text()[-2000:])
            time.sleep(0.05)
        self.port = int(port_file.read_text())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.proc.terminate()
        self.proc.wait()

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)


def ask(conn, text, **fields):
    """(answer, milliseconds from the request to its last byte)"""
    body = json.dumps({"messages": [{"role": "user", "content": text}], "temperature": 0, **fields})
    start = time.perf_counter()
    conn.request("POST", "/v1/chat/completions", body,
                 {"Content-Type": "application/json", "Authorization": "Bearer " + KEY})
    r = conn.getresponse()
    answer = r.read()
    ms = (time.perf_counter() - start) * 1e3
    if r.status != 200:
        sys.exit(f"HTTP {r.status}: {answer.decode()}")
    return json.loads(answer), ms


def line_of_answer(catalogue, answer):
    calls = answer["choices"][0]["message"].get("tool_calls")
    if not calls:
        return "none"
    f = calls[0]["function"]
    try:
        args = json.loads(f["arguments"])
    except ValueError:
        args = None
    return catalogue.line_of(f["name"], args)
