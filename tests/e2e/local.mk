# End-to-end tests: real processes over loopback, on a tiny model (tests/fixtures/mktiny).
E2E_TESTS = tests/e2e/test_edge_local.py tests/e2e/test_gate.py
TESTS += $(E2E_TESTS)
EXTRA_DIST += $(E2E_TESTS) tests/e2e/wp.py tests/e2e/fake_uplink.py
