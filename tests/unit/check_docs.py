"""The settings in docs/configuration.md are those of the programs, and the example files are sound."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

BUILD = pathlib.Path(os.environ["top_builddir"])
SOURCE = pathlib.Path(os.environ["top_srcdir"])
EXAMPLES = SOURCE / "docs" / "examples"
PROGRAMS = {"edge.conf": "waypost-edge", "uplink.conf": "waypost-uplink",
            "stub.conf": "waypost-cloud-stub"}
N = 0
FAILED = False


def check(name, ok, *notes):
    global N, FAILED
    N += 1
    print(f"{'ok' if ok else 'not ok'} {N} - {name}")
    if not ok:
        FAILED = True
        for line in notes:
            print("# " + str(line).replace("\n", "\n# "))


def run(*args):
    return subprocess.run([str(a) for a in args], capture_output=True, text=True, check=False)


def settle(folder):
    """What the examples expect to find, below FOLDER: /etc/waypost and /var/lib/waypost."""
    etc, lib = folder / "etc", folder / "lib"
    etc.mkdir()
    lib.mkdir()
    shutil.copy(SOURCE / "policies" / "demo.yaml", etc / "policy.yaml")
    subprocess.run([BUILD / "waypostctl", "certs", etc / "certs"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([BUILD / "tests/fixtures/mktiny", lib / "model.gguf"], check=True)
    for name in PROGRAMS:
        text = (EXAMPLES / name).read_text(encoding="utf-8")
        text = text.replace("/etc/waypost", str(etc)).replace("/var/lib/waypost", str(lib))
        (etc / name).write_text(text, encoding="utf-8")
    return etc


def dead_links():
    """Relative links in our pages that lead nowhere."""
    out = []
    for page in [*SOURCE.glob("*.md"), *SOURCE.glob("docs/**/*.md"), *SOURCE.glob("proto/*.md")]:
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            if "://" not in link and not (page.parent / link).exists():
                out.append(f"{page.relative_to(SOURCE)}: {link}")
    return out


def main():
    dead = dead_links()
    check("links between the pages lead somewhere", not dead, *dead)
    r = run(sys.executable, SOURCE / "scripts" / "make-config-doc", BUILD, "--check")
    check("docs/configuration.md lists the settings as they are", r.returncode == 0, r.stdout, r.stderr)
    with tempfile.TemporaryDirectory(prefix="waypost-docs-") as tmp:
        etc = settle(pathlib.Path(tmp))
        for name, program in PROGRAMS.items():
            r = run(BUILD / program, "--config", etc / name, "--check-config")
            check(f"docs/examples/{name} is sound", r.returncode == 0, r.stdout, r.stderr)
            dump = run(BUILD / program, "--config", etc / name, "--dump-config")
            (etc / ("dumped-" + name)).write_text(dump.stdout, encoding="utf-8")
            again = run(BUILD / program, "--config", etc / ("dumped-" + name), "--dump-config")
            check(f"the dump of {name} reads back", again.stdout == dump.stdout and dump.stdout,
                  again.stderr)
        (etc / "policy.yaml").write_text("waypost_policy: 1\nversion: x\nrules: [{}]\n", encoding="utf-8")
        r = run(BUILD / "waypost-edge", "--config", etc / "edge.conf", "--check-config")
        check("--check-config sees a broken policy", r.returncode == 2 and "policy.yaml:3:" in r.stderr,
              r.stdout, r.stderr)
        os.chmod(etc / "certs" / "uplink-key.pem", 0o644)
        r = run(BUILD / "waypost-uplink", "--config", etc / "uplink.conf", "--check-config")
        check("--check-config sees a key that others can read",
              r.returncode == 2 and "uplink-key.pem" in r.stderr, r.stdout, r.stderr)
    print(f"1..{N}")
    return 1 if FAILED else 0


sys.exit(main())
