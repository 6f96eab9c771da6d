"""TAP for the end-to-end tests of this room: run(globals()) calls each test_* function in order."""
import sys
import traceback


def run(namespace):
    tests = [(n, f) for n, f in namespace.items() if n.startswith("test_") and callable(f)]
    failed = 0
    print(f"1..{len(tests)}", flush=True)
    for i, (name, func) in enumerate(tests, 1):
        try:
            func()
            print(f"ok {i} - {name}", flush=True)
        except Exception:
            failed += 1
            for line in traceback.format_exc().splitlines():
                print(f"# {line}")
            print(f"not ok {i} - {name}", flush=True)
    sys.exit(1 if failed else 0)
