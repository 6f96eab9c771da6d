"""What the edge knows: the vehicle's feed and its age, the device, language, what a conversation was
about and who has seen it, budgets, quotas, consents and the share."""
import json
import os
import socket
import subprocess
import time

import wp
from wp import eq

HEAD = 'waypost_policy: 1\nversion: "f"\n'


def rule(when, route="refuse", name="r"):
    return f"rules:\n  - name: {name}\n    when: {when}\n    route: {route}\n"


def status(e, **kw):
    return e.chat("x", max_tokens=1, **kw)[0]


class Feed:
    """The vehicle's end of the socket."""

    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.connect(str(path))

    def say(self, obj):
        self.raw(json.dumps(obj).encode() + b"\n")

    def raw(self, data):
        self.s.sendall(data)


def heard(e, n):
    wp.wait_for(lambda: e.metric("waypost_vehicle_lines_total") >= n, f"{n} lines")


def test_the_feed_and_its_age():
    with wp.Folder() as f:
        sock = f.path / "vehicle.sock"
        e = wp.Edge(f, policy=HEAD + "signals:\n  Vehicle.Speed: { type: number, max_age_ms: 600000 }\n"
                    "  vehicle.moving: { max_age_ms: 600000 }\n  vehicle.guest_mode: { max_age_ms: 600000 }\n"
                    "  Vehicle.Cabin.Song: { type: text, max_age_ms: 600000 }\n" +
                    rule("{ any: [ { vehicle.moving: true }, { Vehicle.Speed: { gt: 100 } },"
                         " { vehicle.guest_mode: true }, { Vehicle.Cabin.Song: x } ] }"),
                    vehicle__socket=sock, policy__watch_ms=0).start()
        eq(oct(sock.stat().st_mode & 0o777), "0o600", "its owner's only")
        feed = Feed(sock)
        eq(status(e), 200, "nothing is known")
        feed.say({"Vehicle.IsMoving": True})
        heard(e, 1)
        eq(status(e), 403, "it moves")
        eq(e.decisions()[-1]["facts"]["vehicle.moving"], True, "in the log")
        feed.say({"Vehicle.IsMoving": True, "time": time.time() - 3})
        feed.say({"Vehicle.IsMoving": None})
        heard(e, 3)
        eq(status(e), 200, "not known any more")
        feed.say({"Vehicle.IsMoving": True, "time": time.time() - 1})
        heard(e, 4)
        eq(status(e), 200, "null is newer than what was measured before it")
        feed.say({"Vehicle.IsMoving": False})
        feed.say({"vehicle.guest_mode": True, "time": time.time() - 50})
        heard(e, 6)
        eq(status(e), 403, "a guest, as of 50 s ago")
        feed.say({"vehicle.guest_mode": False})
        feed.say({"Vehicle.Speed": 120.5})
        heard(e, 8)
        eq(status(e), 403, "a signal of the policy's own")
        eq(e.decisions()[-1]["facts"]["Vehicle.Speed"], 120.5, "in the log")
        feed.say({"Vehicle.Speed": "fast"})
        heard(e, 9)
        eq(status(e), 200, "of another type: not known")
        feed.say({"Vehicle.Cabin.Song": "Yesterday, by the Beatles"})
        heard(e, 10)
        eq(status(e), 200, "another song")
        eq(e.decisions()[-1]["facts"]["Vehicle.Cabin.Song"], "(other)", "free text is not logged")
        feed.s.close()
        f2 = Feed(sock)
        f2.say({"Vehicle.Speed": 130})
        heard(e, 11)
        eq(status(e), 403, "another connection")


def test_stale_is_absent():
    with wp.Folder() as f:
        sock = f.path / "vehicle.sock"
        e = wp.Edge(f, policy=HEAD + "signals:\n  vehicle.moving: { max_age_ms: 120000 }\n" +
                    rule("{ vehicle.moving: true }"), vehicle__socket=sock).start()
        feed = Feed(sock)
        feed.say({"Vehicle.IsMoving": True, "time": time.time() - 30})
        heard(e, 1)
        eq(status(e), 403, "half a minute old")
        feed.say({"Vehicle.IsMoving": None})
        feed.say({"vehicle.moving": True, "time": time.time() - 119})
        heard(e, 3)
        wp.wait_for(lambda: status(e) == 200, "older than two minutes: cannot tell")
        assert "vehicle.moving" not in e.decisions()[-1]["facts"], "nor is it in the log"
        feed.say({"Vehicle.IsMoving": True, "time": time.time() - 130})
        heard(e, 4)
        eq(status(e), 200, "it came too late")


def test_bad_lines_are_refused_whole():
    with wp.Folder() as f:
        sock = f.path / "vehicle.sock"
        e = wp.Edge(f, policy=HEAD + "signals:\n  vehicle.moving: { max_age_ms: 600000 }\n" +
                    rule("{ vehicle.moving: true }"), vehicle__socket=sock).start()
        feed = Feed(sock)
        bad = [b"junk", b"[1]", b'{"a b": 1}', b'{"Vehicle.IsMoving": true, "x": [1]}',
               b'{"Vehicle.IsMoving": true, "x": "' + b"y" * 65 + b'"}', b'{"x": 1, "x": 2}',
               b'{"Vehicle.IsMoving": true, "time": "now"}',
               json.dumps({"Vehicle.IsMoving": True, "time": time.time() + 60}).encode(),
               b'{"Vehicle.IsMoving": true, "x": "\\u0000"}', b'{"Vehicle.IsMoving": true, "\xff": 1}']
        for line in bad:
            feed.raw(line + b"\n")
        heard(e, len(bad))
        eq(e.metric("waypost_vehicle_bad_lines_total"), len(bad), "all of them")
        eq(status(e), 200, "nothing of them counts")
        feed.raw(b'{"Vehicle.Is')
        feed.raw(b'Moving": true}\n\n')
        heard(e, len(bad) + 1)
        eq(status(e), 403, "a line in pieces")
        feed.say({"Vehicle.IsMoving": False})
        heard(e, len(bad) + 2)
        for i in range(300):
            feed.say({f"s{i}": i})
        heard(e, len(bad) + 302)
        eq(e.metric("waypost_vehicle_signals"), 256, "so many signals")
        feed.say({"Vehicle.IsMoving": True})
        heard(e, len(bad) + 303)
        eq(status(e), 403, "known ones go on")
        try:
            for _ in range(40):
                feed.raw(b"x" * 4096)
            wp.wait_for(lambda: feed.s.recv(1) == b"", "closed")
        except (BrokenPipeError, ConnectionResetError):
            pass
        more = [Feed(sock) for _ in range(4)]
        extra = Feed(sock)
        eq(extra.s.recv(1), b"", "a fifth connection is refused")
        assert more and e.get("/healthz")[0] == 200


def test_a_file_as_feed():
    with wp.Folder() as f:
        file = f.file("vehicle.json", json.dumps({"vehicle.guest_mode": True}))
        e = wp.Edge(f, policy=HEAD + rule("{ vehicle.guest_mode: true }"), vehicle__file=file).start()
        eq(status(e), 403, "as it is at start")
        new = f.file("new.json", '{\n "vehicle.guest_mode": false\n}\n')
        new.rename(file)
        wp.wait_for(lambda: status(e) == 200, "read again")
        new = f.file("new.json", json.dumps({"vehicle.guest_mode": True}))
        os.utime(new, (time.time() - 120, time.time() - 120))
        new.rename(file)
        heard(e, 3)
        eq(status(e), 200, "as old as the file is")
        p = subprocess.run([*e.args, "--set", "vehicle.socket_mode=9", "--check-config"],
                           capture_output=True, text=True)
        assert p.returncode == 2 and "octal" in p.stderr, p.stderr


def test_the_device_itself():
    with wp.Folder() as f:
        root = f.path / "root"
        zone = root / "sys/class/thermal/thermal_zone0"
        zone.mkdir(parents=True)
        (root / "proc").mkdir()
        (zone / "temp").write_text("91500\n")
        (root / "sys/firmware/acpi").mkdir(parents=True)
        (root / "sys/firmware/acpi/platform_profile").write_text("low-power\n")
        (root / "proc/stat").write_text("cpu  100 0 100 800 0 0 0 0 0 0\n")
        e = wp.Edge(f, policy=HEAD + rule("{ engine.temperature: { gt: 90 }, engine.power_mode: saving,"
                                          " engine.load: { not: 5 } }"), device__root=f"{root}/").start()
        eq(status(e), 200, "the load needs two looks")
        (root / "proc/stat").write_text("cpu  130 0 130 840 0 0 0 0 0 0\n")
        wp.wait_for(lambda: status(e) == 403, "hot and saving")
        d = e.decisions()[-1]["facts"]
        eq((d["engine.temperature"], d["engine.power_mode"], d["engine.load"]), (91.5, "saving", 0.6),
           "in the log")


def test_language_by_script_or_word():
    with wp.Folder() as f:
        e = wp.Edge(f, policy=HEAD + rule("{ request.language: zh }")).start()
        long_zh = "导航到北京南站 please"
        for text, want in (("打开车窗", "zh"), (long_zh, "zh"), ("窓を開けて", "ja"), ("창문 열어", "ko"),
                           ("Open the window", None), ("Öffne das Fenster", None), ("Открой окно", None),
                           ("Άνοιξε το παράθυρο", "el"), ("เปิดหน้าต่าง", "th"), ("12345 !?", None),
                           ("פתח את החלון", "he")):
            e.chat(text, max_tokens=1)
            eq(e.decisions()[-1]["facts"].get("request.language"), want, text)
        eq(e.chat("打开车窗")[0], 403, "a rule")
        for tag, want in (("de", "de"), ("zh-Hant", "zh-Hant"), ("Deutsch!", None), ("d", None),
                          ("en-" + "x" * 20, None)):
            e.chat("Open", max_tokens=1, metadata={"language": tag})
            eq(e.decisions()[-1]["facts"].get("request.language"), want, tag)


def turn(e, *texts, data_class=None, session=None):
    """A turn that repeats the earlier ones, as a client does."""
    msgs = []
    for i, t in enumerate(texts):
        msgs.append({"role": "user", "content": t})
        if i + 1 < len(texts):
            msgs.append({"role": "assistant", "content": f"answer {i}"})
    meta = {"session": session} if session else {}
    s, h, b = e.chat("", data_class, messages=msgs, max_tokens=1, metadata=meta)
    return s, h, e.decisions()[-1]


def test_labels_grow_from_turn_to_turn():
    with wp.Folder() as f:
        e = wp.Edge(f, policy=HEAD + rule(
            "{ history.turns: { ge: 1 }, history.released: { only: [public.*] } }", "local")).start()
        _, h, a = turn(e, "my diary")
        eq((a["facts"]["data.class"], a["facts"]["history.turns"]), (["cabin"], 0), "first turn")
        assert "data.history" not in a["facts"] and "history.last_route" not in a["facts"]
        _, h, b = turn(e, "my diary", "the weather", data_class="public.general")
        eq(b["facts"]["data.class"], ["public.general", "cabin"], "the first turn's class stays")
        eq((b["facts"]["data.history"], b["facts"]["data.declared"]), (["cabin"], ["public.general"]),
           "where it comes from")
        eq((b["facts"]["history.turns"], b["facts"]["history.last_route"], b["facts"]["history.released"]),
           (1, "local", []), "history")
        eq((a["session"], h["x-waypost-rule"]), (b["session"], "r"), "one conversation")
        _, _, c = turn(e, "my diary", "the weather", "and now", data_class="public.media")
        eq(sorted(c["facts"]["data.class"]), ["cabin", "public.general", "public.media"], "and the second's")
        _, _, d = turn(e, "the weather", data_class="public.general")
        eq(d["facts"]["data.class"], ["public.general"], "another conversation")
        assert d["session"] != a["session"]
        _, _, x = turn(e, "never heard", "and now", data_class="public.general")
        eq(x["facts"]["history.turns"], 1, "counted from its own words")
        assert "history.released" not in x["facts"], "what was before is not known"
        _, _, s1 = turn(e, "one", session="my-session")
        _, _, s2 = turn(e, "two", data_class="public.general", session="my-session")
        eq(s2["facts"]["data.class"], ["public.general", "cabin"], "by the caller's own name for it")
        eq(s1["session"], s2["session"], "one conversation")
        assert "my-session" not in f.text_of_all_logs(), "its name is not logged"
        _, _, s3 = turn(e, "three", data_class="public.general", session="my-session-2")
        eq(s3["facts"]["data.class"], ["public.general"], "another session")
        before = a["session"]
        e.stop()
        e.start()
        assert turn(e, "my diary")[2]["session"] != before, "keyed anew at each start"


def with_cloud(f, policy, **settings):
    st = wp.Stub(f).start()
    e = wp.Edge(f, policy=policy, uplink=wp.uplink_conf(f, st.port), policy__watch_ms=0,
                target=["name=cloud model=waypost"], **settings).start()
    e.wait_uplink()
    return e


CLOUD = "targets:\n  cloud: { modes: [prompt], price: { in: 10, out: 30 } }\n"


def leaves(more=""):
    return ("rules:\n  - name: out\n    when: { data.class: { only: [public.general] }" + more +
            " }\n    route: prompt\n    target: cloud\n")


def test_who_has_seen_it():
    with wp.Folder() as f:
        e = with_cloud(f, HEAD + CLOUD + leaves())
        _, h, a = turn(e, "hello", data_class="public.general")
        eq(h["x-waypost-route"], "prompt", "it leaves")
        eq(a["facts"]["links"]["cloud"]["history.seen"], False, "for the first time")
        assert a["facts"]["links"]["cloud"]["request.cost"] > 0
        _, _, b = turn(e, "hello", "again", data_class="public.general")
        eq(b["facts"]["links"]["cloud"]["history.seen"], True, "seen")
        eq((b["facts"]["history.last_target"], b["facts"]["history.released"]),
           ("cloud", ["public.general"]), "and what")
        _, h, c = turn(e, "hello", "again", "my diary")
        eq((h["x-waypost-route"], c["facts"]["history.released"]), ("local", ["public.general"]), "a diary")
        _, h, d = turn(e, "hello", "again", "my diary", "and so on", data_class="public.general")
        eq((h["x-waypost-route"], d["facts"]["data.class"]), ("local", ["public.general", "cabin"]),
           "keeps the rest at home")
        eq(d["facts"]["history.released"], ["public.general"], "what has left has left")


def test_budgets_and_quotas():
    budgets = ("budgets:\n  calls: { unit: requests, limit: 2, per: trip }\n"
               "  bytes: { unit: bytes, limit: 1000000, per: [caller, day] }\n"
               "  money: { unit: money, limit: 5, per: month }\n"
               "callers:\n  e2e: { match: { key_sha256: " + wp.sha256(wp.KEY) +
               " }, quota: { requests: 5, per: trip } }\n")
    when = ", budget.calls.left: { gt: 0 }, budget.bytes.left: { gt: 0 }, budget.money.left: { gt: 0 }"
    with wp.Folder() as f:
        file = f.path / "used.json"
        sock = f.path / "vehicle.sock"
        e = with_cloud(f, HEAD + CLOUD + budgets + leaves(when), budget__file=file, vehicle__socket=sock)
        routes = [turn(e, f"q {i}", data_class="public.general")[1]["x-waypost-route"] for i in range(3)]
        eq(routes, ["prompt", "prompt", "local"], "two may leave")
        d = e.decisions()
        eq([x["facts"]["budget.calls.left"] for x in d], [2, 1, 0], "what is left")
        eq([x["facts"]["caller.requests_left"] for x in d], [5, 4, 3], "the quota")
        used = 1000000 - d[2]["facts"]["budget.bytes.left"]
        eq(used, d[0]["outcome"]["bytes_out"] + d[1]["outcome"]["bytes_out"], "bytes as the uplink said")
        assert used > 0 and d[2]["facts"]["budget.money.left"] < 5
        eq(e.stop(), 0, "end")
        e.start().wait_uplink()
        eq(turn(e, "q 3", data_class="public.general")[1]["x-waypost-route"], "local", "over a restart")
        feed = Feed(sock)
        feed.say({"Vehicle.LowVoltageSystemState": "OFF"})
        feed.say({"Vehicle.LowVoltageSystemState": "ON"})
        heard(e, 2)
        _, h, x = turn(e, "q 4", data_class="public.general")
        eq((h["x-waypost-route"], x["facts"]["budget.calls.left"]), ("prompt", 2), "a new trip")
        eq(x["facts"]["caller.requests_left"], 5, "for quotas too")
        wp.wait_for(lambda: json.loads(file.read_text())["trip"] >= 1, "written while it runs")
        eq(e.stop(), 0, "end")
        file.write_text("{")
        e.start().wait_uplink()
        _, h, x = turn(e, "q 5", data_class="public.general")
        eq(h["x-waypost-route"], "local", "a broken record opens nothing")
        assert "budget.calls.left" not in x["facts"], x
        eq(e.metric("waypost_budget_state_broken"), 1, "and is told")
        eq(file.read_text(), "{", "and is not written over")


def test_callers_of_the_policy():
    with wp.Folder() as f:
        who = ("callers:\n  navi: { match: { socket: unix, uid: %d }, labels: [public.*], seat: driver }\n"
               "  media: { match: { key_sha256: %s }, labels: [public.media] }\n"
               "  elsewhere: { match: { socket: other }, labels: [public.*] }\n" %
               (os.getuid(), wp.sha256("media-key")))
        e = wp.Edge(f, policy=HEAD + who + rule("{ caller.seat: driver, data.class: { any: [public.x.y] } }"),
                    policy__watch_ms=0).start()
        eq(status(e, data_class="public.x.y", key=None, unix=True), 403, "navi, by the driver's seat")
        d = e.decisions()[-1]["facts"]
        eq((d["caller"], d["caller.seat"], d["data.class"]), ("navi", "driver", ["public.x.y"]), "facts")
        eq(status(e, data_class="publicity", key=None, unix=True), 403, "not below public")
        eq(e.decisions()[-1]["facts"]["data.class"], [], "refused before a decision")
        eq(status(e, data_class="public.media", key="media-key"), 200, "by key")
        eq(status(e, data_class="public.general", key="media-key"), 403, "not this one's")
        eq(status(e, data_class="public.general"), 200, "the configuration's own caller comes first")
        eq(e.decisions()[-1]["facts"]["caller"], "e2e", "by name")
        eq(status(e, data_class="public.media", key="nobody"), 403, "a stranger")
        (f.path / "edge-policy.yaml").write_text(HEAD + rule("{ caller: navi }"))
        e.request("POST", "/v1/policy/reload", unix=True)
        eq(status(e, data_class="public.media", key="media-key"), 403, "gone with the policy")


def test_times_are_local():
    os.environ["TZ"] = "CAR-5:30"  # five and a half hours before UTC

    def hhmm(add_min):
        t = time.gmtime(time.time() + 330 * 60 + add_min * 60)
        return f"{t.tm_hour:02}:{t.tm_min:02}"

    try:
        with wp.Folder() as f:
            e = wp.Edge(f, policy=HEAD + "consents:\n"
                        f"  now: {{ lapses: day, between: [{hhmm(-2)}, {hhmm(5)}] }}\n"
                        f"  later: {{ lapses: day, between: [{hhmm(60)}, {hhmm(70)}] }}\n" +
                        rule(f"{{ time.of_day: {{ between: [{hhmm(-2)}, {hhmm(5)}] }}, consent.later: false,"
                             " consent.now: true }")).start()
            eq(status(e), 200, "nobody was asked")
            for name in ("now", "later"):
                s, _, _ = e.request("POST", "/v1/policy/consent",
                                    json.dumps({"consent": name, "granted": True}), unix=True)
                eq(s, 200, name)
            eq(status(e), 403, "one of them counts at this time")
            facts = e.decisions()[-1]["facts"]
            now = time.gmtime(time.time() + 330 * 60)
            assert (now.tm_hour * 60 + now.tm_min - facts["time.of_day"]) % 1440 <= 2, facts
            assert facts["time.weekday"] in ("mon", "tue", "wed", "thu", "fri", "sat", "sun"), facts
    finally:
        del os.environ["TZ"]


def test_consents_lapse_with_the_drive():
    with wp.Folder() as f:
        sock = f.path / "vehicle.sock"
        e = wp.Edge(f, policy=HEAD + "consents:\n  cloud-help: { lapses: trip }\n" +
                    rule("{ consent.cloud-help: true }"), vehicle__socket=sock,
                    budget__file=f.path / "used.json").start()

        def consent(obj, unix=True):
            s, _, b = e.request("POST", "/v1/policy/consent", json.dumps(obj), unix=unix)
            return s, json.loads(b)

        eq(status(e), 200, "nobody was asked")
        eq(consent({"consent": "cloud-help", "granted": True}, unix=False)[0], 403, "not over TCP")
        for bad in ({"consent": "other", "granted": True}, {"consent": "cloud-help"}, [],
                    {"consent": "cloud-help", "granted": "yes"}):
            eq(consent(bad)[0], 400, str(bad))
        eq(consent({"consent": "cloud-help", "granted": True}), (200, {"consents": {"cloud-help": True}}),
           "granted")
        eq(status(e), 403, "it holds")
        e.stop()
        e.start()
        eq(status(e), 403, "over a restart")
        feed = Feed(sock)
        feed.say({"Vehicle.LowVoltageSystemState": "OFF"})
        feed.say({"Vehicle.LowVoltageSystemState": "START"})
        heard(e, 2)
        eq(status(e), 200, "the next drive begins without")
        eq(consent({"consent": "cloud-help", "granted": True})[0], 200, "again")
        eq(consent({"consent": "cloud-help", "granted": False})[1], {"consents": {"cloud-help": False}},
           "withdrawn")
        eq(status(e), 200, "at once")


def test_the_share_moves_a_threshold():
    with wp.Folder() as f:
        share = ("share:\n  edge: 0.5\n  over: 20\n  moves:\n"
                 "    - { rule: out, fact: request.prompt_tokens, min: 10, max: 200 }\n")
        e = with_cloud(f, HEAD + CLOUD + share + leaves(", request.prompt_tokens: { lt: 11 }"))
        seen, n = [], 0
        for i in range(80):
            n = (n * 75 + 74) % 65537  # lengths all over the range
            turn(e, "q " * (1 + n % 150), data_class="public.general")
            seen.append(e.decisions()[-1])
        assert "share.edge" not in seen[0]["facts"], "too few"
        eq(seen[10]["facts"]["share.edge"], 1.0, "all on the device at first")
        at = [x["facts"]["share.out"] for x in seen if "share.out" in x["facts"]]
        assert max(at) > 40 and all(10 <= v <= 200 for v in at), at
        eq({x["decision"]["route"] for x in seen[-40:]}, {"local", "prompt"}, "both, in the end")


if __name__ == "__main__":
    wp.run(globals())
