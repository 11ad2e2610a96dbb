//! Links between the repository's own documents lead somewhere.

use std::path::{Component, Path, PathBuf};

/// Checks the relative links of a Markdown file; `exists` answers for paths from the top of the repository.
pub fn check(path: &str, text: &str, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let folder = Path::new(path).parent().unwrap_or(Path::new(""));
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for target in targets(line).filter(|target| !target.contains("://") && !target.starts_with("mailto:")) {
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !resolve(folder, file).is_some_and(|file| exists(&file)) {
                findings.push(format!("{path}:{}: the link to {target} leads nowhere", number + 1));
            }
        }
    }
    findings
}

/// Targets of `[text](target)`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// The path from the top of the repository; `None` when it leaves it.
fn resolve(folder: &Path, target: &str) -> Option<PathBuf> {
    let mut resolved = PathBuf::new();
    for component in folder.join(target).components() {
        match component {
            Component::ParentDir => resolved.pop().then_some(())?,
            Component::Normal(name) => resolved.push(name),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(path: &str, text: &str) -> usize {
        check(path, text, |file| ["README.md", "docs/api.md"].iter().any(|known| file == Path::new(known))).len()
    }

    #[test]
    fn links_are_resolved_from_their_own_folder() {
        assert_eq!(broken("README.md", "see [the API](docs/api.md#events) and [us](README.md)"), 0);
        assert_eq!(broken("docs/api.md", "[back](../README.md) [here](#events) [out](https://example.org/x)"), 0);
        assert_eq!(broken("docs/api.md", "[wrong](docs/api.md)"), 1);
        assert_eq!(broken("README.md", "[gone](docs/none.md) [left](../README.md) [abs](/README.md)"), 3);
    }
}
