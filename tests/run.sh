#!/usr/bin/env bash
# Runs all tests. On Debian and Ubuntu it installs what they need and the machine lacks; elsewhere it says what that is.
#
# RATELIMIT_TEST_STORES=redis tests/run.sh leaves out the tests of the other shared stores; the stores are `redis`, `memcached`,
# `postgres`, `mysql` and `sqlite`. CI leaves out none.
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

all=redis,memcached,postgres,mysql,sqlite
stores=${RATELIMIT_TEST_STORES:-$all}
for store in ${stores//,/ }; do
    [[ ,$all, == *,$store,* ]] || fail "RATELIMIT_TEST_STORES: there is no store \`$store\`; write some of $all"
done
[ "$stores" = "$all" ] || [ -z "${CI:-}" ] || fail "RATELIMIT_TEST_STORES: CI tests all stores; unset it"

# Whether a program is there. Debian keeps some where PATH does not name them.
has_server() {
    has "$1" || compgen -G "/usr/sbin/$1" >/dev/null || compgen -G "/usr/lib/postgresql/*/bin/$1" >/dev/null
}

# lacks STORE PROGRAM...: whether the store is tested, and the machine lacks one of the programs.
lacks() {
    local store=$1 program
    shift
    [[ ,$stores, == *,$store,* ]] || return 1
    for program in "$@"; do
        has_server "$program" || return 0
    done
    return 1
}

missing=()
[ -n "${REDIS_BIN:-}" ] || ! lacks redis redis-server || missing+=(redis-server)
! lacks memcached memcached || missing+=(memcached)
! lacks postgres initdb postgres pg_basebackup psql || missing+=(postgresql)
! lacks postgres pgbouncer || missing+=(pgbouncer)
! lacks mysql mariadbd mariadb-install-db mariadb || missing+=(mariadb-server)
! lacks sqlite sqlite3 || missing+=(sqlite3)
has faketime || missing+=(faketime)
has cc || missing+=(build-essential)
if [ "${#missing[@]}" -gt 0 ]; then
    # The package may start a server of its own. The tests do not use it: each starts one on a port or socket of its choice.
    install 'the tests start real servers (Redis 7.0 or later, Memcached 1.6, PostgreSQL 14, MariaDB 10.6), use sqlite3, and set clocks (libfaketime), and cargo needs a linker' "${missing[@]}"
fi

# Most tests of behaviour wait for servers and clocks, not for a processor.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-4}

if [ "$stores" != "$all" ]; then
    features=ratelimit-tests/${stores//,/,ratelimit-tests/}
    exec cargo test --workspace --exclude ratelimit-benches --no-default-features --features "$features" --locked "$@"
fi

cargo test --workspace --exclude ratelimit-benches --locked "$@"
