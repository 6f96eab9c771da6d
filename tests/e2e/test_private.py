"""Private stays, with the shipped policies and one that is careful: 1,000 unlabelled requests with canaries cause not one connection, no ledger entry and
no line in a log. The same check catches a policy that releases them, so it can fail."""
import json
import socket
import threading

import wp
from wp import eq

N = 1000
CANARY = "CANARY-7f3a9c"

# What a careful author writes: classes are named, so cabin data has no rule.
CAREFUL = wp.split_policy({"public.general": ("prompt", 0, "", "", "local"),
                           "public.navigation": ("hidden", 2, "cloud", "f16", "local")})
# What must be caught: a rule that names cabin data, in a policy that permits it.
CARELESS = CAREFUL.replace("only: [public.general]", "only: [public.general, cabin, identifier.phone]").replace(
    "classes:", "classes:\n  cabin: any\n  identifier: any")


class Listener:
    """Stands where the cloud would be, and counts who comes."""

    def __init__(self):
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.sock.getsockname()[1]
        self.n = 0
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                c, _ = self.sock.accept()
            except OSError:
                return
            self.n += 1
            c.close()


def send_all(e, n):
    """n unlabelled requests of several shapes over four connections; all must be answered."""
    def some(worker):
        c = e.connect()
        for i in range(worker, n, 4):
            body = wp.chat_body(f"{CANARY}-{i}: drive to my doctor, call +49 170 {1000000 + i}",
                                max_tokens=1, user=f"{CANARY}-user")
            if i % 3 == 0:
                body["messages"] = [{"role": "system", "content": f"{CANARY} system"},
                                    {"role": "user", "content": f"{CANARY} before"},
                                    {"role": "assistant", "content": f"{CANARY} said"},
                                    *body["messages"]]
            if i % 7 == 0:
                body["metadata"] = {"data_class": "cabin", "note": CANARY}
            headers = {"Content-Type": "application/json"}
            if i % 2:
                headers["Authorization"] = "Bearer " + wp.KEY  # may declare classes, and does not
            c.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            r = c.getresponse()
            r.read()
            eq(r.status, 200, f"request {i}")
        c.close()

    wp.together(4, some)


def traces(f, listener, e):
    """Where cabin data left a trace outside the answer: {} is what we want."""
    out = {}
    if listener.n > 0:
        out["connections"] = listener.n
    if wp.ledger(f):
        out["ledger"] = len(wp.ledger(f))
    if e.metric("waypost_released_bytes_total") > 0:
        out["released"] = True
    if CANARY.lower() in f.text_of_all_logs().lower():
        out["logs"] = True
    return out


def shipped(name):
    return (wp.SOURCE / "policies" / f"{name}.yaml").read_text()


def one_run(policy, n, version="e2e"):
    with wp.Folder() as f:
        listener = Listener()
        e = wp.Edge(f, policy=policy, uplink=wp.uplink_conf(f, listener.port), log__level="debug",
                    engine__queue=64, decision_log__max_bytes=1 << 28).start()
        assert f"policy={version}" in e.log(), "the policy is in force"
        eq(e.uplink_state(), "ready", "the uplink is there and could be used")
        send_all(e, n)
        found = traces(f, listener, e)
        routes = {d["outcome"]["route"] for d in e.decisions()}
        eq(len(e.decisions()), n, "each is in the decision log")
        e.stop()
        return found, routes


def test_a_thousand_unlabelled_requests_stay():
    found, routes = one_run(CAREFUL, N)
    eq((found, routes), ({}, {"local"}), "traces")


def test_the_shipped_policies_keep_them_too():
    for name, n in (("default", N), ("demo", 100)):
        version = shipped(name).split('version: "')[1].split('"')[0]
        found, routes = one_run(shipped(name), n, version)
        eq((name, found, routes), (name, {}, {"local"}), "traces")


def test_the_check_catches_a_policy_that_releases():
    found, _ = one_run(CARELESS, 8)
    assert "connections" in found and "ledger" in found and "released" in found, found
    assert "logs" not in found, "even then no log has content"


if __name__ == "__main__":
    wp.run(globals())
