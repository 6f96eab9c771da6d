# Everything that a tarball needs and no other fragment names. scripts/check-dist compares a tarball
# with what git knows.
EXTRA_DIST += .ci/run debian/control policies proto \
	scripts/bench-arm64-instructions \
	scripts/bench-engine \
	scripts/bench-reload \
	scripts/bench-router \
	scripts/bench-sched \
	scripts/build \
	scripts/check \
	scripts/check-arm64 \
	scripts/check-deep \
	scripts/check-dist \
	scripts/check-house \
	scripts/check-old-x86 \
	scripts/check-schema \
	scripts/check-split \
	scripts/compare-clients \
	scripts/compare-llamacpp \
	scripts/compare-lora \
	scripts/compare-quantize \
	scripts/coverage-router \
	scripts/fetch-model \
	scripts/fuzz \
	scripts/make-certs \
	scripts/make-config-doc \
	scripts/make-man \
	scripts/make-tok-goldens \
	scripts/quickstart \
	scripts/lib/bench_engine.py \
	scripts/lib/bench_llamacpp.py \
	scripts/lib/bench_report.py \
	scripts/lib/compare_llamacpp.py \
	scripts/lib/compare_lora.py \
	scripts/lib/compare_quantize.py \
	scripts/lib/count_insns.c \
	scripts/lib/deps.sh \
	scripts/lib/gemma_exact.py \
	scripts/lib/gguf_expand.py \
	scripts/lib/gguf_shuffle.py \
	scripts/lib/llamacpp.sh \
	scripts/lib/json_schema.py \
	scripts/lib/mixed_texts.py \
	scripts/lib/quickstart.py \
	scripts/lib/random_gguf.py \
	scripts/lib/stack.py \
	scripts/lib/steps_llamacpp.c
