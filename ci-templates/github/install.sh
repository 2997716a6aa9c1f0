#!/bin/sh
# Installs one version of layerlift into a folder, after a check of its SHA-256.
#
#   install.sh FOLDER
#
#   LAYERLIFT_VERSION  the version, a number such as 0.1.0; there is no "latest"
#   LAYERLIFT_SHA256   SHA-256 of the binary for this machine's architecture
#   LAYERLIFT_URL      where to fetch it instead of the release page; {version} and {arch} (amd64, arm64) are filled in
#   LAYERLIFT_PATH     a binary that is there already, instead of all of these; LAYERLIFT_SHA256 is checked if it is set
#
# POSIX sh; needs curl or wget, and sha256sum. The CircleCI orb holds the same lines; a test compares them.
set -eu

fail() {
    # GitHub shows such lines at the top of the run.
    if [ "${GITHUB_ACTIONS:-}" = true ]; then echo "::error::layerlift: $*"; else echo "error: layerlift: $*" >&2; fi
    exit 1
}

architecture() {
    [ "$(uname -s)" = Linux ] || fail "runs on Linux only, and this machine is $(uname -s): use a Linux runner"
    case $(uname -m) in
        x86_64 | amd64) echo amd64 ;;
        aarch64 | arm64) echo arm64 ;;
        *) fail "there is no binary for $(uname -m), only for amd64 and arm64" ;;
    esac
}

# fetch URL FILE
fetch() {
    if command -v curl > /dev/null; then
        curl --fail --silent --show-error --location --retry 3 --connect-timeout 20 --max-time 300 --output "$2" "$1"
    elif command -v wget > /dev/null; then
        wget -q -T 60 -O "$2" "$1"
    else
        fail "neither curl nor wget is installed: install one, or name a binary by its path"
    fi
}

# check FILE SOURCE
check() {
    found=$(sha256sum "$1" | cut -d ' ' -f 1)
    expected=$(printf '%s' "$LAYERLIFT_SHA256" | tr 'A-F' 'a-f')
    [ "$found" = "$expected" ] || fail "$2 has the SHA-256 $found, but $expected was expected: check version and sha256"
}

folder=${1:?usage: install.sh FOLDER}
architecture=$(architecture) || { echo "$architecture"; exit 1; }
mkdir -p "$folder"
part=$folder/layerlift.part
trap 'rm -f "$part"' EXIT

if [ -n "${LAYERLIFT_PATH:-}" ]; then
    [ -f "$LAYERLIFT_PATH" ] || fail "no binary at $LAYERLIFT_PATH"
    cp "$LAYERLIFT_PATH" "$part"
    [ -z "${LAYERLIFT_SHA256:-}" ] || check "$part" "$LAYERLIFT_PATH"
else
    case ${LAYERLIFT_VERSION:-} in
        "") fail "no version is set: name one, such as 0.1.0" ;;
        [!0-9]* | *[!0-9A-Za-z.+-]*) fail "version \`$LAYERLIFT_VERSION\` is no number such as 0.1.0" ;;
    esac
    [ -n "${LAYERLIFT_SHA256:-}" ] || fail "no sha256 is set: take that of layerlift-linux-$architecture from its release"
    url=${LAYERLIFT_URL:-"https://github.com/layerlift/layerlift/releases/download/v{version}/layerlift-linux-{arch}"}
    url=$(printf '%s' "$url" | sed "s/{version}/$LAYERLIFT_VERSION/g; s/{arch}/$architecture/g")
    fetch "$url" "$part" || fail "could not be fetched from $url"
    check "$part" "$url"
fi
chmod 755 "$part"
mv -f "$part" "$folder/layerlift"
"$folder/layerlift" --version || fail "$folder/layerlift does not run on this machine"
