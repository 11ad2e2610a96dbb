//! How much kernel memory the daemon's BPF maps take.

use std::path::Path;

/// Sum of `memlock` over the maps this process holds, bytes, as `/proc/self/fdinfo` shows it; `None` if it cannot be
/// read. Each map counts once, however many descriptors it has.
pub fn map_bytes() -> Option<u64> {
    sum(Path::new("/proc/self/fdinfo"))
}

fn sum(directory: &Path) -> Option<u64> {
    let mut seen = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(directory).ok()? {
        // Descriptors come and go while we read.
        let Ok(text) = entry.and_then(|entry| std::fs::read_to_string(entry.path())) else { continue };
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        if let (Some(id), Some(bytes)) = (field("map_id:"), field("memlock:")) {
            seen.insert(id, bytes);
        }
    }
    (!seen.is_empty()).then(|| seen.values().sum())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_map_counts_once() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(sum(directory.path()), None);
        let map = |id, bytes| format!("pos:\t0\nmap_type:\t2\nmemlock:\t{bytes}\nmap_id:\t{id}\nfrozen:\t0\n");
        for (name, text) in [("3", map(7, 4096)), ("4", map(7, 4096)), ("5", map(8, 100)), ("6", "pos:\t0\n".into())] {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        assert_eq!(sum(directory.path()), Some(4196));
    }
}
