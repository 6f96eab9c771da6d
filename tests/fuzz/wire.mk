# fuzz_wire
