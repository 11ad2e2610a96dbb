//! Why the verifier refused a program, out of its log.

/// Lines of the log that are kept.
const LINES: usize = 4;
/// Beginnings of the lines that it ends with and that say only how much work it was (`print_verification_stats` of
/// kernel/bpf/verifier.c; Linux 7.3 adds a line for each function).
const STATISTICS: [&str; 4] = ["processed ", "verification time ", "stack depth ", "subprog "];

/// The last lines that tell something, in one.
pub fn reason(log: &str) -> String {
    let is_statistics = |line: &&str| STATISTICS.iter().any(|start| line.starts_with(start));
    let mut tail: Vec<&str> =
        log.lines().map(str::trim).filter(|line| !line.is_empty() && !is_statistics(line)).rev().take(LINES).collect();
    tail.reverse();
    tail.join(" | ")
}

#[cfg(test)]
mod tests {
    use super::reason;

    #[test]
    fn the_reason_stands_before_the_statistics() {
        let log = "1: (07) r3 += -8\n2: (85) call bpf_skb_load_bytes#26\n\
                   R3 min value is outside of the allowed memory range\nverification time 431 usec\n\
                   stack depth 136+0\nsubprog 7 (x) static insns_self 0 insns_total 0 stack 0\n\
                   processed 13753 insns (limit 1000000) mark_read 23\n\n";
        assert_eq!(
            reason(log),
            "1: (07) r3 += -8 | 2: (85) call bpf_skb_load_bytes#26 | R3 min value is outside of the allowed memory range"
        );
        assert_eq!(reason(""), "");
    }
}
