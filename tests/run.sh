#!/usr/bin/env bash
# Runs all tests. On Debian and Ubuntu it installs what they need and the machine lacks; elsewhere it says what that is.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

. .ci/install.sh

has cargo || fail 'please install Rust: https://rustup.rs/'

missing=()
has redis-server || missing+=(redis-server)
has faketime || missing+=(faketime)
has cc || missing+=(build-essential)
if [ "${#missing[@]}" -gt 0 ]; then
    # The package may start a server of its own. The tests do not use it: each starts one on a port or socket of its choice.
    install 'the tests start a real redis-server (6.2 or later) and set clocks (libfaketime), and cargo needs a linker' "${missing[@]}"
fi

cargo test --workspace --exclude ratelimit-benches --locked "$@"

# rediss:// is a feature of its own.
cargo test --package ratelimit-tests --features rustls --test behaviour --locked redis_tls
