//! The daemon's own memory, from `/proc/self/status` (`proc_pid_status(5)`).

/// Resident set, bytes; `None` where `/proc` does not tell.
pub fn resident_bytes() -> Option<u64> {
    parse(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// `VmRSS`, which the kernel gives in units of 1024 bytes.
fn parse(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    value.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_set() {
        assert_eq!(parse("Name:\tx\nVmRSS:\t      42 kB\n"), Some(42 * 1024));
        assert_eq!(parse("Name:\tkthreadd\n"), None);
        assert!(resident_bytes().is_some_and(|bytes| bytes > 1 << 16));
    }
}
