#!/usr/bin/env bash
# Runs the tests under another version of Python, in an environment of its own; models are not converted.
#   tests/python.sh VERSION [options of pytest]
# The interpreter is pythonVERSION on the PATH or one of pyenv's. Otherwise root installs Debian's with debootstrap in a folder,
# and runs it there with chroot.
set -euo pipefail

version=$1
shift
environment=$PWD/.cache/python/$version
declare -A suites=([3.13]=trixie [3.14]=forky)

installed() {
    local candidate
    for candidate in "$(command -v "python$version")" "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
        # A version manager's command can be one that does not run.
        if "$candidate" -c 'import ssl, venv' 2> /dev/null; then
            echo "$candidate"
            return
        fi
    done
}

# Makes the folder of a Debian suite, and prepares it to run commands in this checkout with this machine's certificates.
prepare_debian() {
    local root=$1 suite=$2
    if [ ! -e "$root/complete" ]; then
        rm -rf "$root"
        mkdir -p "$root"
        command -v debootstrap > /dev/null || { apt-get update --quiet && apt-get install --quiet --yes debootstrap; }
        # Its script for Debian's development version fits the suites that it does not know yet.
        debootstrap --variant=minbase --include="python$version-venv,ca-certificates" "$suite" "$root" \
            http://deb.debian.org/debian /usr/share/debootstrap/scripts/sid
        touch "$root/complete"
    fi
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    mkdir -p "$root$PWD"
    mount --bind "$PWD" "$root$PWD"
    mount --bind /proc "$root/proc"
    mount --rbind /dev "$root/dev"
}

run=()
python=$(installed)
if [ -z "$python" ]; then
    root=$PWD/.cache/debian/${suites[$version]:?"Python $version is not installed, and no suite of Debian is known to have it"}
    # The mounts are seen by this process alone, and end with it.
    if [ "${MOUNTS_ARE_PRIVATE-}" != yes ]; then
        MOUNTS_ARE_PRIVATE=yes exec unshare --mount "$0" "$version" "$@"
    fi
    prepare_debian "$root" "${suites[$version]}"
    run=(chroot "$root" env --chdir="$PWD")
    python=python$version
fi
if [ ! -e "$environment/installed" ] || [ pyproject.toml -nt "$environment/installed" ]; then
    "${run[@]}" "$python" -m venv --clear "$environment"
    "${run[@]}" "$environment/bin/python" -m pip install --quiet --upgrade pip
    "${run[@]}" "$environment/bin/python" -m pip install --quiet --editable '.[cpu]' --group dev
    touch "$environment/installed"
fi
"${run[@]}" "$environment/bin/python" -m pytest "$@"
