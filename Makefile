# The index of what one does here. Whatever takes more than a line is in scripts/.

# A cargo of rustup is found without a new shell, and before an older one of the system.
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)

# Of the tests that run at a time half wait: for a lease, a visibility timeout, a server that starts.
THREADS := $(or $(RUST_TEST_THREADS),$(shell expr 2 '*' $$(getconf _NPROCESSORS_ONLN)))

.PHONY: help build demo setup test docs mutants bench bench-http fuzz fmt lint lint-deploy deny doc deb clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## The daemon: target/release/hydrant
	@scripts/setup.sh build
	cargo build --release --locked

demo: ## A generated feed, live, through the real daemon into a throw-away PostgreSQL; options: ARGS='--seconds 30'
	@scripts/demo.sh $(ARGS)

setup: ## Install what the tests need (PostgreSQL, Chromium, Python tools); quick when it is all there
	@scripts/setup.sh test

test: setup ## Every test, against a real PostgreSQL and a real SQS server
	RUST_TEST_THREADS=$(THREADS) cargo test --release --locked
	scripts/conformance.sh

docs: setup ## Write anew the pages that are generated: docs/configuration.md and docs/data-model.md
	UPDATE_DOCS=1 cargo test --release --locked --test it -- generated

mutants: setup ## Known mistakes, one at a time, in a copy: do the tests notice? An hour or two
	scripts/mutants.py

bench: ## What the README's figures come from; QUICK=1: under two minutes, GROWTH=1: up to 10 million rows as well
	@scripts/setup.sh bench
	@.venv/bin/python benches/bench.py $(if $(QUICK),--quick) $(if $(GROWTH),--growth)

bench-http: ## Webhooks under load: 2,000 requests a second, and how long each waits
	@scripts/setup.sh bench
	cargo build --release --locked
	@.venv/bin/python benches/webhooks.py

fuzz: ## Fuzz the decoder and the canonical form, 60 s each; needs a nightly toolchain and cargo-fuzz
	@scripts/fuzz.sh $(SECONDS_EACH)

fmt: ## Format the code
	cargo fmt

lint: ## Clippy; a warning is an error
	cargo clippy --release --all-targets --all-features --locked -- -D warnings

lint-deploy: ## Alerts, systemd unit and Terraform, as far as they can be checked here
	@scripts/lint-deploy.sh

deny: ## Licences, sources and known vulnerabilities of the dependencies, as far as they can be checked here
	@scripts/deny.sh

doc: ## The code's documentation, private items too; a warning is an error
	RUSTDOCFLAGS=-Dwarnings cargo doc --release --all-features --locked --no-deps --document-private-items

deb: ## The Debian package: target/debian/hydrant_*.deb; it needs cargo-deb
	@scripts/setup.sh build
	@scripts/deb.sh

clean: ## Remove everything that was built
	cargo clean
	rm -rf .venv
