#!/usr/bin/env python3
"""docs/first-policy.md, as a newcomer would follow it: its files are written, its commands run in order,
and what they print must be what the page shows. With --write the page gets what they print."""
import os
import re
import subprocess
import sys
import tempfile

TOP = os.environ.get("top_srcdir", ".")
BUILD = os.path.abspath(os.environ.get("top_builddir", "build"))
PAGE = os.path.join(TOP, "docs", "first-policy.md")


def run(folder, line):
    env = {**os.environ, "PATH": BUILD + os.pathsep + os.environ["PATH"], "NO_COLOR": "1"}
    p = subprocess.run(["bash", "-c", line], cwd=folder, env=env, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, timeout=60)
    return p.stdout.decode()


def main():
    with open(PAGE) as f:
        page = f.read()
    n = n_file = 0
    name = None
    out = []
    with tempfile.TemporaryDirectory() as folder:
        # Text and fenced blocks take turns.
        for i, part in enumerate(re.split(r"^```", page, flags=re.M)):
            if i % 2 == 0:
                found = re.findall(r"Write this as `([^`]+)`:", part)
                name = found[-1] if found else None
            elif name is not None:
                with open(os.path.join(folder, name), "w") as f:
                    f.write(part.split("\n", 1)[1])
                n_file += 1
                name = None
            else:
                made = ["\n"]
                for line in re.findall(r"^\$ (.*)$", part, flags=re.M):
                    # The lines between this command and the next are its output.
                    said = run(folder, line)
                    n += 1
                    want = part.split("$ " + line + "\n", 1)[1].split("\n$ ", 1)[0].rstrip("\n")
                    same = said.rstrip("\n") == want
                    print(f"{'ok' if same or '--write' in sys.argv else 'not ok'} {n} - {line}")
                    if not same and "--write" not in sys.argv:
                        print("# printed:\n# " + said.replace("\n", "\n# "))
                    made.append(f"$ {line}\n{said}")
                part = "".join(made) if len(made) > 1 else part
            out.append(part)
    if "--write" in sys.argv:
        with open(PAGE, "w") as f:
            f.write("```".join(out))
    n += 1
    print(f"{'ok' if n > 5 and n_file >= 4 else 'not ok'} {n} - the page has files and commands")
    print(f"1..{n}")


main()
