#!/usr/bin/env bash
# make demo: builds what it takes and runs it. What is given goes to hydrant demo.
set -euo pipefail
cd "$(dirname "$0")/.."

features=
case " $* " in
*' --database'*) scripts/setup.sh build ;;
*)
    scripts/setup.sh demo
    scripts/setup.sh has-postgres || features='--features fetch-postgres'
    ;;
esac
# shellcheck disable=SC2086 # two words, or none
cargo build --release --locked $features
# With job control Ctrl-C reaches the demo alone, which then ends well. make would call it an error.
set -m
target/release/hydrant demo "$@"
