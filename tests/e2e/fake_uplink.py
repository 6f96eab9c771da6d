#!/usr/bin/env python3
"""An uplink without a network, for tests of the edge's side of the gate: it speaks the socketpair's
protocol (proto/ipc), writes down all it gets, and answers as its "configuration" (JSON) says.

{"log": FILE, "targets": [..], "answer": [[step, arg], ...]}; steps: head STATUS, data TEXT, sent BYTES
(to be said at the end; else all that came), link [TARGET, STATE, RTT_US], wait MS, close CODE, die, garbage, wait_cancel. The steps run when a request's body has ended, or with "on": "data" when its
first bytes have come."""
import json
import os
import socket
import struct
import sys
import time

RELEASE, DATA, END, CANCEL, HEAD, CLOSED, LINK, READY = range(1, 9)
KEYS = {RELEASE: ["decision_id", "policy_hash", "rule", "target", "classes", "mode", "max_bytes",
                  "deadline_ms"], DATA: ["data"], END: [], CANCEL: []}


def pack(v):
    if isinstance(v, bool):
        return b"\xc3" if v else b"\xc2"
    if isinstance(v, int):
        return (bytes([v]) if 0 <= v < 128 else b"\xcf" + struct.pack(">Q", v) if v >= 0 else
                b"\xd3" + struct.pack(">q", v))
    if isinstance(v, bytes):
        return b"\xc6" + struct.pack(">I", len(v)) + v
    if isinstance(v, str):
        b = v.encode()
        return b"\xdb" + struct.pack(">I", len(b)) + b
    if isinstance(v, list):
        return b"\xdd" + struct.pack(">I", len(v)) + b"".join(map(pack, v))
    return b"\xdf" + struct.pack(">I", len(v)) + b"".join(pack(k) + pack(x) for k, x in v.items())


def unpack(b, at=0):
    """(value, next position); the kinds that this protocol has."""
    c = b[at]
    at += 1

    def num(fmt):
        n = struct.calcsize(fmt)
        return struct.unpack(">" + fmt, b[at:at + n])[0], at + n

    def items(n, at):
        out = []
        for _ in range(n):
            v, at = unpack(b, at)
            out.append(v)
        return out, at

    if c < 0x80:
        return c, at
    if c >= 0xe0:
        return c - 256, at
    if 0xa0 <= c < 0xc0:
        n = c & 31
        return b[at:at + n].decode(), at + n
    if 0x90 <= c < 0xa0:
        return items(c & 15, at)
    if 0x80 <= c < 0x90 or c in (0xde, 0xdf):
        n, at = (c & 15, at) if c < 0x90 else num("H" if c == 0xde else "I")
        flat, at = items(2 * n, at)
        return dict(zip(flat[::2], flat[1::2])), at
    ints = {0xcc: "B", 0xcd: "H", 0xce: "I", 0xcf: "Q", 0xd0: "b", 0xd1: "h", 0xd2: "i", 0xd3: "q"}
    if c in ints:
        return num(ints[c])
    if c in (0xc4, 0xc5, 0xc6, 0xd9, 0xda, 0xdb):
        n, at = num("BHI"[(c - 0xc4) if c < 0xd0 else (c - 0xd9)])
        raw = b[at:at + n]
        return (raw.decode() if c >= 0xd9 else raw), at + n
    if c in (0xdc, 0xdd):
        n, at = num("H" if c == 0xdc else "I")
        return items(n, at)
    raise ValueError(f"msgpack byte {c:#x}")


class Uplink:
    def __init__(self, conf):
        self.conf = conf
        self.answered = set()
        self.n_data = {}
        self.sock = socket.socket(fileno=3)
        self.log = open(conf["log"], "a", buffering=1)

    def send(self, kind, ident, *args):
        body = pack({0: kind, 1: ident, **{i + 2: a for i, a in enumerate(args)}})
        self.sock.sendall(struct.pack("<IB", len(body), 0) + body)

    def read(self, n):
        out = b""
        while len(out) < n:
            more = self.sock.recv(n - len(out))
            if not more:
                sys.exit(0)
            out += more
        return out

    def message(self):
        size, _ = struct.unpack("<IB", self.read(5))
        m, _ = unpack(self.read(size))
        fields = dict(zip(KEYS[m[0]], [m[k] for k in sorted(m) if k > 1]))
        shown = {k: v.hex() if k in ("decision_id", "policy_hash") else
                 v.decode("latin-1") if isinstance(v, bytes) else v for k, v in fields.items()}
        names = {RELEASE: "release", DATA: "data", END: "end", CANCEL: "cancel"}
        self.log.write(json.dumps({"type": names[m[0]], "id": m[1], **shown}) + "\n")
        if m[0] == DATA:
            self.n_data[m[1]] = self.n_data.get(m[1], 0) + len(m[2])
        return m[0], m[1]

    def answer(self, ident):
        for step, arg in self.conf["answer"]:
            if step == "head":
                self.send(HEAD, ident, arg)
            elif step == "data":
                self.send(DATA, ident, arg.encode())
            elif step == "close":
                self.send(CLOSED, ident, arg, self.n_data.get(ident, 0), 1, "as told")
            elif step == "sent":
                self.n_data[ident] = arg
            elif step == "link":
                self.send(LINK, 0, *arg)
            elif step == "wait":
                time.sleep(arg / 1000)
            elif step == "die":
                os._exit(3)
            elif step == "garbage":
                self.sock.sendall(b"\x05\x00\x00\x00\x00hello")
            elif step == "wait_cancel":
                while self.message()[0] != CANCEL:
                    pass
                self.send(CLOSED, ident, -7, self.n_data[ident], 1, "canceled")

    def run(self):
        self.log.write(json.dumps({"type": "start", "argv": sys.argv[1:], "env": sorted(os.environ),
                                   "fds": sorted(int(n) for n in os.listdir("/proc/self/fd"))}) + "\n")
        self.send(READY, 0, self.conf["targets"])
        while True:
            kind, ident = self.message()
            if kind == (DATA if self.conf.get("on") == "data" else END) and ident not in self.answered:
                self.answered.add(ident)
                self.answer(ident)
            elif kind == CANCEL and ident not in self.answered:
                self.send(CLOSED, ident, -7, 0, 0, "canceled")


Uplink(json.load(open(sys.argv[sys.argv.index("--config") + 1]))).run()
