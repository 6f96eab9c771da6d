"""llama.cpp's side of scripts/bench-cabin: the same sentences with the same adapter through the C API, answered
freely and greedily in a line. What stands before every sentence is computed once and shared; several voices are
one batch, as its server does it. Reads a JSON object from standard input, writes one to standard output."""
import argparse
import ctypes
import json
import os
import statistics
import sys
import time

import llama_cpp as L
import numpy as np
from llama_cpp.llama_chat_format import Jinja2ChatFormatter

from bench_llamacpp import Engine

N_CTX, MAX_NEW = 512, 48


class Cabin(Engine):
    def __init__(self, a, adapter, n_voice):
        super().__init__(a, N_CTX, n_voice + 1, unified=True)
        self.adapter = L.llama_adapter_lora_init(self.model, os.fsencode(adapter))
        if not self.adapter:
            raise SystemExit(f"llama.cpp can't load {adapter}")
        one, scale = (L.llama_adapter_lora_p_ctypes * 1)(self.adapter), (ctypes.c_float * 1)(1.0)
        L.llama_set_adapters_lora(self.ctx, one, 1, scale)
        self.vocab = L.llama_model_get_vocab(self.model)
        self.mem = L.llama_get_memory(self.ctx)
        text = L.llama_model_chat_template(self.model, None).decode()
        bos, eos = (self.piece(f(self.vocab)) for f in (L.llama_vocab_bos, L.llama_vocab_eos))
        self.format = Jinja2ChatFormatter(template=text, eos_token=eos, bos_token=bos)
        a, b = self.prompt("Window"), self.prompt("7")
        self.prefix = os.path.commonprefix([a, b])
        self.feed(0, self.prefix)

    def piece(self, token):
        buf = ctypes.create_string_buffer(64)
        n = L.llama_token_to_piece(self.vocab, token, buf, 64, 0, True) if token >= 0 else 0
        return buf.raw[:max(n, 0)].decode(errors="replace")

    def tokens(self, text):
        raw = text.encode()
        out = (L.llama_token * (len(raw) + 8))()
        n = L.llama_tokenize(self.vocab, raw, len(raw), out, len(out), False, True)
        return list(out[:n])

    def prompt(self, sentence):
        return self.tokens(self.format(messages=[{"role": "user", "content": sentence}]).prompt)

    def best(self, row):
        logits = L.llama_get_logits_ith(self.ctx, row)
        return int(np.argmax(np.ctypeslib.as_array(logits, shape=(self.n_vocab,))))

    def answer(self, sentences):
        """[(line, milliseconds)]: all asked at once."""
        t0 = time.perf_counter()
        n = len(self.prefix)
        voices = []
        for i, s in enumerate(sentences):
            tok = self.prompt(s)
            same = min(n, len(os.path.commonprefix([tok, self.prefix])), len(tok) - 1)
            L.llama_memory_seq_rm(self.mem, i + 1, -1, -1)
            L.llama_memory_seq_cp(self.mem, 0, i + 1, 0, same)
            self.held[i + 1] = same
            voices.append({"seq": i + 1, "next": tok[same:], "line": [], "ms": None})
        while any(v["ms"] is None for v in voices):
            rows, at = [], []
            for v in voices:
                if v["ms"] is not None:
                    continue
                rows += [(t, v["seq"], k == len(v["next"]) - 1) for k, t in enumerate(v["next"])]
                at.append((v, len(rows) - 1))
            self.run(rows)
            for v, row in at:
                token = self.best(row)
                if L.llama_vocab_is_eog(self.vocab, token) or len(v["line"]) == MAX_NEW:
                    v["ms"] = (time.perf_counter() - t0) * 1e3
                else:
                    v["line"].append(token)
                    v["next"] = [token]
        return [("".join(map(self.piece, v["line"])), v["ms"]) for v in voices]


def settings(ask, threads, fa, poll):
    return argparse.Namespace(file=ask["model"], threads=threads, ubatch=512, fa=fa, repack=1, mmap=1, poll=poll)


def choose(ask):
    """Its best settings for one voice: (flash attention, polling) with the lowest median."""
    best = None
    for fa in (1, 0):
        for poll in (50, None):
            e = Cabin(settings(ask, ask["threads"], fa, poll), ask["adapter"], 1)
            ms = [e.answer([s])[0][1] for s in ask["sentences"][:24]]
            e.close()
            now = (statistics.median(ms[4:]), fa, poll)
            best = now if best is None or now[0] < best[0] else best
    return {"fa": best[1], "poll": best[2]}


def main():
    ask = json.load(sys.stdin)
    quiet = L.llama_log_callback(lambda level, text, user: None)
    L.llama_log_set(quiet, None)
    L.llama_backend_init()
    chosen = ask.get("settings") or choose(ask)
    out = {"settings": chosen}
    for voices in ask["voices"]:
        e = Cabin(settings(ask, ask["threads"], chosen["fa"], chosen["poll"]), ask["adapter"], voices)
        e.answer(ask["sentences"][:voices])
        got = []
        for i in range(0, len(ask["sentences"]) - voices + 1, voices):
            got += e.answer(ask["sentences"][i:i + voices])
        e.close()
        out[str(voices)] = got
    json.dump(out, sys.stdout)


if __name__ == "__main__":
    main()
