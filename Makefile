# The index of what one does here. Whatever takes more than a line is in scripts/.

# A cargo that rustup has just installed is found without a new shell.
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

.PHONY: help build demo setup test bench fmt lint doc clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## The daemon: target/release/hydrant
	@scripts/setup.sh build
	cargo build --release --locked

demo: ## A generated feed through the real daemon into a throw-away PostgreSQL, and what landed
	@scripts/setup.sh demo
	cargo build --release --locked
	@target/release/hydrant demo

setup: ## Install what the tests need (PostgreSQL, Python tools); quick when it is all there
	@scripts/setup.sh test

test: setup ## Every test, against a real PostgreSQL and a real SQS server
	cargo test --release --locked
	scripts/conformance.sh

bench: ## What the README's figures come from; QUICK=1: under two minutes, GROWTH=1: up to 10 million rows as well
	@scripts/setup.sh bench
	@.venv/bin/python benches/bench.py $(if $(QUICK),--quick) $(if $(GROWTH),--growth)

fmt: ## Format the code
	cargo fmt

lint: ## Clippy; a warning is an error
	cargo clippy --release --all-targets --locked -- -D warnings

doc: ## The code's documentation, private items too; a warning is an error
	RUSTDOCFLAGS=-Dwarnings cargo doc --release --locked --no-deps --document-private-items

clean: ## Remove everything that was built
	cargo clean
	rm -rf .venv
