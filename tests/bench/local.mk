# hwlimits: what scripts/bench-engine puts beside the engines' rates. It measures, and tests nothing.
check_PROGRAMS += tests/bench/hwlimits
tests_bench_hwlimits_SOURCES = tests/bench/hwlimits.c
tests_bench_hwlimits_LDADD = $(BASE_LIBS)
if !ENGINE_ONLY
check_PROGRAMS += tests/bench/bench_router
tests_bench_bench_router_SOURCES = tests/bench/bench_router.c
tests_bench_bench_router_LDFLAGS = $(AM_LDFLAGS) $(WRAP_THREE)
tests_bench_bench_router_LDADD = $(ROUTER_LIBS) $(BASE_LIBS)
endif
EXTRA_DIST += tests/bench/cel/go.mod tests/bench/cel/go.sum tests/bench/cel/main.go
