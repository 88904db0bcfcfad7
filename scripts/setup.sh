#!/usr/bin/env bash
# Installs what the machine lacks to build (`build`), to build and test (`test`) or to build and compare (`bench`)
# Herald: Debian packages, and for tests a Python environment in .venv. Quick and silent when nothing is missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly requirements=Tests/Clients/requirements.txt
readonly level="${1:-build}"

say() { printf 'setup: %s\n' "$*"; }
fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}
has() { command -v "$1" >/dev/null 2>&1; }

# The first Python that can make environments; an interpreter of one's own may come before Debian's in PATH.
python_with_venv() {
    local candidate
    for candidate in python3 /usr/bin/python3; do
        if has "$candidate" && "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' \
            >/dev/null 2>&1; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

missing_packages() {
    has make || echo make
    has git || echo git
    has pkg-config || echo pkg-config
    has pkg-config && pkg-config --exists libuv || echo libuv1-dev
    has pkg-config && pkg-config --exists liburing || echo liburing-dev
    has pkg-config && pkg-config --exists openssl || echo libssl-dev
    has pkg-config && pkg-config --exists libnghttp2 || echo libnghttp2-dev
    has pkg-config && pkg-config --exists zlib || echo zlib1g-dev
    [ -s /etc/ssl/certs/ca-certificates.crt ] || echo ca-certificates
    case "$level" in
    test) missing_for_tests ;;
    bench) missing_for_bench ;;
    esac
}

missing_for_tests() {
    has curl || echo curl
    has nghttp && has h2load || echo nghttp2-client
    has chromium || has chromium-browser || has google-chrome || echo chromium
    has promtool || echo prometheus
    python_with_venv >/dev/null || echo python3-venv
}

missing_for_bench() {
    has openssl || echo openssl
    # Debian's nginx is where not every user's PATH looks.
    [ -x /usr/sbin/nginx ] || echo nginx-light
    [ -e /usr/lib/nginx/modules/ngx_nchan_module.so ] || echo libnginx-mod-nchan
}

install_packages() {
    local -a missing as_root=()
    mapfile -t missing < <(missing_packages)
    ((${#missing[@]})) || return 0
    has apt-get || fail "missing: ${missing[*]} (Debian's names); there is no apt-get here to install them with"
    if [ "$(id -u)" -ne 0 ]; then
        has sudo || fail "missing: ${missing[*]}; run 'apt-get install ${missing[*]}' as root, or install sudo"
        as_root=(sudo)
    fi
    say "reading Debian's package lists"
    "${as_root[@]}" apt-get update -qq </dev/null || fail "apt-get update failed; missing: ${missing[*]}"
    say "installing ${missing[*]}"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        "${missing[@]}" </dev/null >/dev/null || fail "apt-get could not install ${missing[*]}"
    mapfile -t missing < <(missing_packages)
    ((${#missing[@]} == 0)) || fail "still missing after installing: ${missing[*]}"
}

# The environment is named by what is to be in it, so that changed requirements make it anew, and an
# interrupted run leaves none that looks complete.
make_environment() {
    local python stamp
    python=$(python_with_venv) || fail "no Python 3.10 or later with venv and ensurepip"
    stamp=.venv/requirements-$(sha256sum "$requirements" | cut -c 1-16)
    if [ -e "$stamp" ] && .venv/bin/python -c '' 2>/dev/null; then return 0; fi
    say "making .venv from $requirements"
    rm -rf .venv
    "$python" -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input -r "$requirements" </dev/null \
        || fail "pip could not install $requirements"
    touch "$stamp"
}

case "$level" in
build | test | bench) ;;
*) fail "usage: scripts/setup.sh [build|test|bench]" ;;
esac

has swift || fail "swift is not in PATH; Herald needs Swift 6.3 or later (https://www.swift.org/install/linux/)"
install_packages
if [ "$level" = test ]; then make_environment; fi
