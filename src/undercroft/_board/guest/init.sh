#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Process 1 of the board: network, TEE supplicant, agent, shells.
#
# Lines that begin with "undercroft-init:" on the console are read by the
# host; src/undercroft/_board/boot.py knows the words.
export PATH=/usr/sbin:/usr/bin
export HOME=/root TERM=vt100 LANG=C.UTF-8
export PYTHONPATH=/opt/undercroft/python PYTHONDONTWRITEBYTECODE=1
export PYTHONUNBUFFERED=1
multiarch=/usr/lib/aarch64-linux-gnu
export LD_LIBRARY_PATH=/opt/undercroft/lib:$multiarch/blas:$multiarch/lapack

say() {
	echo "undercroft-init: $*" >/dev/console
}

# Run "$@" for ever, its words on the second console's log.
keep() {
	name=$1
	shift
	while :; do
		"$@" >/dev/hvc0 2>&1 </dev/null
		say "$name-ended $?"
		sleep 1
	done
}

# A shell for people on the first serial port, in a session of its own.
serial_shell() {
	while :; do
		setsid sh -c "exec sh -i <>/dev/ttyAMA0 >&0 2>&1"
		sleep 1
	done
}

# A shell for programs on the terminal that is descriptor 3. It reads from a
# pipe, so that it prints no prompt and echoes nothing. (Not through cat, which
# hands each line on only when the next one comes.)
control_shell() {
	while :; do
		dd bs=4096 <&3 2>/dev/null | setsid sh >&3 2>&3
		sleep 1
	done
}

mount -t tmpfs -o mode=1777 tmp /tmp
mount -t tmpfs -o mode=755 run /run
mkdir -p /dev/pts /dev/shm /var/lib /var/tmp
# tee-supplicant keeps secure storage in /var/lib/optee-client.
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
hostname undercroft

# The host passes the time of day: the board has no network time.
for word in $(cat /proc/cmdline); do
	case $word in
	undercroft.time=*) date -s "@${word#*=}" >/dev/null ;;
	undercroft.address=*) address=${word#*=} ;;
	esac
done

ip link set lo up
ip addr add "${address:-10.0.2.15}/24" dev eth0
ip link set eth0 up
ip route add default via 10.0.2.2

tries=0
while [ ! -c /dev/tee0 ] && [ $tries -lt 50 ]; do
	usleep 100000
	tries=$((tries + 1))
done
if [ -c /dev/tee0 ]; then
	say "tee-ready"
	keep tee-supplicant tee-supplicant &
else
	say "tee-missing"
fi

# Set up before the host is told that the board is there: a change of the
# terminal's mode throws away what has been sent to it.
exec 3<>/dev/ttyS0
stty raw -echo <&3
control_shell &
exec 3>&-
serial_shell &

if [ -f /opt/undercroft/python/undercroft/_device/agent.py ]; then
	say "agent-starting"
	keep agent python3 -m undercroft._device.agent --port 8080 --device tee: &
else
	say "agent-absent"
fi

# Process 1 must not end, and collects every orphan.
while :; do
	wait
	sleep 1
done
