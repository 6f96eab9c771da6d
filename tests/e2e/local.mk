# End-to-end tests: real processes over loopback, on a tiny model (tests/fixtures/mktiny).
E2E_TESTS = \
	tests/e2e/test_adapter.py tests/e2e/test_cabin.py tests/e2e/test_edge_local.py tests/e2e/test_gate.py tests/e2e/test_seal.py \
	tests/e2e/test_escalate.py tests/e2e/test_faults.py tests/e2e/test_private.py tests/e2e/test_policy_life.py tests/e2e/test_facts.py \
	tests/e2e/test_sharing.py tests/e2e/test_tools.py
TESTS += $(E2E_TESTS) tests/e2e/test_edge_seal
EXTRA_DIST += $(E2E_TESTS) tests/e2e/wp.py tests/e2e/fake_uplink.py

check_PROGRAMS += tests/e2e/test_edge_seal
tests_e2e_test_edge_seal_SOURCES = tests/e2e/test_edge_seal.c src/edge/seal.c src/edge/seal.h
tests_e2e_test_edge_seal_CFLAGS = $(TEST_CFLAGS) $(SECCOMP_CFLAGS)
tests_e2e_test_edge_seal_LDADD = $(SECCOMP_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)

# The cloud stub, with curl and nghttp as its clients and split_frames as the edge's half of a session.
check_PROGRAMS += tests/e2e/split_frames
TESTS += tests/e2e/test_stub.py
EXTRA_DIST += tests/e2e/test_stub.py
tests_e2e_split_frames_SOURCES = tests/e2e/split_frames.c
tests_e2e_split_frames_CFLAGS = $(TEST_CFLAGS)
tests_e2e_split_frames_LDADD = $(ENGINE_LIBS) $(WIRE_LIBS) $(BASE_LIBS)
