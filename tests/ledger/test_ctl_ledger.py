"""waypostctl ledger: show and verify, on files made here by the documented rule alone."""
import hashlib
import json
import os
import subprocess
import tempfile

CTL = os.path.join(os.environ["top_builddir"], "waypostctl")
N = 0


def check(name, ok):
    global N
    N += 1
    print(f"{'ok' if ok else 'not ok'} {N} - {name}")


def ctl(*args):
    p = subprocess.run([CTL, "ledger", *args], capture_output=True, text=True)
    return p.returncode, p.stdout, p.stderr


def chain(records):
    """docs/ledger.md in ten lines of Python."""
    out, prev = [], "0" * 64
    for seq, r in enumerate(records, 1):
        line = {"v": 1, "seq": seq, "prev": prev, "time": "2026-11-23T03:00:00.000000Z",
                "time_us": 1795402800000000, **r}
        text = json.dumps(line, separators=(",", ":"), ensure_ascii=False)[:-1]
        text = text.replace("\\u001b", "\\u001B")
        prev = hashlib.sha256(text.encode()).hexdigest()
        out.append((text + ',"hash":"' + prev + '"}\n', prev))
    return out


def release(i, max_bytes=1000, rule="r\x1b[31m"):
    return {"kind": "release", "decision": f"{i:032x}", "rule": rule, "target": "cloud",
            "mode": "prompt", "policy": "ab" * 32, "classes": ["public"], "max_bytes": max_bytes}


def close(i, out=10):
    return {"kind": "close", "decision": f"{i:032x}", "bytes_out": out, "bytes_in": 5, "result": "ok"}


def main():
    with tempfile.TemporaryDirectory() as d:
        path = os.path.join(d, "ledger")

        def put(lines):
            with open(path, "w") as f:
                f.writelines(text for text, _ in lines)

        good = chain([release(1), close(1), release(2), close(2), release(3)])
        put(good)
        rc, out, _ = ctl("verify", path, "--json")
        v = json.loads(out)
        check("a chain made by the documented rule verifies",
              rc == 0 and v == {"ok": True, "records": 5, "open": 1, "bytes_out": 20, "bytes_in": 10,
                                "head": good[-1][1]})
        rc, out, _ = ctl("verify", path, "--head", good[2][1])
        check("an older head is found in the chain", rc == 0 and "record 3, 2 came after" in out)
        put(good[:2])
        rc, out, err = ctl("verify", path)
        check("a cut chain alone looks whole", rc == 0 and "2 records" in out)
        rc, out, err = ctl("verify", path, "--head", good[4][1], "--json")
        check("the noted head tells that it was cut",
              rc == 1 and "cut off" in err and json.loads(out)["ok"] is False)

        put(chain([release(1, max_bytes=9), close(1, out=10)]))
        rc, out, err = ctl("verify", path)
        check("more bytes than released is found",
              rc == 1 and "sent 10 bytes and was allowed 9" in err and ":2:" in err)
        put(chain([release(1), close(1), close(1)]))
        rc, _, err = ctl("verify", path)
        check("a close without a release is found", rc == 1 and "not released" in err and ":3:" in err)

        edited = [list(x) for x in good]
        edited[1][0] = edited[1][0].replace('"bytes_out":10', '"bytes_out":11')
        put(edited)
        rc, out, err = ctl("verify", path)
        check("an edit is found at its line", rc == 1 and f"{path}:2: the record was changed" in err)
        rc, out, err = ctl("show", path, "--json")
        s = json.loads(out)
        check("show --json stays one document on a broken chain",
              rc == 1 and not s["ok"] and len(s["records"]) == 1 and s["error"]["place"].endswith(":2"))

        put(good)
        rc, out, _ = ctl("show", path)
        check("show lists every record", rc == 0 and out.count("\n") == 6 and "5 of 5 records" in out)
        check("show prints no control characters", "\x1b" not in out)
        rc, out, _ = ctl("show", path, "--json", "--decision", f"{2:032x}")
        s = json.loads(out)
        check("show picks a decision",
              rc == 0 and [r["kind"] for r in s["records"]] == ["release", "close"]
              and s["records"][0]["classes"] == ["public"] and s["head"] == good[-1][1])

        put([])
        rc, out, _ = ctl("verify", path, "--json")
        check("an empty ledger is whole", rc == 0 and json.loads(out)["records"] == 0)
        check("a missing file is status 3", ctl("verify", path + "x")[0] == 3)
        check("usage is status 2", ctl("verify")[0] == 2 and ctl("shew", path)[0] == 2
              and ctl("verify", path, "--head", "xyz")[0] == 2)
    print(f"1..{N}")


main()
