# Functions for scripts that run programs in a Debian of another suite or architecture, with chroot, as root.

# Starts the script again, with mounts that are seen by it alone and end with it, unless that was done.
#   private_mounts SCRIPT [arguments]
private_mounts() {
    if [ "${MOUNTS_ARE_PRIVATE-}" != yes ]; then
        MOUNTS_ARE_PRIVATE=yes exec unshare --mount "$@"
    fi
}

# Makes the folder of a Debian suite, and prepares it to run commands in this checkout with this machine's certificates.
#   prepare_debian ROOT SUITE PACKAGES ARCHITECTURE
prepare_debian() {
    local root=$1 suite=$2 packages=$3 architecture=$4
    if [ ! -e "$root/complete" ]; then
        rm -rf "$root"
        mkdir -p "$root"
        command -v debootstrap > /dev/null || { apt-get update --quiet && apt-get install --quiet --yes debootstrap; }
        # Its script for Debian's development version fits the suites that it does not know yet.
        debootstrap --variant=minbase --arch="$architecture" --include="$packages" "$suite" "$root" \
            http://deb.debian.org/debian /usr/share/debootstrap/scripts/sid
        touch "$root/complete"
    fi
    cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
    mkdir -p "$root$PWD"
    mount --bind "$PWD" "$root$PWD"
    mount --bind /proc "$root/proc"
    mount --rbind /dev "$root/dev"
}
