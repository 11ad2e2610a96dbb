#!/bin/busybox sh
# The virtual machine's first process, in the kernel's first root: loads what is needed to see the disks and goes on to them.
/bin/busybox mount -t devtmpfs dev /dev
for module in /modules/*; do
    /bin/busybox insmod "$module" || echo "netobs-vm: $module was not loaded"
done
mounted() {
    /bin/busybox mount -t ext4 -o ro "$1" "$2" && return
    echo "netobs-vm: $1 was not mounted"
    /bin/busybox poweroff -f
}
mounted /dev/vda /disk
mounted /dev/vdb /disk/lib/modules
mounted /dev/vdc /disk/opt/netobs
/bin/busybox mount --move /dev /disk/dev
exec /bin/busybox switch_root /disk /opt/netobs/second.sh
