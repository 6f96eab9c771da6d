"""What the tests of waypostctl policy share: TAP, and the command."""
import os
import subprocess

TOP = os.environ.get("top_srcdir", ".")
CTL = os.path.join(os.environ.get("top_builddir", "build"), "waypostctl")
DEMO = os.path.join(TOP, "policies", "demo.yaml")
n_test = 0


def ok(cond, name, note=""):
    global n_test
    n_test += 1
    print(f"{'ok' if cond else 'not ok'} {n_test} - {name}")
    if not cond:
        print("# " + str(note).replace("\n", "\n# "))


def done():
    print(f"1..{n_test}")


def run(*args, stdin=None, env=None):
    """(status, standard output, standard error)"""
    p = subprocess.run([CTL, "policy", *args], input=stdin, capture_output=True, timeout=600,
                       env=dict(os.environ, **(env or {})))
    return p.returncode, p.stdout.decode(), p.stderr.decode()
