//! Firewall rules of a place: nft and both back-ends of iptables, by the distribution's tools.

use anyhow::Result;

use crate::place::Place;

/// Which iptables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// `iptables-nft`: rules end up in `nf_tables`.
    #[default]
    Nft,
    /// `iptables-legacy`: the older interface of its own.
    Legacy,
}

impl Place {
    /// Loads an nft script (`nft -f`).
    pub fn nft(&self, script: &str) -> Result<()> {
        self.feed(&["nft", "-f", "-"], script).map(drop)
    }

    /// What `nft -a list ruleset` prints.
    pub fn nft_ruleset(&self) -> Result<String> {
        Ok(self.must(&["nft", "-a", "list", "ruleset"])?.stdout)
    }

    /// Runs iptables (nft back-end) with these arguments, separated by blanks; quotes work as in a shell.
    pub fn iptables(&self, arguments: &str) -> Result<()> {
        self.iptables_with(Backend::Nft, false, arguments)
    }

    /// [`Place::iptables`] for IPv6.
    pub fn ip6tables(&self, arguments: &str) -> Result<()> {
        self.iptables_with(Backend::Nft, true, arguments)
    }

    /// Runs either iptables.
    pub fn iptables_with(&self, backend: Backend, ipv6: bool, arguments: &str) -> Result<()> {
        let program = match (backend, ipv6) {
            (Backend::Nft, false) => "iptables-nft",
            (Backend::Nft, true) => "ip6tables-nft",
            (Backend::Legacy, false) => "iptables-legacy",
            (Backend::Legacy, true) => "ip6tables-legacy",
        };
        let words = words(arguments);
        let mut command = vec![program, "--wait"];
        command.extend(words.iter().map(String::as_str));
        self.must(&command).map(drop)
    }

    /// An nft chain at the earliest possible priority (the smallest 32-bit number) of prerouting, in a table
    /// `FAMILY lab-earliest`: a neighbour that sits where an observer would like to sit. It accepts everything.
    pub fn nft_chain_at_earliest_priority(&self) -> Result<()> {
        let chain = |hook: &str| {
            format!("chain {hook} {{ type filter hook {hook} priority {}; policy accept; counter; }}", i32::MIN)
        };
        let hooks: String = ["prerouting", "input", "forward", "output", "postrouting"].map(chain).join("\n");
        self.nft(&format!("table ip lab-earliest {{\n{hooks}\n}}\ntable ip6 lab-earliest {{\n{hooks}\n}}\n"))
    }
}

/// Splits at blanks; text in double quotes is one word without the quotes.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in text.split('"').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn quoted_text_is_one_word() {
        assert_eq!(words(r#"-A FORWARD --comment "two words" -j DROP"#).len(), 6);
    }
}
