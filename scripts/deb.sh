#!/usr/bin/env bash
# make deb: the Debian package, in target/debian, and its debug symbols in a package of their own. NO_BUILD=1 packs the
# target/release/hydrant that is there. Manual pages and completions are written by the program itself.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo deb --version >/dev/null 2>&1 || { echo "cargo-deb is needed: cargo install cargo-deb" >&2; exit 1; }
[ -n "${NO_BUILD:-}" ] || cargo build --release --locked
assets=target/assets
rm -rf "$assets"
mkdir -p "$assets/man"
target/release/hydrant man --dir "$assets/man"
for shell in bash zsh fish; do
    target/release/hydrant completions "$shell" >"$assets/hydrant.$shell"
done
cargo deb --no-build --locked --dbgsym
