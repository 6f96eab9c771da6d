"""Function calls and answers of a given form, on the device, by the stub, and from a far server: a
model of random weights keeps to them too, and what they say is released and guarded like messages."""
import json

import wp
from test_gate import Gate
from wp import eq

SEAT = {"type": "function", "function": {
    "name": "seat", "description": "Seat heating", "parameters": {
        "type": "object", "properties": {
            "seat": {"enum": ["driver", "passenger"]}, "level": {"type": "integer", "minimum": 0, "maximum": 3},
            "note": {"type": "string", "maxLength": 8}}, "required": ["seat", "level"]}}}
STOP = {"type": "function", "function": {"name": "stop"}}
TOOLS = [SEAT, STOP]
FORM = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {
    "type": "object", "properties": {"ok": {"type": "boolean"}, "n": {"type": "array", "items": {"type": "integer"},
                                                                      "maxItems": 3}},
    "required": ["ok", "n"], "additionalProperties": False}}}
SETTINGS = {"engine__context": 2048}


def model(f):
    return f.tiny("tools.gguf", "--ctx", "4096")


def check_call(call):
    """A call of TOOLS that keeps to its schema."""
    eq((sorted(call), call["type"]), (["function", "id", "type"], "function"), "shape")
    assert call["id"].startswith("call_") and len(call["id"]) <= 64, call["id"]
    args = json.loads(call["function"]["arguments"])
    if call["function"]["name"] == "stop":
        eq(args, {}, "no arguments")
        return
    eq(call["function"]["name"], "seat", "name")
    assert set(args) <= {"seat", "level", "note"} and args["seat"] in ("driver", "passenger"), args
    assert args["level"] in (0, 1, 2, 3) and len(args.get("note", "")) <= 8, args


def check_answer(b):
    choice = b["choices"][0]
    eq(choice["finish_reason"], "tool_calls", "finish_reason")
    eq(choice["message"]["content"], None, "content")
    calls = choice["message"]["tool_calls"]
    assert 1 <= len(calls) <= 8, calls
    for c in calls:
        check_call(c)
    eq(len({c["id"] for c in calls}), len(calls), "ids")
    return calls


def collect(st):
    """The calls of a stream, put together as clients do it; (content, calls)."""
    calls, text = [], ""
    for e in st.events():
        for c in e.get("choices", []):
            text += c["delta"].get("content") or ""
            for d in c["delta"].get("tool_calls", []):
                if d["index"] == len(calls):
                    calls.append({"id": d["id"], "type": d["type"],
                                  "function": {"name": d["function"]["name"], "arguments": ""}})
                calls[d["index"]]["function"]["arguments"] += d["function"]["arguments"]
    return text, calls


def test_calls_on_the_device():
    with wp.Folder() as f:
        e = wp.Edge(f, model(f), **SETTINGS).start()
        for seed in range(8):
            hot = {"temperature": 1.3, "seed": seed, "max_tokens": 400, "tools": TOOLS,
                   "tool_choice": "required"}
            s, h, b = e.chat("Warm me", **hot)
            eq(s, 200, b)
            calls = check_answer(b)
            st = e.stream("Warm me", **hot)
            text, streamed = collect(st)
            eq((text, st.finish, st.n_final, st.done), ("", "tool_calls", 1, True), "stream")
            eq([c["function"] for c in streamed], [c["function"] for c in calls], "the same calls")
        named = {"type": "function", "function": {"name": "stop"}}
        _, _, b = e.chat("x", tools=TOOLS, tool_choice=named, parallel_tool_calls=False, max_tokens=200)
        eq([c["function"] for c in check_answer(b)], [{"name": "stop", "arguments": "{}"}], "named")
        _, _, b = e.chat("x", tools=TOOLS, max_tokens=40)
        m = b["choices"][0]["message"]
        assert m["content"] and "tool_calls" not in m, "auto: a random model says something else"
        want = e.chat("x", max_tokens=16)[2]["choices"]
        eq(e.chat("x", tools=TOOLS, tool_choice="none", max_tokens=16)[2]["choices"], want, "none")
        eq(e.decisions()[-1]["facts"]["request.tools"], True, "a fact for the policy")


def test_limits_still_give_whole_json():
    with wp.Folder() as f:
        e = wp.Edge(f, model(f), **SETTINGS).start()
        for n in (110, 90):
            _, _, b = e.chat("x", tools=[SEAT], tool_choice="required", max_tokens=n, temperature=1,
                             seed=1, parallel_tool_calls=False)
            check_answer(b)
            assert b["usage"]["completion_tokens"] <= n, b["usage"]
        _, _, b = e.chat("x", response_format={"type": "json_object"}, max_tokens=40, temperature=1)
        json.loads(b["choices"][0]["message"]["content"])
        # What can't be said in so few tokens is cut, and says so.
        _, _, b = e.chat("x", tools=[SEAT], tool_choice="required", max_tokens=5)
        eq(b["choices"][0]["finish_reason"], "length", "too short for any call")


def test_forms_on_the_device():
    with wp.Folder() as f:
        e = wp.Edge(f, model(f), **SETTINGS).start()
        for seed in range(6):
            _, _, b = e.chat("x", response_format=FORM, temperature=1.2, seed=seed, max_tokens=200,
                             logprobs=True)
            v = json.loads(b["choices"][0]["message"]["content"])
            eq((sorted(v), type(v["ok"])), (["n", "ok"], bool), "form")
            eq(b["choices"][0]["finish_reason"], "stop", "finish")
            assert all(t["logprob"] <= 0 for t in b["choices"][0]["logprobs"]["content"])
            _, _, b = e.chat("x", response_format={"type": "json_object"}, temperature=1, seed=seed,
                             max_tokens=300)
            assert isinstance(json.loads(b["choices"][0]["message"]["content"]), dict)

        def err(**kw):
            s, _, b = e.chat("x", **kw)
            return s, b["error"]["param"], b["error"]["code"]

        bad = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"items": {"not": {}}}}}
        eq(err(response_format=bad),
           (400, "response_format.json_schema.schema/items", "unsupported_schema"), "pointer")
        loop = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "#"}}}
        eq(err(response_format=loop), (400, None, "unsupported_schema"), "no end")
        eq(err(tools=[{"type": "function", "function": {"name": "a b"}}])[:2],
           (400, "tools[0].function.name"), "name")


def test_history_with_calls():
    with wp.Folder() as f:
        e = wp.Edge(f, model(f), **SETTINGS).start()
        call = {"id": "call_1", "type": "function",
                "function": {"name": "seat", "arguments": "{\"seat\":\"driver\",\"level\":2}"}}
        said = [{"role": "user", "content": "Warm me"},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "call_1", "content": "done"}]
        s, _, b = e.post("/v1/chat/completions", {"messages": said, "tools": TOOLS, "max_tokens": 8})
        eq(s, 200, b)
        shorter = e.post("/v1/chat/completions", {"messages": said[:1] + said[2:], "tools": TOOLS,
                                                  "max_tokens": 8})[2]
        assert b["usage"]["prompt_tokens"] > shorter["usage"]["prompt_tokens"] + 40, "the call is told"


def test_calls_by_the_stub():
    rules = {"public.prompt": ("prompt", 0, "", "", "refuse")}
    with wp.Folder() as f:
        stub = wp.Stub(f, model(f), engine__context=2048).start()
        e = wp.Edge(f, model(f), policy=wp.split_policy(rules), uplink=wp.uplink_conf(f, stub.port),
                    caller=[f"name=split key_sha256={wp.sha256('split')} classes=public.prompt"],
                    target=["name=cloud model=waypost"], **SETTINGS).start()
        for seed in range(3):
            hot = {"temperature": 1.3, "seed": seed, "max_tokens": 400, "tools": TOOLS,
                   "tool_choice": "required"}
            want = check_answer(e.chat("Warm me", key="split", **hot)[2])
            s, h, b = e.chat("Warm me", "public.prompt", key="split", **hot)
            eq((s, h["x-waypost-route"], h["x-waypost-tier"]), (200, "prompt", "cloud"), "route")
            eq([c["function"] for c in check_answer(b)], [c["function"] for c in want], "same model")
            st = wp.Stream(e, wp.chat_body("Warm me", "public.prompt", stream=True, **hot), "split")
            text, calls = collect(st)
            eq((text, [c["function"] for c in calls], st.finish),
               ("", [c["function"] for c in want], "tool_calls"), "stream")
        s, _, b = e.chat("x", "public.prompt", key="split", response_format=FORM, max_tokens=200)
        eq((s, sorted(json.loads(b["choices"][0]["message"]["content"]))), (200, ["n", "ok"]), "form")


def test_hidden_needs_the_tail_on_the_edge():
    rules = {f"{t}.{fb}": ("hidden", 2, t, "f32", fb) for t in ("edge", "cloud")
             for fb in ("local", "refuse")}
    with wp.Folder() as f:
        stub = wp.Stub(f, model(f), engine__context=2048).start()
        e = wp.Edge(f, model(f), policy=wp.split_policy(rules), uplink=wp.uplink_conf(f, stub.port),
                    caller=[f"name=split key_sha256={wp.sha256('split')} classes={','.join(rules)}"],
                    target=["name=cloud model=waypost"], **SETTINGS).start()
        hot = {"temperature": 1.3, "seed": 3, "max_tokens": 200, "tools": TOOLS,
               "tool_choice": "required", "parallel_tool_calls": False}

        def ask(cls):
            return e.chat("Warm me", cls, key="split", **hot)

        want = check_answer(ask(None)[2])
        s, h, b = ask("edge.refuse")
        eq((s, h["x-waypost-route"], b["waypost"]["tier"]), (200, "hidden", "both"), "tail on the edge")
        eq([c["function"] for c in check_answer(b)], [c["function"] for c in want], "the same call")
        s, h, b = ask("cloud.local")
        eq((s, h["x-waypost-route"], b["waypost"]["bytes_out"]), (200, "local", 0), "not released")
        assert "not supported" in b["waypost"]["because"], b["waypost"]
        eq([c["function"] for c in check_answer(b)], [c["function"] for c in want], "the same call")
        s, _, b = ask("cloud.refuse")
        eq((s, b["error"]["code"]), (503, "escalation_failed"), "no fallback")


def sse(delta, finish=None):
    return "data: " + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}) + "\n\n"


def piece(index, args, name=None, ident=None):
    f = {"arguments": args}
    if name:
        f["name"] = name
    c = {"index": index, "function": f}
    if ident:
        c.update(id=ident, type="function")
    return sse({"tool_calls": [c]})


CALLS = [["head", 200], ["data", sse({"role": "assistant", "content": None})],
         ["data", piece(0, "", "seat", "call_far") + piece(0, "{\"seat\":")],
         ["data", piece(0, " \"driver\",\"level\":1}")], ["data", piece(1, "{}", "stop")]]
END = [["data", sse({}, "tool_calls") + "data: [DONE]\n\n"], ["close", 0]]


def test_calls_from_a_far_server():
    with wp.Folder() as f:
        g = Gate(f, CALLS + END, model=model(f), **SETTINGS)
        ask = {"tools": TOOLS, "tool_choice": "auto", "response_format": FORM,
               "parallel_tool_calls": False}
        s, h, b = g.edge.chat("Warm me", "public.general", **ask)
        calls = check_answer(b)
        eq([c["function"]["name"] for c in calls], ["seat", "stop"], "calls")
        eq(calls[0]["id"], "call_far", "its own id, or ours")
        o = json.loads("".join(x["data"] for x in g.got("data")))
        eq({k: o[k] for k in ask}, ask, "all of it is told on")
        eq(b["waypost"]["bytes_out"], sum(len(x["data"]) for x in g.got("data")), "and counted")
        st = g.edge.stream("Warm me", "public.general", **ask)
        text, streamed = collect(st)
        eq([c["function"] for c in streamed], [c["function"] for c in calls], "stream")
        eq((text, st.finish, st.n_final), ("", "tool_calls", 1), "one end")


def test_far_servers_that_break_off_or_lie():
    with wp.Folder() as f:
        ask = {"tools": TOOLS, "tool_choice": "required", "max_tokens": 200}
        g = Gate(f, [["head", 200], ["close", -13]], model=model(f), **SETTINGS)
        s, h, b = g.edge.chat("Warm me", "public.general", **ask)
        eq((s, h["x-waypost-route"]), (200, "local"), "before the first piece: the device answers")
        check_answer(b)
        g.set_answer(CALLS[:3] + [["close", -13]])
        g2 = Gate(f, CALLS[:3] + [["close", -13]], model=model(f), name="edge2", **SETTINGS)
        s, _, b = g2.edge.chat("Warm me", "public.general", **ask)
        eq((s, b["error"]["code"]), (503, "escalation_failed"), "in the middle: no guess at the rest")
        st = g2.edge.stream("Warm me", "public.general", **ask).all()
        eq((st.status, st.error["code"], st.n_final), (200, "escalation_failed", 0), "stream")
        for i, lie in enumerate((piece(1, "{}", "stop"), piece(0, "{}"),
                                 piece(0, "", "seat") + piece(0, "", "stop"))):
            g = Gate(f, [["head", 200], ["data", lie]] + END, model=model(f), name=f"liar{i}", **SETTINGS)
            s, _, b = g.edge.chat("Warm me", "public.general", **ask)
            eq(s, 503 if i == 2 else 200, f"lie {i}")
            if s == 200:
                eq(b["waypost"]["route"], "local", "not believed")
        # Text so far that is not of the form: nobody makes valid JSON of it.
        g = Gate(f, [["head", 200], ["data", sse({"content": "{ \"ok\" "})], ["close", -13]],
                 model=model(f), name="half", **SETTINGS)
        s, _, b = g.edge.chat("x", "public.general", response_format=FORM)
        eq((s, b["error"]["code"]), (503, "escalation_failed"), "not of the form")
        g = Gate(f, [["head", 200], ["data", sse({"content": "{\"ok\": t"})], ["close", -13]],
                 model=model(f), name="good", **SETTINGS)
        s, _, b = g.edge.chat("x", "public.general", response_format=FORM, max_tokens=100)
        eq((s, b["waypost"]["tier"]), (200, "both"), "of the form: the device goes on")
        eq(json.loads(b["choices"][0]["message"]["content"])["ok"], True, "from where it stopped")


def test_functions_are_guarded_like_messages():
    with wp.Folder() as f:
        g = Gate(f, CALLS + END, model=model(f), **SETTINGS)
        number = "+49 170 1234567"
        spell = "".join(f"\\u{ord(c):04x}" for c in number)
        for where in ({"tools": [{"type": "function", "function": {"name": "f", "description": number}}]},
                      {"response_format": {"type": "json_schema", "json_schema": {
                          "name": "x", "schema": {"enum": ["a", "call\n" + number]}}}},
                      {"messages": [{"role": "user", "content": "x"},
                                    {"role": "assistant", "tool_calls": [{
                                        "id": "c", "type": "function", "function": {
                                            "name": "f", "arguments": "{\"to\":\"" + spell + "\"}"}}]},
                                    {"role": "user", "content": "y"}]}):
            s, h, b = g.edge.chat("x", "public.general", max_tokens=100, **where)
            eq((s, h["x-waypost-route"]), (200, "local"), str(where)[:60])
            eq(g.edge.decisions()[-1]["facts"]["data.class"], ["public.general", "identifier.phone"],
               "detected")
        eq(g.got("data"), [], "nothing left")


if __name__ == "__main__":
    wp.run(globals())
