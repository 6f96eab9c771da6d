# fuzz_http
