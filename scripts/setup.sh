#!/usr/bin/env bash
# Sees to it that this machine can build (setup.sh build) the project, also show it (setup.sh demo), test it
# (setup.sh test) or measure it (setup.sh bench). setup.sh has-postgres tells whether the server's programs are there.
# On Debian and Ubuntu it installs what is missing; elsewhere it says what is. Once everything is
# there it changes nothing and takes no time.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '%s\n' "$@" >&2; }
die() { say "$@"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# cargo comes from rustup, never from here: somebody's toolchain is theirs to change.
check_cargo() {
    local needed found
    needed=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml)
    found=$(cargo --version 2>/dev/null | awk '{ print $2 }') || true
    if [ -n "$found" ] && [ "$(printf '%s\n' "$needed" "$found" | sort -V | head -n 1)" = "$needed" ]; then
        return
    fi
    say "Rust $needed or newer is needed, and ${found:-none} was found. Run this, then try again:"
    if has rustup; then
        die "    rustup update stable"
    fi
    die "    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y"
}

# Where hydrant demo looks as well.
has_initdb() {
    local folder
    has initdb && return
    for folder in /usr/lib/postgresql/ {/opt/homebrew,/usr/local,/home/linuxbrew/.linuxbrew}/opt/postgresql@; do
        compgen -G "$folder*/bin/initdb" >/dev/null && return
    done
    return 1
}

# To build takes none, and the demo of an ordinary user fetches one for itself. Root cannot run that one.
needs_initdb() {
    [ "$1" != build ] && ! has_initdb && { [ "$1" != demo ] || [ "$(id -u)" -eq 0 ]; }
}

# The first Python that is new enough for tests/requirements.txt and can make a virtual environment.
python() {
    local candidate
    for candidate in python3 /usr/bin/python3; do
        if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

# What is missing, as Debian's packages.
missing() {
    has cc || echo gcc libc6-dev
    ! needs_initdb "$1" || echo postgresql
    if [ "$1" = test ] || [ "$1" = bench ]; then
        python >/dev/null || echo python3 python3-venv
    fi
    [ "$1" != test ] || has_browser || browser_packages
}

# The tests of the status page drive a real browser.
has_browser() {
    has chromedriver && { has chromium || has chromium-browser || has google-chrome; }
}

browser_packages() {
    if grep -q '^ID=ubuntu' /etc/os-release 2>/dev/null; then
        echo chromium-browser chromium-chromedriver
    else
        echo chromium chromium-driver
    fi
}

install_packages() {
    local packages as_root=()
    read -ra packages <<<"$(missing "$1" | xargs)"
    if [ ${#packages[@]} -eq 0 ]; then
        return
    fi
    if ! has apt-get; then
        say "Something is missing. Install the following, by whatever name your system has for it:"
        has cc || say "  - a C compiler: cc on the PATH"
        ! needs_initdb "$1" || say "  - the PostgreSQL server: initdb and pg_ctl on the PATH (macOS: brew install postgresql@17)"
        [ "$1" = build ] || [ "$1" = demo ] || python >/dev/null || say "  - Python 3.10 or newer with venv: python3 on the PATH"
        [ "$1" != test ] || has_browser || say "  - Chromium and its driver: chromium and chromedriver on the PATH"
        exit 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        has sudo || die "Something is missing, and there is no sudo. Run this as root, then try again:" \
            "    apt-get update && apt-get install -y ${packages[*]}"
        as_root=(sudo)
    fi
    say "Installing ${packages[*]}"
    "${as_root[@]}" apt-get update -q
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "${packages[@]}"
}

# .venv remembers in its own copy what it was made from.
make_venv() {
    if cmp -s tests/requirements.txt .venv/requirements.txt && .venv/bin/python -c '' 2>/dev/null; then
        return
    fi
    local python
    python=$(python) || die "Python 3.10 or newer is needed, and this system's python3 is older."
    say "Making .venv with $python"
    "$python" -m venv --clear .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
    cp tests/requirements.txt .venv/requirements.txt
}

# Into the same .venv, which a change of tests/requirements.txt makes anew.
add_bench_tools() {
    if cmp -s benches/requirements.txt .venv/bench-requirements.txt; then
        return
    fi
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r benches/requirements.txt
    cp benches/requirements.txt .venv/bench-requirements.txt
}

case "${1:-}" in
build)
    check_cargo
    install_packages build
    ;;
demo)
    check_cargo
    install_packages demo
    ;;
test)
    check_cargo
    install_packages test
    make_venv
    ;;
bench)
    check_cargo
    install_packages bench
    make_venv
    add_bench_tools
    ;;
has-postgres) has_initdb ;;
*) die "usage: scripts/setup.sh build|demo|test|bench|has-postgres" ;;
esac
