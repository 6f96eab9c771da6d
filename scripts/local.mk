EXTRA_DIST += scripts/build
