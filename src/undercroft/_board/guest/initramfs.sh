#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# First program of the board's Linux: load the drivers, find the disks by
# their serial names, mount them and hand over to the payload's init.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev

for module in /modules/*.ko; do
	insmod "$module" || echo "undercroft-init: module-failed $module"
done

# Print the device whose disk bears the serial name $1.
find_disk() {
	tries=0
	while [ $tries -lt 50 ]; do
		for disk in /sys/block/vd*; do
			if [ "$(cat "$disk/serial" 2>/dev/null)" = "$1" ]; then
				echo "/dev/${disk##*/}"
				return
			fi
		done
		usleep 100000
		tries=$((tries + 1))
	done
}

# Mount the disk $1 at $2 with options $3, or say so and stop.
mount_disk() {
	device=$(find_disk "$1")
	if [ -z "$device" ] || ! mount -t ext4 -o "$3" "$device" "$2"; then
		echo "undercroft-init: disk-failed $1"
		while :; do usleep 60000000; done
	fi
}

mount_disk root /newroot ro
mount_disk payload /newroot/opt/undercroft ro
mount_disk state /newroot/var rw,noatime

mount -o move /dev /newroot/dev
mount -o move /proc /newroot/proc
mount -o move /sys /newroot/sys
exec switch_root /newroot /bin/sh /opt/undercroft/init
