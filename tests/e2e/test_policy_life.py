"""A policy's life in the car: loaded again by signal, file change and API, signed, kept, rolled back,
shadowed, and never mixed within a request."""
import json
import os
import signal
import subprocess
import threading
import time

import wp
from wp import eq

PAGE = "/v1/policy"


def policy(version, route="refuse", extra=""):
    """Everything cabin is refused (or answered) by a rule named after the version."""
    return (f'waypost_policy: 1\nversion: "{version}"\n{extra}rules:\n  - name: rule-{version}\n'
            f"    when: {{ data.class: {{ any: [cabin] }} }}\n    route: {route}\n")


def ctl(*args, status=0):
    p = subprocess.run([wp.program("waypostctl"), "policy", *map(str, args)], capture_output=True,
                       text=True)
    eq(p.returncode, status, f"{args}: {p.stdout}{p.stderr}")
    return p.stdout + p.stderr


class Signer:
    def __init__(self, f, name="key"):
        self.key = f.path / f"{name}.pem"
        self.public = json.loads(ctl("keygen", self.key, "--json"))["public_key"]

    def sign(self, path, serial):
        (path.parent / (path.name + ".sig")).unlink(missing_ok=True)
        ctl("sign", path, "--key", self.key, "--serial", serial)


def put(path, text):
    """As an update does: whole or not at all."""
    new = path.parent / (path.name + ".new")
    new.write_text(text)
    new.rename(path)


def info(e):
    return json.loads(e.get("/readyz")[2])["policy"]


def full(e):
    s, _, b = e.get(PAGE, unix=True)
    eq(s, 200, "page")
    return json.loads(b)


def ask(e, what, status=200):
    s, _, b = e.request("POST", f"{PAGE}/{what}", unix=True)
    b = json.loads(b)
    eq(s, status, f"{what}: {b}")
    return b


def version(e):
    return e.chat("x")[1]["x-waypost-policy"].split()[0]


def state_dir(f, name="state"):
    d = f.path / name
    d.mkdir(mode=0o700, exist_ok=True)
    return d


def test_signal_file_and_api_load_it_again():
    with wp.Folder() as f:
        e = wp.Edge(f, policy=policy("a"), policy__watch_ms=0).start()
        file = f.path / "edge-policy.yaml"
        eq((info(e)["state"], info(e)["generation"], info(e)["version"]), ("ok", 1, "a"), "at start")
        put(file, policy("b"))
        eq(version(e), "a", "nobody looks")
        e.proc.send_signal(signal.SIGHUP)
        wp.wait_for(lambda: version(e) == "b", "SIGHUP")
        put(file, policy("c"))
        eq(ask(e, "check")["result"], "ok", "a dry run")
        eq(version(e), "b", "changes nothing")
        b = ask(e, "reload")
        eq((b["result"], b["policy"]["version"], b["policy"]["generation"]), ("ok", "c", 3), "API")
        eq(version(e), "c", "in force")
        eq(ask(e, "reload")["result"], "unchanged", "the same again")
        eq(info(e)["generation"], 3, "and nothing new")
        eq(e.metric("waypost_policy_generation"), 3, "metric")
        eq(e.metric('waypost_policy_reloads_total{result="unchanged"}'), 1, "metric")
        eq(e.metric("waypost_policy_last_reload_success"), 1, "metric")
        eq(e.stop(), 0, "end")
        e = wp.Edge(f, policy=policy("d"), policy__watch_ms=20, name="watches").start()
        file = f.path / "watches-policy.yaml"
        n = e.metric('waypost_policy_reloads_total{result="unchanged"}')
        time.sleep(0.2)
        eq(e.metric('waypost_policy_reloads_total{result="unchanged"}'), n, "no change, no load")
        put(file, policy("e"))
        ask(e, "check")
        wp.wait_for(lambda: version(e) == "e", "its change is seen, whoever looked at it before")
        file.unlink()
        wp.wait_for(lambda: info(e)["state"] == "kept", "that it is gone is seen")
        eq(version(e), "e", "and what was good stays")
        put(file, policy("f"))
        wp.wait_for(lambda: version(e) == "f", "and its return")


def test_who_may():
    with wp.Folder() as f:
        e = wp.Edge(f, policy=policy("a")).start()
        for method, path in (("GET", PAGE), ("POST", PAGE + "/reload"), ("POST", PAGE + "/check"),
                             ("POST", PAGE + "/rollback")):
            s, _, b = e.request(method, path)
            eq((s, json.loads(b)["error"]["code"]), (403, "not_permitted"), path + " over TCP")
        eq(info(e)["generation"], 1, "nothing done")
        e = wp.Edge(f, name="without").start()
        s, _, b = e.request("POST", PAGE + "/reload", unix=True)
        eq((s, json.loads(b)["error"]["code"]), (409, "no_policy"), "no file")
        eq((info(e)["state"], info(e)["version"]), ("none", "none"), "none")
        e.proc.send_signal(signal.SIGHUP)
        eq(e.get("/healthz")[0], 200, "SIGHUP is no end")


def test_a_broken_file_keeps_the_last_good_one():
    with wp.Folder() as f:
        d = state_dir(f)
        e = wp.Edge(f, policy=policy("a"), policy__state_dir=d).start()
        file = f.path / "edge-policy.yaml"
        put(file, policy("b").replace("route", "rout"))
        b = ask(e, "reload", 422)
        eq((b["result"], b["error"]["place"]), ("broken", "edge-policy.yaml:4:5"), "told with its place")
        eq(version(e), "a", "the last good one")
        i = info(e)
        eq((i["state"], i["last_reload"]["result"]), ("kept", "broken"), "readyz")
        assert "error" not in i["last_reload"], "not for everybody"
        eq(full(e)["last_reload"]["error"]["place"], "edge-policy.yaml:4:5", "for the owner")
        eq(e.get("/readyz")[0], 200, "still ready")
        eq(e.metric("waypost_policy_last_reload_success"), 0, "metric")
        eq(e.metric('waypost_policy_reloads_total{result="broken"}'), 1, "metric")
        eq(e.stop(), 0, "end")
        e.start()
        eq((version(e), info(e)["state"]), ("a", "kept"), "over a restart")
        put(file, policy("c"))
        eq(ask(e, "reload")["policy"]["state"], "ok", "mended")
        e.stop()
        for name in os.listdir(d):
            (d / name).unlink()
        put(file, "rules: [")
        e.start()
        eq(info(e)["state"], "local_only", "none is good")
        s, h, _ = e.chat("x")
        eq((s, h["x-waypost-route"], h["x-waypost-rule"]), (200, "local", "default"), "local only")


def test_signatures_and_serial_numbers():
    with wp.Folder() as f:
        good, other = Signer(f), Signer(f, "other")
        d = state_dir(f)
        file = f.file("signed.yaml", policy("a"))
        settings = {"policy__file": file, "policy__key": [good.public], "policy__state_dir": d,
                    "policy__watch_ms": 0}
        e = wp.Edge(f, **settings).start()
        eq((info(e)["state"], version(e)), ("local_only", "none"), "not signed")
        assert "not signed" in full(e)["last_reload"]["error"]["message"], full(e)
        other.sign(file, 7)
        b = ask(e, "reload", 422)
        eq(b["result"], "signature", "another key")
        assert "not trusted" in b["error"]["message"], b
        good.sign(file, 7)
        eq(ask(e, "reload")["policy"]["serial"], 7, "signed")
        sig = (f.path / "signed.yaml.sig").read_text()
        put(file, policy("a", "local"))
        eq(ask(e, "reload", 422)["result"], "signature", "one word changed")
        put(file, policy("a"))
        put(f.path / "signed.yaml.sig", sig.replace("serial 7", "serial 8"))
        eq(ask(e, "reload", 422)["result"], "signature", "a number changed")
        put(f.path / "signed.yaml.sig", sig[:-9] + "00000000\n")
        eq(ask(e, "reload", 422)["result"], "signature", "a digit changed")
        put(f.path / "signed.yaml.sig", sig[:-4])
        eq(ask(e, "reload", 422)["result"], "broken", "cut off")
        eq((version(e), info(e)["serial"], info(e)["state"]), ("a", 7, "kept"), "the last good one")
        put(file, policy("b"))
        good.sign(file, 6)
        b = ask(e, "reload", 422)
        eq(b["result"], "serial", "a lower number")
        assert "below 7" in b["error"]["message"], b
        good.sign(file, 7)
        eq(ask(e, "reload", 422)["result"], "serial", "the same number, other files")
        eq(e.stop(), 0, "end")
        good.sign(file, 6)
        e.start()
        eq((version(e), info(e)["state"]), ("a", "kept"), "a restart forgets no number")
        good.sign(file, 8)
        eq(ask(e, "reload")["policy"]["serial"], 8, "a higher one")
        eq(version(e), "b", "in force")
        e.stop()
        # Another key in the configuration: what the old one vouched for is no longer good.
        e = wp.Edge(f, name="rekeyed", **{**settings, "policy__key": [other.public]}).start()
        eq(info(e)["state"], "local_only", "neither file nor copy")
        e.stop()
        for name, text in (("state", "waypost-policy-state 1\nfloor x\n"), ("good.policy", "junk")):
            (d / name).write_text(text)
            (d / name).chmod(0o600)
            put(file, policy("c").replace("rules", "rulez"))
            e = wp.Edge(f, name="hurt-" + name.split(".")[0], **settings).start()
            eq(info(e)["state"], "local_only", name + " is broken")


def test_settings_that_make_no_sense():
    with wp.Folder() as f:
        e = wp.Edge(f, policy=policy("a"))
        for setting, reason in (("policy.key=" + "0" * 64, "policy.state_dir"),
                                ("policy.key=abc", "64 lower-case"),
                                (f"policy.state_dir={f.path}/nowhere", "nowhere"),
                                ("policy.shadow=/nowhere/p.yaml", "/nowhere/p.yaml")):
            p = subprocess.run([*e.args, "--set", setting, "--check-config"], capture_output=True,
                               text=True)
            eq(p.returncode, 2, setting + p.stdout)
            assert reason in p.stderr, p.stderr
        open_dir = state_dir(f, "open")
        open_dir.chmod(0o777)
        p = subprocess.run([*e.args, "--set", f"policy.state_dir={open_dir}", "--check-config"],
                           capture_output=True, text=True)
        assert p.returncode == 2 and "nobody else may write" in p.stderr, p.stderr
        file = f.path / "edge-policy.yaml"
        file.chmod(0o666)
        p = subprocess.run([*e.args, "--check-config"], capture_output=True, text=True)
        assert p.returncode == 2 and "anybody may write" in p.stderr, p.stderr
        file.unlink()
        file.symlink_to("/etc/passwd")
        p = subprocess.run([*e.args, "--check-config"], capture_output=True, text=True)
        assert p.returncode == 2 and "link" in p.stderr, p.stderr


def test_two_folders_and_a_link():
    with wp.Folder() as f:
        s = Signer(f)
        for name, serial in (("a", 1), ("b", 2)):
            (f.path / name).mkdir()
            p = f.file(f"{name}/policy.yaml", policy(name))
            s.sign(p, serial)
        current = f.path / "current"
        current.symlink_to("a")
        e = wp.Edge(f, policy__file=current / "policy.yaml", policy__key=[s.public],
                    policy__state_dir=state_dir(f), policy__watch_ms=20).start()
        eq(version(e), "a", "what the link says")
        p = subprocess.run([*e.args, "--set", f"policy.file={f.path}/b/policy.yaml", "--check-config"],
                           capture_output=True, text=True)
        eq(p.returncode, 0, "a dry run of the other folder: " + p.stderr)
        eq(version(e), "a", "changes nothing")
        (f.path / "next").symlink_to("b")
        (f.path / "next").rename(current)
        wp.wait_for(lambda: version(e) == "b", "the link is switched")
        p = subprocess.run([*e.args, "--set", f"policy.file={f.path}/a/policy.yaml", "--check-config"],
                           capture_output=True, text=True)
        assert p.returncode == 2 and "below 2" in p.stderr, p.stderr
        (f.path / "back").symlink_to("a")
        (f.path / "back").rename(current)
        wp.wait_for(lambda: info(e)["last_reload"]["result"] == "serial", "no way back by a link")
        eq(version(e), "b", "the last good one")


def test_rollback():
    with wp.Folder() as f:
        s = Signer(f)
        file = f.file("p.yaml", policy("a"))
        s.sign(file, 1)
        e = wp.Edge(f, policy__file=file, policy__key=[s.public], policy__state_dir=state_dir(f),
                    policy__watch_ms=0).start()
        b = ask(e, "rollback", 422)
        eq((b["result"], info(e)["state"]), ("unreadable", "ok"), "nothing to go back to")
        put(file, policy("b"))
        s.sign(file, 2)
        ask(e, "reload")
        b = ask(e, "rollback")
        eq((b["result"], b["policy"]["state"], b["policy"]["version"]), ("ok", "rolled_back", "a"), "back")
        eq(version(e), "a", "in force")
        eq(ask(e, "rollback", 422)["result"], "unreadable", "once")
        b = ask(e, "reload", 422)
        assert "rolled back" in b["error"]["message"], b
        eq((version(e), info(e)["state"]), ("a", "rolled_back"), "it stays away")
        e.stop()
        e.start()
        eq((version(e), info(e)["state"]), ("a", "kept"), "over a restart too")
        put(file, policy("c"))
        s.sign(file, 2)
        eq(ask(e, "reload", 422)["result"], "serial", "the highest number still counts")
        s.sign(file, 3)
        eq(ask(e, "reload")["policy"]["state"], "ok", "the next one comes")
        eq(version(e), "c", "in force")


def test_a_request_keeps_the_policy_it_began_with():
    with wp.Folder() as f:
        st = wp.Stub(f, f.slow(), engine__context=2048).start()
        rules = wp.split_policy({"public.general": ("hidden", 1, "edge", "f32", "refuse")})
        e = wp.Edge(f, f.slow(), rules, wp.uplink_conf(f, st.port), engine__context=2048,
                    engine__sessions=1, policy__watch_ms=0).start()
        text = wp.long_prompt(e)
        first = e.stream(text, max_tokens=200)
        events = first.events()
        next(events)
        got = []
        # It is decided now and carried out when the first one ends: the gate decides again then.
        waits = threading.Thread(target=lambda: got.append(e.chat("waits", "public.general", max_tokens=4)))
        waits.start()
        wp.wait_for(lambda: e.metric("waypost_requests_waiting") == 1, "it waits")
        put(f.path / "edge-policy.yaml", policy("b"))
        eq(ask(e, "reload")["policy"]["version"], "b", "reloaded in the middle")
        eq(e.chat("x")[0], 403, "the new one refuses cabin")
        for _ in events:
            pass
        waits.join()
        eq((first.finish, first.final["policy"].split()[0]), ("length", "e2e"), "the first one's policy")
        s, h, b = got[0]
        eq((s, h["x-waypost-route"], h["x-waypost-policy"].split()[0]), (200, "hidden", "e2e"),
           "the waiting one's")
        d = {x["facts"]["data.class"][0] + x["decision"]["rule"]: x["decision"]["policy"].split()[0]
             for x in e.decisions() if "decision" in x}
        eq(d["public.generalpublic-general"], "e2e", "and the log says so")
        eq(wp.ledger(f)[0]["policy"][:12], h["x-waypost-policy"].split(":")[1], "the ledger too")


def test_shadow():
    with wp.Folder() as f:
        shadow = f.file("shadow.yaml", policy("s", "refuse"))
        e = wp.Edge(f, policy=policy("a", "local"), policy__shadow=shadow, policy__watch_ms=20).start()
        s, h, _ = e.chat("x", max_tokens=1)
        eq((s, h["x-waypost-rule"]), (200, "rule-a"), "the first one decides")
        sh = e.decisions()[-1]["shadow"]
        eq((sh["rule"], sh["route"], sh["differs"]), ("rule-s", "refuse", True), "logged")
        eq(e.metric("waypost_shadow_differences_total"), 1, "counted")
        eq(e.metric('waypost_shadow_decisions_total{route="local",shadow="refuse"}'), 1, "counted")
        put(shadow, policy("t", "local"))
        wp.wait_for(lambda: info(e)["shadow"]["version"] == "t", "it is watched too")
        eq(info(e)["generation"], 1, "the first one is as it was")
        e.chat("x", max_tokens=1)
        eq(e.decisions()[-1]["shadow"]["differs"], False, "the same")
        eq(e.metric("waypost_shadow_differences_total"), 1, "not counted")
        put(shadow, "rules: [")
        wp.wait_for(lambda: info(e)["shadow"]["state"] == "broken", "a broken one is told")
        eq(e.chat("x", max_tokens=1)[0], 200, "and does no harm")
        eq(info(e)["state"], "ok", "to the first one")


def test_reload_under_load_mixes_nothing():
    with wp.Folder() as f:
        e = wp.Edge(f, policy=policy("v0"), policy__watch_ms=10, policy__state_dir=state_dir(f)).start()
        file, done, seen = f.path / "edge-policy.yaml", threading.Event(), [set(), set(), set()]

        def decide(i):
            c = e.connect()
            while not done.is_set():
                c.request("POST", "/v1/chat/completions", json.dumps(wp.chat_body("x")),
                          {"Content-Type": "application/json"})
                r = c.getresponse()
                b = json.loads(r.read())
                eq((r.status, b["error"]["code"]), (403, "refused_by_policy"), "decided")
                v = r.getheader("x-waypost-policy").split()[0]
                eq((r.getheader("x-waypost-rule"), b["waypost"]["rule"], b["waypost"]["policy"].split()[0]),
                   ("rule-" + v, "rule-" + v, v), "one policy from start to end")
                seen[i].add(v)

        def change():
            try:
                for n in range(1, 41):
                    put(file, policy(f"v{n}") if n % 5 else policy(f"v{n}")[:-9])
                    if n % 3 == 0:
                        e.proc.send_signal(signal.SIGHUP)
                    elif n % 3 == 1:
                        e.request("POST", PAGE + "/reload", unix=True)
                    time.sleep(0.01)
                put(file, policy("last"))
                wp.wait_for(lambda: info(e)["version"] == "last", "the last one")
            finally:
                done.set()

        wp.together(4, lambda i: change() if i == 3 else decide(i))
        assert len(set().union(*seen)) > 2, seen
        log = [(x["decision"]["policy"].split()[0], x["decision"]["rule"]) for x in e.decisions()]
        assert all(r == "rule-" + v for v, r in log), "the log"


if __name__ == "__main__":
    wp.run(globals())
