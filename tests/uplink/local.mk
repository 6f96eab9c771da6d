# tests of the uplink, with tests/uplink/ipc_drive as the edge and tests/uplink/h2_peer as the cloud
check_PROGRAMS += tests/uplink/ipc_drive tests/uplink/h2_peer
TESTS += tests/uplink/test_certs.py tests/uplink/test_uplink.py
EXTRA_DIST += tests/uplink/test_certs.py tests/uplink/test_uplink.py
tests_uplink_ipc_drive_SOURCES = tests/uplink/ipc_drive.c
tests_uplink_ipc_drive_CFLAGS = $(TEST_CFLAGS)
tests_uplink_ipc_drive_LDADD = $(WIRE_LIBS) $(BASE_LIBS)
tests_uplink_h2_peer_SOURCES = tests/uplink/h2_peer.c
tests_uplink_h2_peer_CFLAGS = $(TEST_CFLAGS)
tests_uplink_h2_peer_LDADD = $(LEDGER_LIBS) $(NETH2S_LIBS) $(NETLOCAL_LIBS) $(BASE_LIBS)
