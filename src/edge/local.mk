# waypost-edge: never links libcurl or libssl (tests/e2e/test_seal.py looks).
bin_PROGRAMS += waypost-edge
waypost_edge_SOURCES = \
	src/edge/adapter.c src/edge/adapter.h \
	src/edge/answer.c src/edge/answer.h \
	src/edge/api.c src/edge/api.h \
	src/edge/cabin.c src/edge/cabin.h \
	src/edge/caller.c src/edge/caller.h \
	src/edge/config.c src/edge/config.h \
	src/edge/decision_log.c src/edge/decision_log.h \
	src/edge/device.c src/edge/device.h \
	src/edge/edge.h \
	src/edge/energy.c src/edge/energy.h \
	src/edge/exec_command.c src/edge/exec_hidden.c src/edge/exec_local.c src/edge/exec_prompt.c \
	src/edge/facts.c src/edge/facts.h \
	src/edge/form.c src/edge/form.h \
	src/edge/gate.c src/edge/gate.h \
	src/edge/history.c src/edge/history.h \
	src/edge/language.c src/edge/language.h \
	src/edge/launcher.c src/edge/launcher.h \
	src/edge/main.c \
	src/edge/metrics.c src/edge/metrics.h \
	src/edge/moment.c src/edge/moment.h \
	src/edge/outlook.c src/edge/outlook.h \
	src/edge/own_facts.c src/edge/own_facts.h \
	src/edge/policy.c src/edge/policy.h \
	src/edge/policy_api.c src/edge/policy_api.h \
	src/edge/request.c src/edge/request.h \
	src/edge/seal.c src/edge/seal.h \
	src/edge/shadow.c src/edge/shadow.h \
	src/edge/share.c src/edge/share.h \
	src/edge/signals.c src/edge/signals.h \
	src/edge/uplink_link.c src/edge/uplink_link.h \
	src/edge/usage.c src/edge/usage.h
waypost_edge_CPPFLAGS = $(AM_CPPFLAGS) -DWP_BINDIR='"$(bindir)"'
waypost_edge_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) $(SECCOMP_CFLAGS)
waypost_edge_LDADD = $(API_LIBS) $(ENGINE_LIBS) $(WIRE_LIBS) $(STORE_LIBS) $(ROUTER_LIBS) $(NETLOCAL_LIBS) \
	$(SECCOMP_LIBS) $(JANSSON_LIBS) $(BASE_LIBS)
