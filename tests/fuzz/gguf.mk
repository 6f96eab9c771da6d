# fuzz_gguf
