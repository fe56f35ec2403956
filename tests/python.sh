#!/usr/bin/env bash
# Runs the tests under another version of Python, in an environment of its own; models are not converted.
#   tests/python.sh VERSION [options of pytest]
# The interpreter is pythonVERSION on the PATH or one of pyenv's. Otherwise root installs Debian's with debootstrap in a folder,
# and runs it there with chroot.
set -euo pipefail
. "$(dirname "$0")/debian.sh"

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

run=()
python=$(installed)
if [ -z "$python" ]; then
    root=$PWD/.cache/debian/${suites[$version]:?"Python $version is not installed, and no suite of Debian is known to have it"}
    private_mounts "$0" "$version" "$@"
    prepare_debian "$root" "${suites[$version]}" "python$version-venv,ca-certificates" "$(dpkg --print-architecture)"
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
