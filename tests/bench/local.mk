# hwlimits: what scripts/bench-engine puts beside the engines' rates. It measures, and tests nothing.
check_PROGRAMS += tests/bench/hwlimits
tests_bench_hwlimits_SOURCES = tests/bench/hwlimits.c
tests_bench_hwlimits_LDADD = $(BASE_LIBS)
