"""Starts the cloud stub and the edge, sends one request of each kind and shows what happened.

Run by scripts/quickstart; Python's standard library only.
"""
import argparse
import http.client
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

from stack import Stack, fail

QUESTION = "What is the capital of Italy, and what is it known for?"

# Some of the cabin's functions come with these: the device says first whether one of them is meant.
OFFERED = ("seat_heating", "window", "navigate", "call", "read_messages")
CABIN = [
    ("A command, carried out by the device", None, True,
     "Turn on the seat heating for the driver."),
    ("An open question that its class lets out", "public.general", True,
     QUESTION),
    ("One without a label: it stays, though the cloud would know better", None, True,
     QUESTION),
    ("A private command in a tunnel, where there is no cloud", None, False,
     "Navigate to Dr. Weber, number +49 170 1234567."),
]

DEMO = [
    # title, data class (None: no label), cloud on?, prompt
    ("A public question, by prompt", "public.general", True,
     QUESTION),
    ("The same by hidden states, tail in the cloud", "public.navigation", True,
     QUESTION),
    ("The same by hidden states, tail on the edge", "public.media", True,
     QUESTION),
    ("Marked public, but with a phone number in it", "public.general", True,
     "Call my mother at +49 170 1234567 and tell her that I am late."),
    ("A public question while the cloud is off", "public.general", False,
     "What is the capital of France?"),
]


def cabin_of(opt):
    """The adapter's settings and the catalogue; none where the adapter is not there or not of this model."""
    folder = pathlib.Path(opt.top) / "adapters" / "cabin"
    adapter = folder / "cabin.gguf"
    if not adapter.exists() or not pathlib.Path(opt.model).name.startswith("SmolLM2-135M-Instruct"):
        print("no adapters/cabin/cabin.gguf for this model: commands are not shown")
        return [], None
    catalogue = json.loads((folder / "catalogue.json").read_text())
    return ([f"cabin.adapter = {adapter}"],
            [{k: t[k] for k in ("type", "function")} for t in catalogue if t["function"]["name"] in OFFERED])


def ask(stack, data_class, prompt, max_tokens, tools=None):
    """Streams one answer to the terminal; returns what was measured."""
    body = {"model": "waypost", "stream": True, "temperature": 0, "max_tokens": max_tokens,
            "stream_options": {"include_usage": True},
            "messages": [{"role": "user", "content": prompt}]}
    if tools:
        body["tools"] = tools
    if data_class:
        body["metadata"] = {"data_class": data_class}
    c = http.client.HTTPConnection("127.0.0.1", stack.edge_port, timeout=120)
    start = time.monotonic()
    c.request("POST", "/v1/chat/completions", json.dumps(body),
              {"Content-Type": "application/json", "Authorization": "Bearer " + stack.key})
    r = c.getresponse()
    out = {"status": r.status, "text": "", "call": "", "first_token_ms": None, "tokens": 0}
    for name in ("route", "rule", "tier", "policy"):
        out[name] = r.getheader("x-waypost-" + name)
    if r.status != 200:
        out["error"] = json.loads(r.read().decode() or "{}")
        return out
    for raw in r:
        line = raw.decode().strip()
        if not line.startswith("data: ") or line == "data: [DONE]":
            continue
        event = json.loads(line[6:])
        if "error" in event:
            out["error"] = event["error"]
        out.update({k: v for k, v in event.get("waypost", {}).items()
                    if k in ("route", "rule", "tier", "because", "bytes_out", "intent", "confidence", "vss")})
        out["tokens"] = (event.get("usage") or {}).get("completion_tokens", out["tokens"])
        for choice in event.get("choices", []):
            text = choice.get("delta", {}).get("content") or ""
            for call in choice.get("delta", {}).get("tool_calls", []):
                f = call["function"]
                text += (f["name"] + " " if "name" in f else "") + f["arguments"]
                out["call"] += text
            if text and out["first_token_ms"] is None:
                out["first_token_ms"] = (time.monotonic() - start) * 1000
            out["text"] += text
            sys.stdout.write(text.replace("\n", "\n  "))
            sys.stdout.flush()
    total = time.monotonic() - start
    first = (out["first_token_ms"] or 0) / 1000
    out["total_ms"] = total * 1000
    out["tokens_per_s"] = (out["tokens"] - 1) / (total - first) if out["tokens"] > 1 else 0
    c.close()
    return out


def show(r):
    if "error" in r:
        print("  error:", json.dumps(r["error"]))
    first = "-" if r["first_token_ms"] is None else f"{r['first_token_ms']:.0f} ms"
    if "intent" in r:
        sure = f" ({r['confidence']:.2f})" if "confidence" in r else ""
        signal = f"   signal {r['vss']}" if "vss" in r else ""
        print(f"\n  understood {r['intent']}{sure}{signal}", end="")
    speed = f"the whole call {r['total_ms']:.0f} ms" if r.get("call") and "total_ms" in r else \
        f"first token {first}   {r.get('tokens_per_s', 0):.1f} tokens/s"
    print(f"\n  route {r['route']}   rule {r['rule']}   tier {r['tier']}"
          f"\n  {speed}"
          f"   bytes that left the car: {r.get('bytes_out', 0)}")
    if r.get("because"):
        print(f"  because: {r['because']}")


def how_to_talk(stack):
    print(f"""
The daemons are running. Talk to them:

  curl -N http://127.0.0.1:{stack.edge_port}/v1/chat/completions \\
    -H 'Content-Type: application/json' -H "Authorization: Bearer $(cat {stack.dir}/api-key)" \\
    -d '{{"model":"waypost","stream":true,"metadata":{{"data_class":"public.general"}},
         "messages":[{{"role":"user","content":"What is the capital of Italy?"}}]}}'

  from openai import OpenAI            # pip install openai
  client = OpenAI(base_url="http://127.0.0.1:{stack.edge_port}/v1", api_key=open("{stack.dir}/api-key").read())
  print(client.chat.completions.create(model="waypost",
        messages=[{{"role": "user", "content": "Hello"}}]).choices[0].message.content)

What left the car:  build/waypostctl ledger show {stack.dir}/ledger.jsonl
Why a rule matched: build/waypostctl policy explain {stack.policy} --help
Logs and configuration: {stack.dir}

Press Ctrl-C to stop.""")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--top", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--policy")
    p.add_argument("--once", action="store_true")
    p.add_argument("--json")
    p.add_argument("--max-tokens", type=int, default=48)
    opt = p.parse_args()
    settings, tools = cabin_of(opt)
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    stack = Stack(top=opt.top, model=opt.model, folder=pathlib.Path(state) / "waypost" / "quickstart",
                  policy=opt.policy or pathlib.Path(opt.top) / "policies" / "demo.yaml",
                  classes=["public.general", "public.navigation", "public.media"], edge_settings=settings)
    signal.signal(signal.SIGTERM, lambda *a: sys.exit(1))
    shown = []
    try:
        stack.write_config()
        stack.start_stub()
        stack.start_edge()
        print(f"stub on 127.0.0.1:{stack.stub_port}, edge on 127.0.0.1:{stack.edge_port}"
              f" and {stack.dir}/edge.sock, policy {stack.policy.name}")
        for title, data_class, cloud_on, prompt, with_tools in \
                [(*d, tools) for d in CABIN if tools] + [(*d, None) for d in DEMO]:
            if not cloud_on:
                stack.stop("waypost-cloud-stub")
            elif "waypost-cloud-stub" not in stack.procs:
                stack.start_stub()
            print(f"\n-- {title}\n  > {prompt}\n  ", end="")
            r = ask(stack, data_class, prompt, opt.max_tokens, with_tools)
            show(r)
            shown.append(dict(r, title=title, data_class=data_class, cloud=cloud_on, prompt=prompt))
        print("\n-- The ledger of what left the car", flush=True)
        ledger = str(stack.dir / "ledger.jsonl")
        subprocess.run([stack.program("waypostctl"), "ledger", "verify", ledger], check=True)
        if opt.json:
            pathlib.Path(opt.json).write_text(
                json.dumps({"model": stack.model, "policy": str(stack.policy), "requests": shown},
                           indent=2, ensure_ascii=False) + "\n")
        if not opt.once:
            stack.start_stub()
            how_to_talk(stack)
            signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        stack.stop_all()
    bad = [r["title"] for r in shown if r["status"] != 200 or "error" in r or not r["text"] + r["call"]]
    if bad:
        fail("no answer to: " + "; ".join(bad))


if __name__ == "__main__":
    main()
