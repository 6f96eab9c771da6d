EXTRA_DIST += scripts/build scripts/fetch-model scripts/make-tok-goldens scripts/check scripts/check-split scripts/compare-clients scripts/compare-llamacpp \
	scripts/quickstart scripts/fuzz scripts/check-arm64 scripts/check-old-x86 scripts/make-man scripts/lib \
	.ci/run debian/control README.md CHANGELOG.md CONTRIBUTING.md LICENSE docs policies proto
