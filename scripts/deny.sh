#!/usr/bin/env bash
# Checks the dependencies against deny.toml: licences, sources, and known vulnerabilities where their list can be had.
# What could not be checked is said, and does not fail.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo deny --version >/dev/null 2>&1; then
    echo "NOT CHECKED: licences, sources and known vulnerabilities of the dependencies: there is no cargo-deny here."
    echo "    cargo install --locked cargo-deny"
    exit
fi
deny() { cargo deny --log-level error --locked "$@"; }

deny check licenses bans sources
if deny fetch db >/dev/null 2>&1; then
    deny check --disable-fetch advisories
else
    echo "NOT CHECKED: known vulnerabilities of the dependencies: their list, github.com/RustSec/advisory-db, cannot be fetched."
fi
