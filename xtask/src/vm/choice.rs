//! Which package of which kernel: the newest one of the line of releases that is asked for.

use std::fmt;
use std::str::FromStr;

use crate::vm::index::Entry;
use crate::vm::version;

/// Prefixes of the packages that a kernel may consist of: one until 6.18, up to four from 6.19 on.
pub const PARTS: [&str; 4] = ["linux-image-", "linux-binary-", "linux-modules-", "linux-base-"];
/// Debian's kernels for machines that are virtual: a third of the size, and all that the lab needs is in them.
const FLAVOUR: &str = "-cloud-amd64";

/// A kernel as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wanted {
    /// A line of releases: 6.1.
    Line(u32, u32),
    /// Whatever is newest.
    Newest,
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "newest" {
            return Ok(Self::Newest);
        }
        let numbers = text.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
        let (major, minor) = numbers.ok_or_else(|| format!("{text:?} is neither a kernel such as 6.1 nor `newest`"))?;
        Ok(Self::Line(major, minor))
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(major, minor) => write!(out, "{major}.{minor}"),
            Self::Newest => out.write_str("newest"),
        }
    }
}

/// A kernel that the archive has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// What `uname -r` says on it.
    pub release: String,
    /// Version of its packages.
    pub version: String,
    /// Names of its packages.
    pub packages: Vec<String>,
}

/// The newest kernel that fits.
pub fn choose(index: &[Entry], wanted: &Wanted) -> Option<Kernel> {
    let (image, release) = index
        .iter()
        .filter_map(|entry| Some((entry, entry.name.strip_prefix(PARTS[0])?)))
        .filter(|(_, release)| line(release).is_some_and(|(major, minor)| fits(wanted, major, minor)))
        .max_by(|(left, _), (right, _)| version::compare(&left.version, &right.version))?;
    let same = |name: &String| index.iter().any(|entry| entry.name == *name && entry.version == image.version);
    let packages = PARTS.iter().map(|part| format!("{part}{release}")).filter(same).collect();
    Some(Kernel { release: release.to_owned(), version: image.version.clone(), packages })
}

/// Lines of releases that the index has kernels of, in order.
pub fn lines(index: &[Entry]) -> Vec<Wanted> {
    let images = index.iter().filter_map(|entry| line(entry.name.strip_prefix(PARTS[0])?));
    let mut lines: Vec<_> = images.map(|(major, minor)| Wanted::Line(major, minor)).collect();
    lines.sort_unstable();
    lines.dedup();
    lines
}

fn fits(wanted: &Wanted, major: u32, minor: u32) -> bool {
    match wanted {
        Wanted::Newest => true,
        Wanted::Line(..) => *wanted == Wanted::Line(major, minor),
    }
}

/// Major and minor number of a release that is a kernel of the flavour. A name with two numbers only is that of a package
/// that stands for the newest kernel of a line, or of a release candidate.
fn line(release: &str) -> Option<(u32, u32)> {
    let stem = release.strip_suffix(FLAVOUR)?;
    let mut numbers = stem.split(|letter: char| !letter.is_ascii_digit());
    let found = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    numbers.next()?.parse::<u32>().ok()?;
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Vec<Entry> {
        [
            ("linux-image-6.1.0-50-cloud-amd64", "6.1.176-1"),
            ("linux-image-6.1.0-56-cloud-amd64", "6.1.192-2"),
            ("linux-image-6.1.0-57-cloud-amd64-unsigned", "6.1.193-1"),
            ("linux-image-6.1.0-57-amd64", "6.1.193-1"),
            ("linux-image-6.1.0-57-rt-amd64", "6.1.193-1"),
            ("linux-image-6.12-cloud-amd64", "6.12.117-1~deb12u1"),
            ("linux-image-6.12.95+deb12-cloud-amd64", "6.12.95-1~bpo12+1"),
            ("linux-image-6.12.117+deb12-cloud-amd64", "6.12.117-1~deb12u1"),
            ("linux-image-6.19.6+deb13-cloud-amd64", "6.19.6-2~bpo13+1"),
            ("linux-binary-6.19.6+deb13-cloud-amd64", "6.19.6-2~bpo13+1"),
            ("linux-modules-6.19.6+deb13-cloud-amd64", "6.19.6-1~bpo13+1"),
            ("linux-image-cloud-amd64", "99-1"),
        ]
        .map(|(name, version)| Entry { name: name.into(), version: version.into() })
        .to_vec()
    }

    fn check(wanted: &str, expected: Option<(&str, &[&str])>) {
        let wanted = wanted.parse().expect("a kernel");
        let found = choose(&index(), &wanted);
        let found = found.as_ref().map(|kernel| (kernel.release.as_str(), kernel.packages.clone()));
        let expected =
            expected.map(|(release, packages)| (release, packages.iter().map(ToString::to_string).collect()));
        assert_eq!(found, expected, "{wanted}");
    }

    #[test]
    fn the_newest_of_a_line_is_chosen_with_its_parts() {
        check("6.1", Some(("6.1.0-56-cloud-amd64", &["linux-image-6.1.0-56-cloud-amd64"])));
        check("6.12", Some(("6.12.117+deb12-cloud-amd64", &["linux-image-6.12.117+deb12-cloud-amd64"])));
        check("5.10", None);
        // Its modules are of another version and so not its own.
        let parts: &[&str] = &["linux-image-6.19.6+deb13-cloud-amd64", "linux-binary-6.19.6+deb13-cloud-amd64"];
        check("newest", Some(("6.19.6+deb13-cloud-amd64", parts)));
    }

    #[test]
    fn lines_are_listed_once_and_in_order() {
        let lines: Vec<_> = lines(&index()).iter().map(ToString::to_string).collect();
        assert_eq!(lines, ["6.1", "6.12", "6.19"]);
    }

    #[test]
    fn kernels_are_named_by_line() {
        assert_eq!("6.1".parse(), Ok(Wanted::Line(6, 1)));
        assert_eq!("newest".parse(), Ok(Wanted::Newest));
        for wrong in ["", "6", "6.", "six.one", "6.1.0"] {
            assert!(wrong.parse::<Wanted>().is_err(), "{wrong}");
        }
    }
}
