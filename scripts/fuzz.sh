#!/usr/bin/env bash
# Fuzzes each target for some seconds, from fuzz/seeds and from what earlier runs found (fuzz/corpus). What breaks a target is
# left in fuzz/artifacts. Ordinary tests run the same properties over mutations of the seeds, without any of what is asked for here.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}

missing=()
rustc +nightly --version >/dev/null 2>&1 || missing+=("rustup toolchain install nightly --profile minimal")
cargo fuzz --version >/dev/null 2>&1 || missing+=("cargo install --locked cargo-fuzz")
command -v c++ >/dev/null || missing+=("apt-get install g++ (or another C++ compiler)")
if [ ${#missing[@]} -gt 0 ]; then
    echo "Fuzzing needs a nightly toolchain, cargo-fuzz and a C++ compiler. Run this, then try again:" >&2
    printf '    %s\n' "${missing[@]}" >&2
    exit 1
fi

for target in decoder canonical; do
    echo "== $target, $seconds s"
    mkdir -p "fuzz/corpus/$target"
    # A body inflates to 1 MiB at most there: one allocation of 64 MiB, or 1 GiB in all, breaks the promise.
    cargo +nightly fuzz run "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
        -max_total_time="$seconds" -max_len=65536 -timeout=10 -malloc_limit_mb=64 -rss_limit_mb=1024 -print_final_stats=1
done
