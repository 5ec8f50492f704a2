#!/usr/bin/env bash
# Runs all tests. On Debian and Ubuntu it installs what they need and the machine lacks; elsewhere it says what that is.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

has() {
    command -v "$1" >/dev/null 2>&1
}

fail() {
    printf 'tests/run.sh: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif has sudo; then
        sudo "$@"
    else
        fail "cannot install without root or sudo; as root: $*"
    fi
}

# The package may start a server of its own. The tests do not use it: each starts one on a port or socket of its choice.
install() {
    has apt-get || fail "please install $*: the tests start a real redis-server (6.2 or later), set clocks (libfaketime), and cargo needs a linker"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
}

has cargo || fail 'please install Rust: https://rustup.rs/'

missing=()
has redis-server || missing+=(redis-server)
has faketime || missing+=(faketime)
has cc || missing+=(build-essential)
if [ "${#missing[@]}" -gt 0 ]; then
    install "${missing[@]}"
fi

cargo test --workspace --exclude ratelimit-benches --locked "$@"

# rediss:// is a feature of its own.
cargo test --package ratelimit-tests --features rustls --test behaviour --locked redis_tls
