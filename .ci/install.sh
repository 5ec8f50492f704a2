# For scripts to source: what they need and the machine lacks is installed on Debian and Ubuntu; elsewhere they say what it is.

has() {
    command -v "$1" >/dev/null 2>&1
}

fail() {
    printf '%s: %s\n' "$0" "$*" >&2
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

# install WHY PACKAGE...
install() {
    local why=$1
    shift
    has apt-get || fail "please install $*: $why"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
}
