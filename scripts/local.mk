EXTRA_DIST += scripts/build scripts/make-certs
