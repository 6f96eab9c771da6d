"""That data stays is a property of how the edge is built: what it links, what the kernel lets it do,
which sockets it makes, and which file may write to the uplink."""
import os
import re
import shutil
import subprocess

import wp
from wp import eq


def test_links_no_network_library():
    libs = subprocess.run(["ldd", wp.program("waypost-edge")], capture_output=True, text=True,
                          check=True).stdout
    for bad in ("libcurl", "libssl", "libnghttp2", "libgnutls", "libevent_openssl"):
        assert bad not in libs, libs


def test_every_thread_is_sealed():
    with wp.Folder() as f:
        e = wp.Edge(f, engine__threads=3).start()
        e.chat("x")
        tasks = os.listdir(f"/proc/{e.proc.pid}/task")
        assert len(tasks) >= 4, tasks
        for t in tasks:
            status = open(f"/proc/{e.proc.pid}/task/{t}/status").read()
            eq(re.search(r"^Seccomp:\s+(\d)", status, re.M)[1], "2", "seccomp filter")
            eq(re.search(r"^NoNewPrivs:\s+(\d)", status, re.M)[1], "1", "no new privileges")
        limits = open(f"/proc/{e.proc.pid}/limits").read()
        eq(re.search(r"^Max core file size\s+(\d+)\s+(\d+)", limits, re.M).groups(), ("0", "0"), "core")


def test_only_the_gate_writes_to_the_uplink():
    users = {p.name for p in (wp.SOURCE / "src/edge").glob("*.c")
             if re.search(r"\b(ipc_encode|edge_uplink_queue|edge_uplink_attach)\(", p.read_text())}
    eq(users, {"gate.c", "uplink_link.c"}, "files")
    link = (wp.SOURCE / "src/edge/uplink_link.c").read_text()
    assert "ipc_encode" not in link


def test_strace_sees_one_inet_socket():
    if shutil.which("strace") is None:
        print("# strace is not installed: test_edge_seal proves the same from inside")
        return
    with wp.Folder() as f:
        trace = f.path / "trace.txt"
        e = wp.Edge(f)
        # -D: the edge is our child, strace its grandchild.
        e.args = ["strace", "-D", "-f", "-o", str(trace), "-e", "trace=socket,connect,bind,listen,execve",
                  *e.args]
        # ptrace is refused to a leak checker; strace came first and stays.
        os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
        e.start()
        e.chat("hello")
        e.chat("hello", unix=True)
        eq(e.stop(), 0, "exit status")
        wp.wait_for(lambda: "exited with 0" in trace.read_text(), "strace writes the end")
        lines = trace.read_text().splitlines()
        sockets = [x for x in lines if re.search(r"\bsocket\(", x)]
        inet = [x for x in sockets if "AF_INET" in x]
        eq(len(inet), 1, f"inet sockets {sockets}")
        eq([x for x in lines if re.search(r"\bconnect\(", x)], [], "connections")
        bound = [x for x in lines if "bind(" in x and "AF_INET" in x]
        eq(len(bound), 1, "bound")
        assert "127.0.0.1" in bound[0]
        eq(len([x for x in lines if re.search(r"\bexecve\(", x)]), 1, "programs")


if __name__ == "__main__":
    wp.run(globals())
