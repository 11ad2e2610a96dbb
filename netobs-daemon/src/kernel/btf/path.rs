//! Member paths such as `nd_net.net` or `tuplehash[1].tuple`.

/// One step of a path: a member's name and array indices behind it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Step<'a> {
    pub name: &'a str,
    pub indices: Vec<u32>,
}

/// Splits a path into steps; `None` if it is malformed (empty name, index that is no number).
pub(super) fn steps(path: &str) -> Option<Vec<Step<'_>>> {
    path.split('.')
        .map(|step| {
            let (name, mut rest) = step.split_at(step.find('[').unwrap_or(step.len()));
            let mut indices = Vec::new();
            while !rest.is_empty() {
                let (index, tail) = rest.strip_prefix('[')?.split_once(']')?;
                indices.push(index.parse().ok()?);
                rest = tail;
            }
            (!name.is_empty()).then_some(Step { name, indices })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths() {
        let step = |name, indices: &[u32]| Step { name, indices: indices.to_vec() };
        assert_eq!(steps("dev").unwrap(), [step("dev", &[])]);
        assert_eq!(steps("tuplehash[1].tuple").unwrap(), [step("tuplehash", &[1]), step("tuple", &[])]);
        assert_eq!(steps("a[1][2]").unwrap(), [step("a", &[1, 2])]);
        for bad in ["", ".", "a.", "[1]", "a[", "a[x]", "a[1", "a[1]b", "a[-1]", "a[4294967296]"] {
            assert_eq!(steps(bad), None, "{bad:?}");
        }
    }
}
