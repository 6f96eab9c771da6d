#!/usr/bin/env python3
"""A decision log that never happened: conversations in a car, with what each would have been worth.

usage: mklog.py [--requests N] [--seed S] > log.jsonl

Commands and open questions come mixed. On a command, confidence tells much of whether the device is
right; on a question it tells little and the device is worse. So who keeps both by one threshold gives
away quality: that is what `policy tune` is tried on. Quality is labelled for both ways.
"""
import argparse
import json
import math
import random
import sys
import time

COMMANDS = ["set_temperature", "set_fan", "window", "navigate", "play_media", "call_contact"]
CALLERS = ["assistant", "navigation", "assistant", "assistant"]


def turn(r, kind, n_turn, prompt):
    """(facts, quality, answer tokens) of one request."""
    command = r.random() < (0.75 if kind == "commands" else 0.2)
    if command:
        sure = r.betavariate(2.2, 1.1)
        right = 1.0 if r.random() < sure else 0.0
        quality = {"local": right, "cloud": 1.0 if r.random() < 0.96 else 0.0}
        classes = ["public.command"] if r.random() < 0.95 else ["public.command", "cabin.speech"]
    else:
        sure = r.betavariate(3.0, 3.2)
        worth = min(1.0, max(0.0, 0.56 + 0.14 * sure + r.gauss(0.0, 0.1)))
        quality = {"local": round(worth, 3), "cloud": round(min(1.0, max(0.0, r.gauss(0.84, 0.08))), 3)}
        classes = ["public.general"]
    answer = r.randint(6, 14) if command else r.randint(40, 160)
    queue = min(8, int(r.expovariate(1.2)))
    up = r.random() < 0.93
    rtt = round(max(8.0, r.lognormvariate(math.log(45.0), 0.5)), 1)
    facts = {
        "caller": r.choice(CALLERS),
        "caller.seat": r.choice(["driver", "driver", "passenger"]),
        "data.class": classes,
        "request.language": r.choice(["en", "de", "zh"]),
        "request.prompt_tokens": prompt,
        "request.max_tokens": 32 if command else 256,
        "request.stream": not command,
        "request.tools": command,
        "engine.queue": queue,
        "engine.load": round(min(1.0, 0.2 + 0.1 * queue + r.random() * 0.2), 3),
        "engine.local_ms": int(25 + prompt * 1.1 + answer * 11.0 + queue * 240),
        "engine.first_token_ms": int(25 + prompt * 1.1 + queue * 240),
        "history.turns": n_turn,
        "vehicle.moving": r.random() < 0.7,
        "vehicle.country": r.choice(["DE", "FR", "CN"]),
        "intent": r.choice(COMMANDS) if command else "none",
        "confidence": round(sure, 4),
        "links": {"cloud": {"link.state": "up" if up else "down", "link.rtt_ms": rtt,
                            "link.metered": r.random() < 0.6,
                            "link.total_ms": int(2 * rtt + 60 + prompt * 0.1 + answer * 6.0)}},
    }
    return facts, quality, answer, up


def decide(r, facts, up):
    """What the car of this log had: anything it was unsure of went out."""
    leaves = facts["data.class"] in (["public.general"], ["public.command"])
    if up and leaves and facts["confidence"] < 0.7:
        return {"rule": "unsure", "policy": "old", "route": "prompt", "fallback": "local",
                "target": "cloud"}
    return {"rule": "default", "policy": "old", "route": "local", "fallback": "local"}


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--requests", type=int, default=10000)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    r = random.Random(a.seed)
    clock, n = 1764000000.0, 0
    dump = json.JSONEncoder(separators=(",", ":")).encode
    while n < a.requests:
        session = "%016x" % r.getrandbits(64)
        kind, prompt = r.choice(["commands", "commands", "talk"]), r.randint(12, 60)
        for k in range(r.randint(1, 6)):
            clock += r.expovariate(1.0 / 8.0)
            facts, quality, answer, up = turn(r, kind, k, prompt)
            made = decide(r, facts, up)
            left = made["route"] != "local"
            ms = facts["links"]["cloud"]["link.total_ms"] if left else facts["engine.local_ms"]
            ms *= r.uniform(0.9, 1.3)
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(clock))
            sys.stdout.write(dump({
                "time": "%s.%03dZ" % (stamp, int(clock * 1000) % 1000),
                "request_id": "req-%08d" % n, "decision_id": "%032x" % r.getrandbits(128),
                "session": session, "facts": facts, "decision": made,
                "outcome": {"result": "ok", "status": 200, "route": made["route"],
                            "tier": "cloud" if left else "edge", "prompt_tokens": prompt,
                            "answer_tokens": answer,
                            "released_bytes": prompt * 5 + 120 if left else 0,
                            "bytes_out": prompt * 5 + 410 if left else 0,
                            "first_token_us": int(ms * 400), "total_us": int(ms * 1000)},
                "quality": quality}) + "\n")
            n += 1
            prompt += r.randint(20, 90)
            if n == a.requests:
                break


main()
