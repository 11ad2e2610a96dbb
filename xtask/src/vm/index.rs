//! Reads an archive's index of packages (`Packages`).

/// A package that the archive has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name.
    pub name: String,
    /// Version, as Debian writes it.
    pub version: String,
}

/// The entries whose names begin with one of the prefixes. Paragraphs without a name or version are no packages.
pub fn parse(index: &str, prefixes: &[&str]) -> Vec<Entry> {
    index
        .split("\n\n")
        .filter_map(|paragraph| {
            let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let name = field("Package:")?;
            if !prefixes.iter().any(|prefix| name.starts_with(prefix)) {
                return None;
            }
            Some(Entry { name: name.to_owned(), version: field("Version:")?.to_owned() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_found_by_prefix() {
        let index = "Package: linux-image-6.1.0-56-cloud-amd64\nSource: linux-signed-amd64 (6.1.192+2)\n\
                     Version: 6.1.192-2\nDescription: Linux 6.1\n Version: no field\n\n\
                     Package: bash\nVersion: 5.2-1\n\nPackage: linux-image-nameless\n\n\n";
        assert_eq!(
            parse(index, &["linux-image-"]),
            [Entry { name: "linux-image-6.1.0-56-cloud-amd64".into(), version: "6.1.192-2".into() }]
        );
        assert_eq!(parse("", &["linux-image-"]), []);
    }
}
