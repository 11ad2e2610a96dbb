#!/bin/sh
# The virtual machine's first process once its disks are there: what an init system would set up, then the command that the
# machine was started for. Everything from the line that begins is read by xtask/src/vm/verdict.rs.
export PATH=/opt/netobs:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/run NO_COLOR=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracing /sys/kernel/tracing
ip link set lo up
hostname netobs-vm
# Nothing asks for these by name.
modprobe -qa br_netfilter overlay tcp_diag inet_diag
# A serial line has no width of its own; tables would be drawn in one of nothing.
stty -F /dev/ttyS1 raw -echo cols 200 rows 50
exec > /dev/ttyS1 2>&1
echo "netobs-vm: begin $(uname -r) up $(cut -d' ' -f1 /proc/uptime)"
cd /run
sh /opt/netobs/command.sh
echo "netobs-vm: exit $?"
sync
exec busybox poweroff -f
