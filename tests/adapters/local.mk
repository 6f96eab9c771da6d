TESTS += tests/adapters/test_cabin.py
EXTRA_DIST += tests/adapters/test_cabin.py
