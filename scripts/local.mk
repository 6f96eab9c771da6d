EXTRA_DIST += scripts/build scripts/check scripts/quickstart scripts/fuzz scripts/lib \
	.ci/run debian/control README.md CHANGELOG.md CONTRIBUTING.md LICENSE docs policies proto
