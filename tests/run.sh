#!/usr/bin/env bash
# Runs all tests. On Debian and Ubuntu it installs what they need and the machine lacks; elsewhere it says what that is.
#
# RATELIMIT_TEST_STORES=redis tests/run.sh leaves out the tests of the other shared stores; the stores are `redis` and `memcached`. CI leaves out none.
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

all=redis,memcached
stores=${RATELIMIT_TEST_STORES:-$all}
for store in ${stores//,/ }; do
    [[ ,$all, == *,$store,* ]] || fail "RATELIMIT_TEST_STORES: there is no store \`$store\`; write some of $all"
done
[ "$stores" = "$all" ] || [ -z "${CI:-}" ] || fail "RATELIMIT_TEST_STORES: CI tests all stores; unset it"

# Whether a store is tested, and the machine lacks its server.
lacks() {
    [[ ,$stores, == *,$1,* ]] && ! has "$2"
}

missing=()
[ -n "${REDIS_BIN:-}" ] || ! lacks redis redis-server || missing+=(redis-server)
! lacks memcached memcached || missing+=(memcached)
has faketime || missing+=(faketime)
has cc || missing+=(build-essential)
if [ "${#missing[@]}" -gt 0 ]; then
    # The package may start a server of its own. The tests do not use it: each starts one on a port or socket of its choice.
    install 'the tests start a real redis-server (7.0 or later) and memcached (1.6 or later), and set clocks (libfaketime), and cargo needs a linker' "${missing[@]}"
fi

if [ "$stores" != "$all" ]; then
    features=ratelimit-tests/${stores//,/,ratelimit-tests/}
    exec cargo test --workspace --exclude ratelimit-benches --no-default-features --features "$features" --locked "$@"
fi

cargo test --workspace --exclude ratelimit-benches --locked "$@"

# rediss:// is a feature of its own.
cargo test --package ratelimit-tests --features rustls --test behaviour --locked store::redis::tls
