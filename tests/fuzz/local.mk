# A fuzzer is one LLVMFuzzerTestOneInput. With --enable-fuzzers it links libFuzzer; without, replay.c
# runs it over the committed corpus, so that `make check` replays every past finding.
# To add one: tests/fuzz/ROOM.mk with FUZZ_NAMES-style targets (see wire.mk).
EXTRA_DIST += tests/fuzz/replay.c
include tests/fuzz/gguf.mk
if !ENGINE_ONLY
include tests/fuzz/wire.mk
include tests/fuzz/policy.mk
include tests/fuzz/store.mk
include tests/fuzz/http.mk
include tests/fuzz/schema.mk
endif
