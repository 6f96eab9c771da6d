# What is installed besides the programs. The pages of section 8 are made by scripts/make-man from the
# option tables and committed; tests/unit/check_man.sh compares them.
dist_man_MANS = docs/man/waypostctl.1
EXTRA_DIST += docs README.md CHANGELOG.md CONTRIBUTING.md LICENSE
if !ENGINE_ONLY
dist_man_MANS += docs/man/waypost-cloud-stub.8 docs/man/waypost-edge.8 docs/man/waypost-uplink.8
dist_doc_DATA = README.md CHANGELOG.md docs/cabin.md docs/confidence.md docs/configuration.md docs/first-policy.md docs/ledger.md docs/policy-codes.md docs/policy-facts.md \
	docs/policy.md docs/policy-life.md docs/schemas.md docs/threat-model.md
examplesdir = $(docdir)/examples
dist_examples_DATA = docs/examples/edge.conf docs/examples/stub.conf docs/examples/uplink.conf \
	docs/examples/waypost-edge.service
policiesdir = $(pkgdatadir)/policies
dist_policies_DATA = policies/balanced.yaml policies/balanced.cases policies/balanced.reach.md \
	policies/china.yaml policies/china.cases policies/china.reach.md \
	policies/cost-capped.yaml policies/cost-capped.cases policies/cost-capped.reach.md \
	policies/default.yaml policies/default.cases policies/default.reach.md \
	policies/demo.yaml policies/demo.cases policies/demo.reach.md \
	policies/eu.yaml policies/eu.cases policies/eu.reach.md \
	policies/offline-first.yaml policies/offline-first.cases policies/offline-first.reach.md
cabindir = $(pkgdatadir)/cabin
dist_cabin_DATA = adapters/cabin/cabin.confidence adapters/cabin/cabin.gguf adapters/cabin/catalogue.json
endif
