# Rust's standard library for other systems: from rustup, or its source. To be sourced; not a program.
#
# Expects `cache`, a directory for what is fetched.
# shellcheck shell=bash disable=SC2154

# The package that holds the standard library's source is signed by its distribution; of the version that was reviewed,
# the file itself is known too.
declare -A known_sha256=(
    [1.95.0+dfsg1-2~bpo13+1]=7b76db5b880a77f9e52975d2baa6209d2f76d2c9c2789515c3088cb960e2c83b
)

# ---- A standard library that is installed.

installed() {
    compgen -G "$(rustc --print target-libdir --target "$1")/libstd-*.rlib" >/dev/null
}

# Adds the targets given, if it can. A network that swallows packets must not cost minutes, hence the time limit.
add_with_rustup() {
    local target missing=()
    for target in "$@"; do
        installed "$target" || missing+=("$target")
    done
    ((${#missing[@]} > 0)) || return 0
    command -v rustup >/dev/null || return 0
    echo "-- rustup target add ${missing[*]}"
    timeout 60 rustup target add "${missing[@]}" || echo "rustup can't add them; trying from source"
}

rustc_version() {
    rustc --version | cut -d ' ' -f 2
}

# ---- The standard library's source. `find_source` sets `source`, or fails and sets `why_no_source`.

find_source() {
    local candidate version
    version=$(rustc_version)
    for candidate in "$(rustc --print sysroot)/lib/rustlib/src/rust/library" "$cache/rust-src-$version/library"; do
        source=$candidate
        [[ ! -f $source/Cargo.toml ]] || return 0
    done
    # After one failure, a second try for the next target would end in the same way.
    [[ -z ${why_no_source:-} ]] || return 1
    fetch_source
}

fetch_source() {
    local tool version
    version=$(rustc_version)
    for tool in apt-get apt-cache dpkg-deb tar sha256sum; do
        command -v "$tool" >/dev/null || { why_no_source="rust-src can't be fetched, $tool is missing"; return 1; }
    done
    local mirror
    mirror=$(debian_mirror)
    [[ -n $mirror ]] || { why_no_source="this machine's apt knows no Debian mirror to fetch rust-src from"; return 1; }

    work=$cache/apt
    rm -rf "$work"
    mkdir -p "$work"/{parts,lists/partial,cache/archives/partial,download,unpacked}
    write_apt_source "$mirror"
    echo "-- apt-get download rust-src $version"
    private_apt get -qq -o APT::Update::Error-Mode=any update || { why_no_source="the list of trixie-backports can't be fetched"; return 1; }
    local package_version
    package_version=$(private_apt cache madison rust-src | awk -F ' *[|] *' -v v="$version+" 'index($2, v) == 1 { print $2; exit }')
    [[ -n $package_version ]] || { why_no_source="trixie-backports has no rust-src of version $version"; return 1; }
    (cd "$work/download" && private_apt get -qq download "rust-src=$package_version") ||
        { why_no_source="rust-src $package_version can't be downloaded"; return 1; }
    unpack "$package_version" || { why_no_source="rust-src $package_version can't be unpacked"; return 1; }
}

# Only whole and checked source gets the name that `find_source` looks for. A file that is not the known one is an error,
# not a reason to skip.
unpack() {
    local packages=("$work"/download/*.deb) expected=${known_sha256[$1]:-} version
    version=$(rustc_version)
    if [[ -n $expected ]]; then
        sha256sum --check --quiet <<<"$expected  ${packages[0]}" || exit 1
    fi
    dpkg-deb --fsys-tarfile "${packages[0]}" |
        tar -x -C "$work/unpacked" --no-same-owner --strip-components=4 "./usr/src/rustc-$version/library" || return 1
    rm -rf "$cache/rust-src-$version"
    mv "$work/unpacked" "$cache/rust-src-$version"
    rm -rf "$work"
    source=$cache/rust-src-$version/library
}

# The mirror of the machine's own release, as apt understands its configuration, whatever form that is written in.
debian_mirror() {
    local codename
    # shellcheck source=/dev/null
    codename=$(. /etc/os-release && [[ $ID == debian ]] && echo "${VERSION_CODENAME:-}") || return 0
    apt-get update --print-uris 2>/dev/null |
        sed -nE "s#^'(.*)/dists/($codename|stable|testing|unstable|sid)/InRelease'.*#\1#p" | head -n 1
}

write_apt_source() {
    local keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    {
        printf 'Types: deb\nURIs: %s\nSuites: trixie-backports\nComponents: main\n' "$1"
        [[ ! -f $keyring ]] || printf 'Signed-By: %s\n' "$keyring"
    } >"$work/mirror.sources"
}

# apt with that source alone; the machine's lists and cache are not touched, and root is not needed.
private_apt() {
    "apt-$1" -o Dir::Etc::SourceList="$work/mirror.sources" -o Dir::Etc::SourceParts="$work/parts" \
        -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User= "${@:2}"
}
