#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Runs make targets of the last commit on a fresh Debian: an empty root folder
# made by debootstrap, with git, make and Python in it and nothing else. Mirrors,
# proxies and certificates are this machine's. Needs root and debootstrap.
#
#     tools/fresh_machine.sh demo demo test
#
# SUITE is Debian's release (bookworm). SHARE is a folder of this machine that
# its configuration of pip or apt refers to.
set -eu

SUITE=${SUITE:-bookworm}
source=$(cd "$(dirname "$0")/.." && pwd)
root=$(mktemp -d /var/tmp/fresh-machine.XXXXXX)
chmod 755 "$root" # not everybody there is root

if [ "$(id -u)" != 0 ] || ! command -v debootstrap >/dev/null; then
	echo "as root: apt-get install debootstrap" >&2
	exit 5
fi

inside() {
	settings=$(env | grep -iE '^(pip_|ssl_|curl_ca|https?_proxy|no_proxy)' || true)
	# shellcheck disable=SC2086 # one word for each setting
	chroot "$root" env -i $settings HOME=/srv LANG=C.UTF-8 \
		PATH=/usr/sbin:/usr/bin:/sbin:/bin make -C /srv/undercroft "$1"
}

leave() {
	[ ! -x "$root/srv/undercroft/.venv/bin/undercroft" ] ||
		chroot "$root" /srv/undercroft/.venv/bin/undercroft board down --all
	for process in /proc/[0-9]*; do # what a failed test has left running
		[ "$(readlink "$process/root")" != "$root" ] ||
			kill -9 "${process#/proc/}" 2>/dev/null || true
	done
	mount | awk -v root="$root/" 'index($3, root) == 1 { print $3 }' | sort -r |
		xargs -r -n 1 umount -l
	rm -rf --one-file-system "$root"
}
trap leave EXIT

mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep -v security | head -n 1)
echo "== $SUITE in $root"
debootstrap --variant=minbase --include=ca-certificates,git,make,python3 \
	"$SUITE" "$root" "$mirror" >"$root.log" 2>&1 || {
	cat "$root.log" >&2
	exit 5
}
rm "$root.log"
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
: >"$root/etc/apt/sources.list"
cp -r /etc/apt/sources.list* "$root/etc/apt/"
for settings in /etc/pip.conf /etc/xdg/pip /etc/apt/apt.conf.d; do
	[ -e "$settings" ] || continue
	mkdir -p "$root$(dirname "$settings")"
	cp -r "$settings" "$root$(dirname "$settings")/"
done
rm -rf "$root/etc/ssl/certs"
cp -rL /etc/ssl/certs "$root/etc/ssl/certs"
if [ -n "${SHARE:-}" ]; then
	mkdir -p "$root$SHARE"
	mount --bind "$SHARE" "$root$SHARE"
fi
mount -t proc proc "$root/proc"
mount -t sysfs sys "$root/sys"
mount --bind /dev "$root/dev"
mount -t devpts devpts "$root/dev/pts"
mount -t tmpfs shm "$root/dev/shm"
git clone -q "$source" "$root/srv/undercroft"

for goal; do
	begun=$(date +%s)
	inside "$goal"
	echo "== fresh $SUITE: make $goal took $(($(date +%s) - begun)) s"
done
