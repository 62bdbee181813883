#!/usr/bin/env bash
# Checks what is in deploy/: the alerts and their tests, the unit and how much it may do, and Terraform's files.
# What could not be checked is said, and does not fail.
set -euo pipefail
cd "$(dirname "$0")/../deploy"

# Whether there is such a program here; if not, what it would have checked is said.
has() {
    command -v "$1" >/dev/null 2>&1 && return
    echo "NOT CHECKED: $2: there is no $1 here."
    return 1
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

if has promtool "the alerts"; then
    promtool check rules prometheus/hydrant.rules.yml
    promtool test rules prometheus/hydrant.rules.test.yml
fi

if has systemd-analyze "the unit"; then
    # Where this runs the daemon is not installed, and any program will do.
    sed 's|^ExecStart=hydrant |ExecStart=/bin/sh |' systemd/hydrant.service >"$scratch/hydrant.service"
    # It says what is wrong, and for most of it ends well all the same.
    said=$(systemd-analyze verify --man=no "$scratch/hydrant.service" 2>&1) || true
    if grep -F hydrant.service <<<"$said"; then
        exit 1
    fi
    # 20 is an exposure of 2.0.
    if systemd-analyze --help | grep -e --offline >/dev/null; then
        systemd-analyze security --no-pager --offline=true --threshold=20 "$scratch/hydrant.service" | tail -n 1
    else
        echo "NOT CHECKED: how much the unit may do: systemd-analyze is older than 250."
    fi
fi

if has terraform "Terraform's files"; then
    terraform fmt -check -diff terraform
    # It wants the description of Amazon's resources, from Terraform's registry. Nothing is written beside the files.
    cp terraform/*.tf "$scratch/"
    if terraform -chdir="$scratch" init -backend=false -input=false >/dev/null 2>&1; then
        terraform -chdir="$scratch" validate
    else
        echo "NOT CHECKED: whether Amazon's resources have what Terraform's files set: their provider cannot be fetched."
    fi
fi
