#!/usr/bin/env bash
# Runs the conformance suite, where it lies beside the project, against the daemon that was built:
# generated feeds through a real SQS server into a real PostgreSQL, once with crashes of both sides.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=../shared/conformance
if [ ! -d "$suite" ]; then
    echo "Skipped the conformance suite: there is no folder $suite."
    exit
fi

conform() {
    echo "== conformance $*"
    .venv/bin/python "$suite/conform.py" --binary "${CARGO_TARGET_DIR:-target}/release/hydrant" "$@"
}

for seed in 1 2 3; do
    conform --seed "$seed"
done
conform --seed 4 --instances 2 --kill 2 --crash-postgres 1
