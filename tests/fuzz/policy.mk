# fuzz_policy
