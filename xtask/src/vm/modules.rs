//! In which order modules are loaded before there is a root file system with `modprobe` in it.

/// What the first root needs to see the disks. A kernel may have any of them built in, or not know it.
pub const FOR_THE_ROOT: [&str; 6] =
    ["virtio_pci", "virtio_blk", "crc32c_generic", "crc32c_cryptoapi", "ext4", "virtio_console"];

/// Files of the wanted modules and of all that they need, each after what it needs. `dependencies` is depmod's
/// `modules.dep`: a line `FILE: FILE…` per module.
pub fn load_order(dependencies: &str, wanted: &[&str]) -> Vec<String> {
    let mut order = Vec::new();
    for name in wanted {
        if let Some((file, _)) = lines(dependencies).find(|(file, _)| module(file) == *name) {
            add(dependencies, file, &mut Vec::new(), &mut order);
        }
    }
    order
}

fn lines(dependencies: &str) -> impl Iterator<Item = (&str, &str)> {
    dependencies.lines().filter_map(|line| line.split_once(':'))
}

/// `above`: the modules that need this one; a circle among them would have no end.
fn add<'a>(dependencies: &'a str, file: &'a str, above: &mut Vec<&'a str>, order: &mut Vec<String>) {
    if above.contains(&file) || order.iter().any(|known| known == file) {
        return;
    }
    above.push(file);
    let needs = lines(dependencies).find(|(known, _)| *known == file).map_or("", |(_, needs)| needs);
    for need in needs.split_whitespace() {
        add(dependencies, need, above, order);
    }
    above.pop();
    order.push(file.to_owned());
}

/// Name of the module in a file: `kernel/fs/ext4/ext4.ko.xz` holds ext4. A dash in a file's name is an underscore.
fn module(file: &str) -> String {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.split(".ko").next().unwrap_or(name).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_comes_first_and_once() {
        let table = "kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko kernel/fs/mbcache.ko\n\
                     kernel/fs/jbd2/jbd2.ko: kernel/lib/crc-x.ko\nkernel/fs/mbcache.ko:\nkernel/lib/crc-x.ko:\n";
        assert_eq!(
            load_order(table, &["crc_x", "absent", "ext4"]),
            ["kernel/lib/crc-x.ko", "kernel/fs/jbd2/jbd2.ko", "kernel/fs/mbcache.ko", "kernel/fs/ext4/ext4.ko"]
        );
    }

    #[test]
    fn a_circle_ends() {
        assert_eq!(load_order("a.ko: b.ko\nb.ko: a.ko\n", &["a"]), ["b.ko", "a.ko"]);
        assert_eq!(load_order("nonsense\n", &["a"]), Vec::<String>::new());
    }
}
