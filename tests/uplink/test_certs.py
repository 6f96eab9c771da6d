"""waypostctl certs: what it makes is what TLS libraries take, and what tests need broken is broken."""
import json
import os
import ssl
import socket
import stat
import subprocess
import tempfile
import threading

CTL = os.path.join(os.environ["top_builddir"], "waypostctl")
N = 0


def check(name, ok):
    global N
    N += 1
    print(f"{'ok' if ok else 'not ok'} {N} - {name}", flush=True)


def certs(*args):
    return subprocess.run([CTL, "certs", *args], capture_output=True, text=True)


def handshake(d, client, crl=False):
    """'' or the error of a TLS 1.3 handshake with client certificates on a socket pair."""
    a, b = socket.socketpair()
    a.settimeout(10)
    b.settimeout(10)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(f"{d}/server.pem", f"{d}/server-key.pem")
    server.load_verify_locations(f"{d}/ca.pem")
    server.verify_mode = ssl.CERT_REQUIRED
    server.minimum_version = ssl.TLSVersion.TLSv1_3
    if crl:
        server.load_verify_locations(f"{d}/crl.pem")
        server.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF | ssl.VERIFY_X509_STRICT
    c = ssl.create_default_context(cafile=f"{d}/ca.pem")
    c.load_cert_chain(f"{d}/{client}.pem", f"{d}/{client}-key.pem")
    result = []

    def serve():
        try:
            with server.wrap_socket(b, server_side=True) as s:
                s.sendall(s.recv(5))
        except (ssl.SSLError, OSError) as e:
            result.append(str(e))
            b.close()

    t = threading.Thread(target=serve)
    t.start()
    try:
        with c.wrap_socket(a, server_hostname="localhost") as s:
            s.sendall(b"hello")
            if s.recv(5) != b"hello":
                result.append("cut")
    except (ssl.SSLError, OSError) as e:
        result.append(str(e))
    a.close()
    t.join()
    return " / ".join(result)


def main():
    with tempfile.TemporaryDirectory() as top:
        d = f"{top}/certs"
        p = certs(d, "--json")
        made = json.loads(p.stdout)
        check("makes a CA and three certificates", p.returncode == 0 and
              sorted(made) == ["ca", "crl", "server", "tool", "uplink"])
        check("keys are 0600, the folder 0700", stat.S_IMODE(os.stat(d).st_mode) == 0o700 and
              all(stat.S_IMODE(os.stat(made[n]["key"]).st_mode) == 0o600
                  for n in ("ca", "server", "uplink", "tool")))
        check("the uplink's certificate is taken", handshake(d, "uplink", crl=True) == "")
        check("the tool's certificate is taken", handshake(d, "tool", crl=True) == "")
        check("a server's certificate is no client's", "purpose" in handshake(d, "server"))
        before = open(f"{d}/ca.pem").read()
        p = certs(d)
        check("what is there stays without --force",
              p.returncode == 3 and "--force" in p.stderr and open(f"{d}/ca.pem").read() == before)
        p = certs(d, "--force", "--revoke", "tool", "--expired", "uplink", "--name", "stub.example")
        check("--force replaces it", p.returncode == 0 and open(f"{d}/ca.pem").read() != before)
        check("the revoked one is refused", "revoked" in handshake(d, "tool", crl=True))
        check("the expired one is refused", "expired" in handshake(d, "uplink"))
        check("a name that is no name is refused", certs(d, "--name", "a,IP:1.2.3.4").returncode == 2)
        check("nothing but files of ours are left", sorted(os.listdir(d)) == sorted(
            ["crl.pem"] + [f"{n}{s}.pem" for n in ("ca", "server", "uplink", "tool")
                           for s in ("", "-key")]))
        p = certs(f"{top}/no/such/place")
        check("an impossible place is status 3", p.returncode == 3 and "No such file" in p.stderr)
    print(f"1..{N}")


main()
