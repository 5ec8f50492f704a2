#!/usr/bin/env bash
# Runs all tests. On Debian and Ubuntu it installs what they need and the machine lacks; elsewhere it says what that is.
#
# REDIS_BIN=FOLDER tests/run.sh runs them against the redis-server or valkey-server of that folder, in place of the one in PATH.
set -euo pipefail

if [ -n "${REDIS_BIN:-}" ]; then
    # Absolute, since cargo starts each test in the folder of its package.
    REDIS_BIN=$(cd "$REDIS_BIN" && pwd) || { echo "$0: REDIS_BIN has to name a folder" >&2; exit 1; }
    export REDIS_BIN
else
    unset REDIS_BIN
fi

cd "$(dirname "${BASH_SOURCE[0]}")/.."

. .ci/install.sh

has cargo || fail 'please install Rust: https://rustup.rs/'

missing=()
[ -n "${REDIS_BIN:-}" ] || has redis-server || missing+=(redis-server)
has memcached || missing+=(memcached)
has faketime || missing+=(faketime)
has cc || missing+=(build-essential)
if [ "${#missing[@]}" -gt 0 ]; then
    # The package may start a server of its own. The tests do not use it: each starts one on a port or socket of its choice.
    install 'the tests start a real redis-server (7.0 or later) and memcached (1.6 or later), and set clocks (libfaketime), and cargo needs a linker' "${missing[@]}"
fi

cargo test --workspace --exclude ratelimit-benches --locked "$@"

# rediss:// is a feature of its own.
cargo test --package ratelimit-tests --features rustls --test behaviour --locked store::redis::tls
