"""Edge, uplink and stub together: the prompt route, and the hidden route at several layers with either
tail, whose greedy answers with f32 rows are the local ones token by token."""
import wp
from wp import eq

PROMPTS = ["What is the capital of Italy?", "Name five animals.", "the user and the", "Ünïcödé 你好"]
RULES = {"public.prompt": ("prompt", 0, "", "", "refuse")}
for _k in (1, 2, 3):
    for _tail in ("cloud", "edge"):
        for _dtype in ("f32", "f16", "i8"):
            RULES[f"k{_k}.{_tail}.{_dtype}"] = ("hidden", _k, _tail, _dtype, "refuse")


class Stack:
    """Stub, uplink and edge with one rule a class."""

    def __init__(self, f, model=None, rules=None, **settings):
        self.f = f
        self.stub = wp.Stub(f, model).start()  # its model's name is the default, "waypost"
        self.rules = rules or RULES
        caller = [f"name=split key_sha256={wp.sha256('split')} classes={','.join(self.rules)}"]
        self.edge = wp.Edge(f, model, policy=wp.split_policy(self.rules),
                            uplink=wp.uplink_conf(f, self.stub.port), caller=caller,
                            target=["name=cloud model=waypost"], **settings).start()
        eq(self.edge.uplink_state(), "ready", "uplink")

    def ask(self, text, cls=None, **fields):
        s, h, b = self.edge.chat(text, cls, key="split", **fields)
        eq(s, 200, f"{cls}: {b}")
        return h, b


def pieces(b):
    return [tuple(t["bytes"]) for t in b["choices"][0]["logprobs"]["content"]]


def test_prompt_route():
    with wp.Folder() as f:
        s = Stack(f)
        for text in PROMPTS:
            _, want = s.ask(text, max_tokens=20)
            h, b = s.ask(text, "public.prompt", max_tokens=20)
            eq((h["x-waypost-route"], h["x-waypost-tier"]), ("prompt", "cloud"), "headers")
            eq(b["choices"][0]["message"], want["choices"][0]["message"], "the same model, the same text")
            eq(b["usage"]["total_tokens"], want["usage"]["total_tokens"], "usage")
        st = s.edge.stream(PROMPTS[0], "public.prompt", key="split").all()
        eq((st.status, st.n_final, st.done, st.final["tier"]), (200, 1, True, "cloud"), "stream")


def test_split_is_exact():
    with wp.Folder() as f:
        s = Stack(f)
        for text in PROMPTS:
            want = pieces(s.ask(text, max_tokens=24, logprobs=True)[1])
            for cls, (route, _k, _tail, dtype, _fb) in RULES.items():
                if dtype != "f32":
                    continue
                h, b = s.ask(text, cls, max_tokens=24, logprobs=True)
                eq(h["x-waypost-route"], "hidden", cls)
                eq(pieces(b), want, f"{cls} {text!r}")
                # With no token (the first is an end token) there is still one that the cloud made.
                eq(b["waypost"]["tier"], "both", cls)


def test_smaller_rows_work_and_are_smaller():
    with wp.Folder() as f:
        s = Stack(f)
        for tail in ("cloud", "edge"):
            sent = {}
            for dtype in ("f32", "f16", "i8"):
                h, b = s.ask(PROMPTS[0], f"k2.{tail}.{dtype}", max_tokens=8)
                eq(h["x-waypost-route"], "hidden", dtype)
                sent[dtype] = b["waypost"]["bytes_out"]
            assert sent["f32"] > sent["f16"] > sent["i8"], sent


def test_long_prompt_in_chunks_and_many_at_once():
    with wp.Folder() as f:
        s = Stack(f, engine__sessions=4)
        text = "the user and the list of " * 25
        want = pieces(s.ask(text, max_tokens=12, logprobs=True)[1])
        eq(pieces(s.ask(text, "k2.cloud.f32", max_tokens=12, logprobs=True)[1]), want, "many chunks")
        classes = ["k1.cloud.f32", "k2.edge.f32", None, "k3.cloud.f32", "public.prompt", "k1.edge.f32"]
        got = wp.together(6, lambda i: s.ask(text, classes[i], max_tokens=12)[1])
        eq({g["choices"][0]["message"]["content"] for g in got},
           {s.ask(text, max_tokens=12)[1]["choices"][0]["message"]["content"]}, "all the same")


def test_stop_strings_and_sampling_with_the_tail_on_the_edge():
    with wp.Folder() as f:
        s = Stack(f)
        full = s.ask(PROMPTS[2], max_tokens=24)[1]["choices"][0]["message"]["content"]
        stop = full[5:8]
        for cls in (None, "k2.cloud.f32", "k2.edge.f32", "public.prompt"):
            _, b = s.ask(PROMPTS[2], cls, max_tokens=24, stop=[stop])
            eq((b["choices"][0]["message"]["content"], b["choices"][0]["finish_reason"]),
               (full[:full.index(stop)], "stop"), f"{cls}")
        # Sampler and its random numbers are on the edge: a seeded answer is the local one too.
        hot = dict(max_tokens=24, temperature=1.2, seed=11, repeat_penalty=1.3)
        want = s.ask(PROMPTS[1], **hot)[1]["choices"]
        eq(s.ask(PROMPTS[1], "k2.edge.f32", **hot)[1]["choices"], want, "tail on the edge")


def test_ledger_says_what_left():
    with wp.Folder() as f:
        s = Stack(f)
        s.ask(PROMPTS[0])
        eq(wp.ledger(f), [], "nothing yet")
        bytes_out = [s.ask(PROMPTS[0], c)[1]["waypost"]["bytes_out"]
                     for c in ("public.prompt", "k2.cloud.f16")]
        wp.wait_for(lambda: len(wp.ledger(f)) == 4, "two records a request")
        recs = wp.ledger(f)
        rel = [r for r in recs if r["kind"] == "release"]
        end = {r["decision"]: r for r in recs if r["kind"] == "close"}
        eq([(r["rule"], r["mode"], r["classes"]) for r in rel],
           [("public-prompt", "prompt", ["public.prompt"]),
            ("k2-cloud-f16", "hidden", ["k2.cloud.f16"])], "releases")
        eq([end[r["decision"]]["bytes_out"] for r in rel], bytes_out, "bytes that really went")
        eq([end[r["decision"]]["result"] for r in rel], ["ok", "ok"], "results")


if __name__ == "__main__":
    wp.run(globals())
