"""waypostctl policy keygen, sign and verify, and OpenSSL's own command as the other side."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

BUILD = pathlib.Path(os.environ["top_builddir"]).resolve()
POLICY = 'waypost_policy: 1\nversion: "1"\nrules:\n  - name: all\n    route: local\n'
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


def ctl(*args):
    return run(BUILD / "waypostctl", "policy", *args)


def wants(name, p, status, word):
    check(name, p.returncode == status and word in p.stdout + p.stderr, p.returncode, p.stdout, p.stderr)


def openssl_agrees(tmp, key, public):
    """The key is a plain PKCS#8 file, and the signature an RFC 8032 one over the lines before it."""
    spki = subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-outform", "DER"],
                          capture_output=True, check=True).stdout
    check("openssl reads the key", spki[-32:].hex() == public, spki.hex())
    text = (tmp / "p.yaml.sig").read_text()
    body, last = text.rsplit("signature ", 1)
    (tmp / "body").write_text(body)
    (tmp / "raw").write_bytes(bytes.fromhex(last.strip()))
    (tmp / "pub.der").write_bytes(spki)
    p = run("openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey",
            tmp / "pub.der", "-in", tmp / "body", "-sigfile", tmp / "raw")
    check("openssl verifies the signature", p.returncode == 0, p.stdout, p.stderr)


def main():
    with tempfile.TemporaryDirectory(prefix="waypost-sign-") as name:
        tmp = pathlib.Path(name)
        key, policy = tmp / "key.pem", tmp / "p.yaml"
        policy.write_text(POLICY)
        p = ctl("keygen", key)
        wants("keygen prints a line of configuration", p, 0, "policy.key = ")
        public = p.stdout.strip().rsplit(" ", 1)[1]
        check("the key is its owner's only", key.stat().st_mode & 0o777 == 0o600)
        old = key.read_text()
        wants("a key is never replaced", ctl("keygen", key), 3, "exists")
        check("and is as it was", key.read_text() == old)
        wants("sign", ctl("sign", policy, "--key", key), 0, "serial 1")
        wants("sign again", ctl("sign", policy, "--key", key), 0, "serial 2")
        wants("sign back", ctl("sign", policy, "--key", key, "--serial", 2), 1, "must be above it")
        wants("sign ahead", ctl("sign", policy, "--key", key, "--serial", 40), 0, "serial 40")
        wants("verify", ctl("verify", policy, "--key", public), 0, "serial 40")
        wants("verify above", ctl("verify", policy, "--key", public, "--above", 39), 0, "fine")
        wants("verify not above", ctl("verify", policy, "--key", public, "--above", 40), 1, "not above")
        p = ctl("verify", policy, "--key", "0" * 64, "--key", public, "--json")
        check("verify with several keys, as JSON", json.loads(p.stdout)["serial"] == 40, p.stdout)
        wants("another key", ctl("verify", policy, "--key", "0" * 64), 1, "not trusted")
        wants("no key", ctl("verify", policy, "--key", "zz"), 2, "64 lower-case")
        wants("none given", ctl("verify", policy), 2, "usage")
        openssl_agrees(tmp, key, public)
        policy.write_text(POLICY.replace("local", "refuse"))
        wants("a changed file", ctl("verify", policy, "--key", public), 1, "does not vouch for p.yaml")
        policy.write_text(POLICY.replace("route", "rout"))
        wants("nobody vouches for a broken policy", ctl("sign", policy, "--key", key), 1, "p.yaml:4:")
        policy.write_text(POLICY)
        key.chmod(0o640)
        wants("a key that others can read", ctl("sign", policy, "--key", key), 1, "only its owner")
        rsa = tmp / "rsa.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
                        "-out", rsa], check=True, capture_output=True)
        rsa.chmod(0o600)
        wants("a key of another kind", ctl("sign", policy, "--key", rsa), 1, "no Ed25519")
        wants("no such file", ctl("sign", tmp / "none.yaml", "--key", key), 3, "none.yaml")
        wants("help", ctl("sign", "--help"), 0, "usage")
        wants("two files", ctl("sign", policy, policy, "--key", key), 2, "usage")
        wants("a number that is none", ctl("sign", policy, "--key", key, "--serial", "0"), 2, "usage")
    print(f"1..{N}")
    return 1 if FAILED else 0


sys.exit(main())
