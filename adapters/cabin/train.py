#!/usr/bin/env python3
"""Trains the cabin adapter; scripts/train-cabin-adapter calls it and says how."""
import argparse
import hashlib
import json
import math
import os
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
import torch.nn.functional as F

import generate
import gguf
from model import Base, Lora, product_type

HERE = pathlib.Path(__file__).parent
NAME = "waypost-cabin"
ALPHA = 2  # a rank


class Tokenizer:
    """The engine's own, so that what is trained on is what it will see."""

    def __init__(self, ctl, model, kv):
        self.ctl, self.model = ctl, model
        self.id = {t: i for i, t in enumerate(kv["tokenizer.ggml.tokens"])}
        self.start, self.end = self.id["<|im_start|>"], self.id["<|im_end|>"]
        template = kv["tokenizer.chat_template"]
        template = template.replace("\\n", "\n")
        head = "<|im_start|>system\n"
        system = template[template.index(head) + len(head) :]
        self.system = system[: system.index("<|im_end|>")]

    def __call__(self, texts):
        with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as f:
            json.dump(texts, f, ensure_ascii=False)
            f.flush()
            out = subprocess.run([self.ctl, "model", "tokenize", self.model, "--texts", f.name], check=True,
                                 capture_output=True, text=True).stdout
        return json.loads(out)

    def prefix(self):
        """What every prompt begins with, up to the user's words."""
        system, newline, user = self(["system\n" + self.system, "\n", "user\n"])
        return [self.start, *system, self.end, *newline, self.start, *user]

    def samples(self, rows):
        """[(tokens behind the prefix, place of the answer's first token)]"""
        tail, user = self(["\n", "assistant\n", "user\n"])[0:2], self(["user\n"])[0]
        texts = self([f"user\n{u}" for _, u, _ in rows])
        lines = self([line for _, _, line in rows])
        out = []
        for t, a in zip(texts, lines):
            assert t[: len(user)] == user
            prompt = t[len(user) :] + [self.end, *tail[0], self.start, *tail[1]]
            out.append((prompt + a + [self.end], len(prompt)))
        return out


WIDTHS = (12, 15, 18, 21, 24, 28, 32, 38, 46, 60, 120)  # few shapes: each costs a compilation of its own


def batches(samples, tokens, rng):
    """Lists of indices, alike in length, of about so many tokens each, shuffled."""
    by_width = {}
    for i, (t, _) in enumerate(samples):
        by_width.setdefault(next(w for w in WIDTHS if w >= len(t) - 1), []).append(i)
    out = []
    for width, index in by_width.items():
        rng.shuffle(index)
        n = max(1, tokens // width)
        out += [index[i : i + n] for i in range(0, len(index), n)]
    rng.shuffle(out)
    return out


def pack(samples, index, device):
    """ids [batch][n], (rows, places) whose next token is the answer's, those tokens"""
    n = max(len(samples[i][0]) for i in index) - 1  # the end token predicts nothing
    n = next(w for w in WIDTHS if w >= n)
    ids = np.zeros((len(index), n), dtype=np.int64)
    row, place, want = [], [], []
    for b, i in enumerate(index):
        t, at = samples[i]
        ids[b, : len(t) - 1] = t[:-1]
        row += [b] * (len(t) - at)
        place += range(at - 1, len(t) - 1)
        want += list(t[at:])

    def there(x):
        return torch.as_tensor(x).to(device, non_blocking=True)

    return there(ids), (there(row), there(place)), there(want)


def evaluate(base, lora, k, prefix, samples, tokens=3000):
    """Greedy answers are right where each token is the likeliest behind the right ones before it, so that
    one pass tells. -> {row: right?}, {row: the likeliest tokens}"""
    right, guess = {}, {}
    with torch.no_grad():
        cast = lora.cast(base.dtype)
        for index in batches(samples, tokens, random.Random(0)):
            ids, at, _ = pack(samples, index, base.device)
            h = base.above(base.below(ids, prefix, k), len(ids), prefix, k, cast)[at]
            best = (h @ base.head.T).argmax(-1).tolist()
            start = 0
            for i in index:
                n = len(samples[i][0]) - samples[i][1]
                got = best[start : start + n]
                start += n
                right[i] = got == list(samples[i][0][samples[i][1] :])
                guess[i] = got
    return right, guess


def flat(samples):
    """Samples as three arrays: tokens one after the other, lengths, places of the answers."""
    return [np.array([x for t, _ in samples for x in t], "u4"), np.array([len(t) for t, _ in samples], "u2"),
            np.array([at for _, at in samples], "u2")]


def unflat(ids, lengths, places):
    cuts = np.cumsum(lengths)
    ids = ids.tolist()
    return [(ids[e - n : e], at) for e, n, at in zip(cuts.tolist(), lengths.tolist(), places.tolist())]


def prepare(a):
    """Sentences as tokens, and all else that needs the engine's tokenizer, kept in the out folder: what goes on,
    or learns on another machine, needs neither the engine nor the time again."""
    h = hashlib.sha256(f"{a.sentences} {a.seed}".encode())
    for f in [*(HERE / n for n in ("generate.py", "words.py", "dev.tsv", "test.tsv", "fresh.tsv")),
              *sorted((HERE / "phrases").iterdir()), pathlib.Path(a.model)]:
        h.update(f.read_bytes())
    out = pathlib.Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    path = out / "sentences.npz"
    if path.exists() and str(np.load(path)["key"]) == h.hexdigest():
        return path
    tok = Tokenizer(a.ctl, a.model, gguf.Model(a.model).kv)
    dev = generate.read_tsv(HERE / "dev.tsv")
    held = [r[1] for f in ("dev.tsv", "test.tsv", "fresh.tsv") for r in generate.read_tsv(HERE / f)]
    info = json.loads(subprocess.run([a.ctl, "model", "info", a.model, "--hash", "--json"], check=True, capture_output=True,
                                     text=True).stdout)
    learn = flat(tok.samples(generate.generate(a.sentences, a.seed, held)))
    part = out / "sentences.part.npz"
    np.savez_compressed(part, key=h.hexdigest(), prefix=tok.prefix(), base_hash=info["identity"]["base_model_hash"],
                        n_name=name_length(tok, dev),
                        **{f"learn{i}": x for i, x in enumerate(learn)},
                        **{f"dev{i}": x for i, x in enumerate(flat(tok.samples(dev)))})
    part.replace(path)
    return path


def name_length(tok, rows):
    """How many of an answer's tokens make its function's name sure: those of the name and the one behind."""
    return [len(t) + 1 for t in tok([line.split(" ")[0] for _, _, line in rows])]


def table(rows, samples, right, guess, n_name):
    out = {}
    for i, (lang, _, line) in enumerate(rows):
        want = list(samples[i][0][samples[i][1] :])
        fn = guess[i][: n_name[i]] == want[: n_name[i]] or (
            guess[i][: n_name[i] - 1] == want[: n_name[i] - 1] and n_name[i] <= len(want) - 1)
        for key in (lang, "all"):
            s = out.setdefault(key, [0, 0, 0, 0, 0])
            s[0] += 1
            s[1] += fn
            s[2] += right[i]
            if line == "none":
                s[3] += 1
                s[4] += not right[i]
    return out


def show(t):
    return "; ".join(f"{k}: function {100 * f / n:.1f} call {100 * c / n:.1f} none-acts {a}/{m}"
                     for k, (n, f, c, m, a) in t.items())


def average(parameters, n):
    """Gradients' mean over the processes. (A process a core: threads that wait for each other after each
    product lose more on a shared machine.)"""
    if n == 1:
        return
    flat = torch.cat([x.grad.flatten() for x in parameters])
    torch.distributed.all_reduce(flat)
    at = 0
    for x in parameters:
        x.grad.copy_(flat[at : at + x.numel()].view_as(x) / n)
        at += x.numel()


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--ctl", required=True)
    p.add_argument("--model", required=True)
    p.add_argument("--out", required=True, help="folder for state and adapters")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--sentences", type=int, default=32000)
    p.add_argument("--epochs", type=float, default=1)
    p.add_argument("--first-layer", type=int, default=10)
    p.add_argument("--rank", type=int, default=32)
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--lr-b", type=float, default=4, help="B learns so many times as fast as A")
    p.add_argument("--tokens", type=int, default=224, help="tokens of a process's batch")
    p.add_argument("--noise", type=float, default=0, help="of the rows that layer K gets, beside their own size")
    p.add_argument("--device", default="cpu")
    p.add_argument("--processes", type=int, default=2)
    p.add_argument("--minutes", type=float, default=60, help="stop learning after so long")
    p.add_argument("--eval-every", type=int, default=0, help="steps; 0: at the end only")
    p.add_argument("--start", help="an adapter of the same layers and rank to go on from")
    p.add_argument("--misses", help="write what it gets wrong on the development set here")
    return p.parse_args()


def main(rank, a, port, prepared):
    torch.set_num_threads(1)
    if a.processes > 1:
        torch.distributed.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank,
                                             world_size=a.processes)
    first = rank == 0
    out = pathlib.Path(a.out)

    file = gguf.Model(a.model)
    base = Base(file, product_type(a.device), a.device)
    k = a.first_layer
    lora = Lora(base, k, a.rank, ALPHA * a.rank, a.seed)
    if a.start:
        lora.load(gguf.Model(a.start))
    p = np.load(prepared)
    prefix = base.prefix(p["prefix"].tolist(), k)
    dev = generate.read_tsv(HERE / "dev.tsv")
    dev_samples = unflat(*(p[f"dev{i}"] for i in range(3)))
    n_name = p["n_name"].tolist()
    samples = unflat(*(p[f"learn{i}"] for i in range(3)))
    if first:
        print(f"{len(samples)} sentences, {sum(len(t) for t, _ in samples) / len(samples):.1f} tokens each; "
              f"{sum(x.numel() for x in lora.parameters())} numbers to learn", flush=True)

    rng = random.Random(a.seed)
    plan = []
    n_epoch = 1
    while len(plan) < a.epochs * n_epoch:
        epoch = batches(samples, a.tokens, rng)
        n_epoch = len(epoch)
        plan += epoch
    plan = plan[: math.ceil(a.epochs * n_epoch)]
    plan = [plan[i : i + a.processes] for i in range(0, len(plan) - a.processes + 1, a.processes)]
    learnt = [*lora.a.values(), *lora.b.values()]
    groups = [{"params": list(lora.a.values()), "times": 1.0}, {"params": list(lora.b.values()), "times": a.lr_b}]
    opt = torch.optim.AdamW(groups, lr=a.lr, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    warm, n_step = min(100, len(plan) // 10 + 1), len(plan)
    begin, spent = 0, 0.0
    state = out / "state.pt"
    key = vars(a) | {"out": None, "misses": None, "eval_every": None}
    if state.exists():
        s = torch.load(state)
        if s["key"] == key:
            lora.load_state_dict(s["lora"])
            opt.load_state_dict(s["opt"])
            begin, spent = s["step"], s["spent"]
            if first:
                print(f"goes on at step {begin}", flush=True)

    t0, saved, mean = time.time() - spent, time.time(), None
    for step in range(begin, n_step):
        clock = torch.tensor([time.time() - t0])
        if a.processes > 1:
            torch.distributed.broadcast(clock, 0)  # all stop at the same step
        done = max(step / n_step, clock.item() / (60 * a.minutes))
        if done >= 1:
            break
        lr = a.lr * min(1, (step + 1) / warm) * (0.5 + 0.5 * math.cos(math.pi * done))
        for g in opt.param_groups:
            g["lr"] = lr * g["times"]
        ids, at, want = pack(samples, plan[step][rank], base.device)
        rows = base.below(ids, prefix, k)
        if a.noise:
            size = torch.linalg.vector_norm(rows, dim=-1, keepdim=True) / math.sqrt(base.d)
            rows = torch.addcmul(rows, torch.randn_like(rows), size, value=a.noise)
        h = base.above(rows, len(ids), prefix, k, lora.cast(base.dtype))[at]
        loss = F.cross_entropy((h @ base.head.T).float(), want)
        opt.zero_grad()
        loss.backward()
        average(learnt, a.processes)
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        opt.step()
        mean = loss.detach() if mean is None else mean.lerp(loss.detach(), 0.02)
        if not first:
            continue
        if step % 20 == 0 or step + 1 == n_step:
            used = time.time() - t0
            print(f"\rstep {step + 1}/{n_step} loss {mean.item():.4f} {used / 60:.1f} min, {used / (step + 1):.2f} s/step ",
                  end="" if sys.stderr.isatty() else "\n", flush=True)
        if a.eval_every and step % a.eval_every == a.eval_every - 1:
            print(f"at {step + 1}: {show(table(dev, dev_samples, *evaluate(base, lora, k, prefix, dev_samples), n_name))}",
                  flush=True)
        if time.time() - saved > 30:
            saved = time.time()
            torch.save({"key": key, "step": step + 1, "spent": time.time() - t0, "lora": lora.state_dict(),
                        "opt": opt.state_dict()}, str(state) + ".part")
            os.replace(str(state) + ".part", state)

    if not first:
        return
    base_hash = str(p["base_hash"])
    for kind in ("f16", "q8_0"):
        gguf.write_lora(out / f"cabin-{kind}.gguf", base.arch, NAME, ALPHA * a.rank, base_hash, lora.pairs(), kind)
    right, guess = evaluate(base, lora, k, prefix, dev_samples)
    print(f"\ndev: {show(table(dev, dev_samples, right, guess, n_name))}")
    if a.misses:
        tokens = file.kv["tokenizer.ggml.tokens"]
        with open(a.misses, "w", encoding="utf-8") as f:
            for i, row in enumerate(dev):
                if not right[i]:
                    f.write("\t".join(row) + "\t" + "".join(tokens[t] for t in guess[i]).replace("Ġ", " ") + "\n")
    print(f"{(time.time() - t0) / 60:.1f} minutes; written: {out}/cabin-f16.gguf, {out}/cabin-q8_0.gguf", flush=True)


if __name__ == "__main__":
    args = arguments()
    ready = prepare(args)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        free = s.getsockname()[1]
    if args.processes > 1:
        torch.multiprocessing.spawn(main, (args, free, ready), args.processes)
    else:
        main(0, args, free, ready)
