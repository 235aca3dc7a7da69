#!/bin/sh
# Fetches Valkey 9.x, the peer of the README's tables, and builds it into bench/peers/.cache.
#
# The source is Debian's source package of sid, read by apt with a private configuration: its own
# list of sources, its own package lists, its own cache. The system's apt settings stay as they
# are, apt checks the signature of the release and the hashes of what it downloads.
# The build takes the bundled jemalloc and upstream's flags (-O3, link-time optimisation): faster
# than Debian's hardened binary, hence the harder peer. TLS and systemd, which cost the measured
# path nothing, are left out so that gcc, make and pkg-config are all it needs.
#
# Prints the path of valkey-server on stdout, everything else on stderr. Runs again only if the
# binary is missing; `get-valkey.sh --force` fetches and builds anew.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cache=$here/.cache
server=$cache/valkey-server
series=9.
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

say() { printf 'get-valkey: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

if [ -x "$server" ] && [ "${1:-}" != --force ]; then
    echo "$server"
    exit 0
fi

missing=
for tool in dpkg-source:dpkg-dev gcc:gcc g++:g++ make:make pkg-config:pkg-config; do
    command -v "${tool%%:*}" >/dev/null 2>&1 || missing="$missing ${tool##*:}"
done
if [ -n "$missing" ]; then
    [ "$(id -u)" -eq 0 ] || die "please install:$missing"
    # shellcheck disable=SC2086 # a list of packages
    apt-get install -y --no-install-recommends $missing >&2
fi
[ -r "$keyring" ] || die "no $keyring (package debian-archive-keyring)"

work=$cache/work
rm -rf "$work"
mkdir -p "$work/apt/lists/partial" "$work/apt/cache/archives/partial" "$work/apt/sources.d" \
    "$work/source"
cat >"$work/apt/sources.d/sid.sources" <<EOF
Types: deb-src
URIs: $mirror
Suites: sid
Components: main
Signed-By: $keyring
EOF

sid() {
    command=$1
    shift
    "$command" -qq \
        -o Dir::Etc::sourcelist=/dev/null \
        -o Dir::Etc::sourceparts="$work/apt/sources.d" \
        -o Dir::State::lists="$work/apt/lists" \
        -o Dir::Cache="$work/apt/cache" \
        -o APT::Sandbox::User=root "$@"
}

say "reading sid's list of sources"
sid apt-get update >&2
version=$(sid apt-cache showsrc valkey | sed -n 's/^Version: //p' |
    awk -v s="$series" 'index($0, s) == 1' | sort -V | tail -n 1)
[ -n "$version" ] || die "sid has no valkey $series* any more: $(sid apt-cache showsrc valkey |
    sed -n 's/^Version: //p' | tr '\n' ' ')"
say "fetching valkey $version"
(cd "$work/source" && sid apt-get source --download-only "valkey=$version" >&2)
# apt has checked the .dsc against the signed release; dpkg-source of bookworm lacks newer
# maintainers' keys and would only warn.
(cd "$work/source" && dpkg-source --no-check -x valkey_*.dsc tree >&2)

say "building on one core, with low priority (about two minutes)"
nice -n 10 make -C "$work/source/tree/src" -j1 V= BUILD_TLS=no USE_SYSTEMD=no MALLOC=jemalloc \
    valkey-server valkey-cli valkey-benchmark >"$work/build.log" 2>&1 || {
    tail -n 30 "$work/build.log" >&2
    die "the build failed; all of it: $work/build.log"
}
for program in valkey-server valkey-cli valkey-benchmark; do
    install -m 755 "$work/source/tree/src/$program" "$cache/$program"
done
echo "$version" >"$cache/VERSION"
rm -rf "$work"
"$server" --version >&2
echo "$server"
