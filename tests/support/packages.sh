# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Sourced by tests/run and bench/quickstart: what they need from the distribution (Debian 12,
# Debian 13, Ubuntu 24.04), installed where it is missing.

# To build the library and the program.
# shellcheck disable=SC2034  # read by those who source this
build_packages=(cmake ninja-build gcc libc6-dev pkg-config
    liburing-dev libcjson-dev libssl-dev libpopt-dev libcurl4-openssl-dev libmicrohttpd-dev)

# packages_need PACKAGE...: without a network and without root if all are there.
packages_need() {
    local package missing=() as_root=()

    if ! command -v dpkg-query >/dev/null; then
        echo "no dpkg here: taking it that these, or their like, are installed: $*" >&2
        return
    fi
    for package in "$@"; do
        dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed ||
            missing+=("$package")
    done
    if ((${#missing[@]} == 0)); then
        return
    fi
    if ((EUID != 0)); then
        as_root=(sudo)
        if ! command -v sudo >/dev/null; then
            echo "neither root nor sudo; as root: apt-get install ${missing[*]}" >&2
            return 1
        fi
    fi
    echo "installing ${missing[*]}"
    as_root+=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
    # One source of many that fails to update is no reason to stop: the install will tell.
    "${as_root[@]}" update </dev/null || true
    if ! "${as_root[@]}" install -y --no-install-recommends -o Dpkg::Use-Pty=0 "${missing[@]}" \
        </dev/null >/dev/null; then
        echo "the packages could not be installed (Ubuntu has some of them in 'universe')" >&2
        return 1
    fi
}
