"""Adapters: chosen by the request's model, side by side in one batch, and never sent on to a cloud that
does not hold them."""
import json
import subprocess

import wp
from wp import eq

TEXT = "What is the capital of Italy?"


def answer(e, model, **fields):
    s, h, b = e.chat(TEXT, max_tokens=16, model=model, logprobs=True, **fields)
    eq(s, 200, f"{model}: {b}")
    return h, b, [tuple(t["bytes"]) for t in b["choices"][0]["logprobs"]["content"]]


def test_a_request_chooses():
    with wp.Folder() as f:
        m = f.tiny()
        a, b = f.adapter("a.gguf", m), f.adapter("b.gguf", m, "--seed", "2", "--type", "q8_0", "--rank", "32")
        e = wp.Edge(f, adapter=[f"name=cabin path={a}", f"name=other/b path={b}"]).start()
        eq([x["id"] for x in json.loads(e.get("/v1/models")[2])["data"]], ["tiny", "cabin", "other/b"], "models")
        names = ["tiny", "cabin", "other/b", "gpt-4"]
        alone = {n: answer(e, n) for n in names}
        eq([alone[n][1]["model"] for n in names], ["tiny", "cabin", "other/b", "tiny"], "the answer's model")
        text = {n: alone[n][2] for n in names}
        eq(text["gpt-4"], text["tiny"], "an unknown name is the model")
        eq(len({tuple(text[n]) for n in names}), 3, "three different answers")
        got = wp.together(8, lambda i: answer(e, names[i % 4])[2])
        for i, one in enumerate(got):
            eq(one, text[names[i % 4]], f"{names[i % 4]} beside the others")
        st = e.stream(TEXT, max_tokens=16, model="cabin").all()
        eq((st.status, st.done), (200, True), "stream")
        eq([d["facts"]["request.model"] for d in e.decisions()[:3]], ["tiny", "cabin", "other/b"], "the log's names")
        assert "gpt-4" not in e.decisions_path.read_text(), "a client's own word is in the log"


def test_bad_settings_are_refused():
    with wp.Folder() as f:
        m = f.tiny()
        good = f.adapter("a.gguf", m)
        for entries, word in (([f"name=a path={good} scale=2"], "'scale'"), ([f"path={good}"], "needs name="),
                              ([f'name="a b" path={good}'], "needs name="), (["name=a"], "path="),
                              ([f"name=tiny path={good}"], "'tiny' is the name of"),
                              ([f"name=a path={good}", f"name=a path={good}"], "'a' is the name of")):
            conf = f.file("bad.conf", f"model.path = {m}\nmodel.name = tiny\n" +
                          "".join(f"adapter = {x}\n" for x in entries))
            r = subprocess.run([wp.program("waypost-edge"), "--config", str(conf), "--check-config"],
                               capture_output=True, text=True)
            eq(r.returncode, 2, f"{entries}: {r.stderr}")
            assert word in r.stderr, r.stderr
        wide = f.tiny("wide.gguf", "--d", "96", "--heads", "3", "--kv-heads", "1")
        for path, word in ((f.path / "none.gguf", "cannot open"), (m, "general.type: the file lacks"),
                           (f.adapter("wide-adapter.gguf", wide), "expected 64 x 8, found 96 x 8")):
            conf = f.file("bad.conf", f"model.path = {m}\nadapter = name=cabin path={path}\n"
                          "http.addr = none\nhttp.socket = " + str(f.path / "x.sock") + "\n")
            r = subprocess.run([wp.program("waypost-edge"), "--config", str(conf)], capture_output=True, text=True)
            eq(r.returncode, 1, f"{path}: {r.stderr}")
            assert "adapter cabin" in r.stderr and word in r.stderr, r.stderr


def test_rows_go_out_only_where_the_cloud_has_the_same_weights():
    rules = {"k2.cloud": ("hidden", 2, "cloud", "f32", "refuse"), "k2.edge": ("hidden", 2, "edge", "f32", "refuse"),
             "k1.cloud": ("hidden", 1, "cloud", "f32", "refuse"), "k1.local": ("hidden", 1, "cloud", "f32", "local")}
    with wp.Folder() as f:
        m = f.tiny()
        adapters = {"low": f.adapter("low.gguf", m, "--to", "2"), "high": f.adapter("high.gguf", m, "--from", "3")}
        stub = wp.Stub(f, m).start()
        e = wp.Edge(f, m, policy=wp.split_policy(rules), uplink=wp.uplink_conf(f, stub.port),
                    caller=[f"name=split key_sha256={wp.sha256('split')} classes={','.join(rules)}"],
                    adapter=[f"name={n} path={p}" for n, p in adapters.items()]).start()
        eq(e.uplink_state(), "ready", "uplink")
        want = {n: answer(e, n)[2] for n in ("tiny", "low", "high")}
        for cls in ("k2.cloud", "k2.edge"):
            for n in ("tiny", "low"):
                h, b, got = answer(e, n, data_class=cls, key="split")
                eq((h["x-waypost-route"], b["waypost"]["tier"]), ("hidden", "both"), f"{n} {cls}")
                eq(got, want[n], f"{n} {cls}: the answer of the device alone")
        before = len(wp.ledger(f))
        for n, cls in (("high", "k2.cloud"), ("high", "k2.edge"), ("low", "k1.cloud"), ("high", "k1.cloud")):
            s, h, b = e.chat(TEXT, cls, key="split", model=n)
            eq((s, b["error"]["code"]), (503, "escalation_failed"), f"{n} {cls}")
            eq(b["waypost"]["bytes_out"], 0, "bytes out")
        h, b, got = answer(e, "low", data_class="k1.local", key="split")
        eq((h["x-waypost-route"], b["waypost"]["bytes_out"], got), ("local", 0, want["low"]), "the fallback")
        eq(len(wp.ledger(f)), before, "no release for them")
        assert "which the target would run without it" in e.log(), "the log says why"


wp.run(globals())
