#!/usr/bin/env bash
# Counts the instructions of a check in memory with callgrind, a figure that does not depend on how busy the machine is,
# and compares them with those in instructions.txt. With --write, writes that file instead. On another kind of processor
# than theirs there is nothing to compare.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

# Growth beyond this fails, in per cent.
allowed=10
recorded=instructions.txt

. ../.ci/install.sh
has valgrind || install 'callgrind, a part of it, counts the instructions' valgrind

# Without the peers, which take long to build.
cargo build --quiet --release --locked --package ratelimit-benches --no-default-features --bin checks
target=$(cargo metadata --format-version 1 --no-deps --locked | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

# All instructions of the process, for so many calls of a kind.
instructions() {
    local log
    log=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null "$target/release/checks" "$1" "$2" 2>&1) || {
        printf '%s\n' "$log" >&2
        return 1
    }
    sed -n 's/.*Collected : \([0-9]*\).*/\1/p' <<<"$log"
}

# Of one call of a kind. Two numbers of calls, so that what the start of the process takes falls out.
per_call() {
    local few many
    few=$(instructions "$1" 10000)
    many=$(instructions "$1" 30000)
    echo $(((many - few) / 20000))
}

bare=$(per_call bare)
measured=$(
    # What the limiter adds to a call; where it refuses, with the making of the 429 and without the handler.
    for kind in admitted headers refused middleware plan cost settled places block blocked; do
        echo "$kind $(($(per_call "$kind") - bare))"
    done
)

if [ "${1-}" = --write ]; then
    {
        echo "# Instructions of a check in memory, by callgrind ($(rustc --version | cut -d' ' -f1,2), $(uname -m))."
        echo '# Written by `benches/instructions.sh --write`; without --write it fails where one has grown by a tenth.'
        echo "$measured"
    } >"$recorded"
fi

if ! grep -q "$(uname -m)" "$recorded"; then
    printf '%s\n' "$measured" "instructions.sh: $recorded has no figures of $(uname -m) to compare these with"
    exit
fi

status=0
while read -r kind now; do
    before=$(sed -n "s/^$kind \([0-9]*\)$/\1/p" "$recorded")
    if [ -z "$before" ]; then
        echo "instructions.sh: $recorded has no figure for $kind; --write makes one" >&2
        exit 1
    fi
    echo "$kind: $now instructions a check, $before recorded"
    if ((now * 100 > before * (100 + allowed))); then
        echo "instructions.sh: $kind has grown by more than $allowed %" >&2
        status=1
    fi
done <<<"$measured"
exit "$status"
