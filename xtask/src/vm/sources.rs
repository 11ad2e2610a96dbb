//! Where packages come from: the machine's own mirrors, and the configuration of an apt beside the machine's.

use std::path::Path;

/// Addresses of an archive: its suites lie in `ADDRESS/dists`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrors {
    /// Releases, updates, backports.
    pub main: String,
    /// Security updates.
    pub security: String,
}

/// The mirrors in what `apt-get update --print-uris` prints on a machine that runs this release.
pub fn mirrors(uris: &str, release: &str) -> Option<Mirrors> {
    let of = |suite: &str| {
        uris.lines().find_map(|line| {
            let address = line.strip_prefix('\'')?.split('\'').next()?;
            let (mirror, rest) = address.split_once("/dists/")?;
            (rest.strip_suffix("/InRelease")? == suite).then(|| mirror.to_owned())
        })
    };
    let main = of(release)?;
    // A machine without security updates: archives keep them beside the releases.
    let security = of(&format!("{release}-security")).unwrap_or_else(|| format!("{main}-security"));
    Some(Mirrors { main, security })
}

/// A list of sources (`sources.list(5)`, deb822) for these suites.
pub fn sources(mirrors: &Mirrors, suites: &[&str], keyring: Option<&Path>) -> String {
    let (security, main): (Vec<&str>, Vec<&str>) = suites.iter().partition(|suite| suite.ends_with("-security"));
    let signed = keyring.map(|keyring| format!("Signed-By: {}\n", keyring.display())).unwrap_or_default();
    let stanza = |(address, suites): (&String, Vec<&str>)| {
        format!("Types: deb\nURIs: {address}\nSuites: {}\nComponents: main\n{signed}\n", suites.join(" "))
    };
    let both = [(&mirrors.main, main), (&mirrors.security, security)];
    both.into_iter().filter(|(_, suites)| !suites.is_empty()).map(stanza).collect::<Vec<_>>().concat()
}

/// apt's configuration (`apt.conf(5)`) with everything in one folder. Of the machine's own (`apt-config dump`) it takes how
/// the network is reached, nothing else: hooks in there would act on the machine's own lists.
pub fn configuration(folder: &Path, machine: &str) -> String {
    let network =
        machine.lines().filter(|line| ["Acquire::http::", "Acquire::https::"].iter().any(|key| line.starts_with(key)));
    let folder = folder.display();
    let own = [
        format!("Dir \"{folder}\";"),
        format!("Dir::State \"{folder}/state\";"),
        format!("Dir::State::status \"{folder}/status\";"),
        format!("Dir::Cache \"{folder}/cache\";"),
        format!("Dir::Log \"{folder}/log\";"),
        format!("Dir::Etc::sourceparts \"{folder}/sources\";"),
        "Dir::Etc::sourcelist \"/dev/null\";".to_owned(),
        "Dir::Etc::main \"/dev/null\";".to_owned(),
        "Dir::Etc::parts \"/dev/null\";".to_owned(),
        "Dir::Etc::preferences \"/dev/null\";".to_owned(),
        "Dir::Etc::preferencesparts \"/dev/null\";".to_owned(),
        "Dir::Etc::trusted \"/etc/apt/trusted.gpg\";".to_owned(),
        "Dir::Etc::trustedparts \"/etc/apt/trusted.gpg.d\";".to_owned(),
        "APT::Architecture \"amd64\";".to_owned(),
        "APT::Architectures \"amd64\";".to_owned(),
        "APT::Install-Recommends \"false\";".to_owned(),
        // The user that apt fetches as may not enter a home folder.
        "APT::Sandbox::User \"root\";".to_owned(),
        "Acquire::Languages \"none\";".to_owned(),
        "Acquire::GzipIndexes \"false\";".to_owned(),
        "Acquire::Retries \"3\";".to_owned(),
        // Suites of old releases are signed but not renewed any more.
        "Acquire::Check-Valid-Until \"false\";".to_owned(),
    ];
    own.iter().map(String::as_str).chain(network).fold(String::new(), |text, line| text + line + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const URIS: &str = "'http://one.example/debian/dists/bookworm/InRelease' one_bookworm_InRelease 0 \n\
                        'http://one.example/debian/dists/bookworm-updates/InRelease' one_updates 0 \n\
                        'http://two.example/sec/dists/bookworm-security/InRelease' two_InRelease 0 \n\
                        'http://three.example/tool/dists/stable/InRelease' three 0 \n";

    #[test]
    fn mirrors_are_the_machines() {
        let both = Mirrors { main: "http://one.example/debian".into(), security: "http://two.example/sec".into() };
        assert_eq!(mirrors(URIS, "bookworm"), Some(both));
        assert_eq!(mirrors(URIS, "trixie"), None);
        let first = URIS.lines().next().unwrap_or_default();
        assert_eq!(
            mirrors(first, "bookworm").map(|found| found.security),
            Some("http://one.example/debian-security".into())
        );
        assert_eq!(mirrors("E: nonsense\n'", "bookworm"), None);
    }

    #[test]
    fn suites_go_to_their_mirrors() {
        let mirrors = Mirrors { main: "M".into(), security: "S".into() };
        let text = sources(&mirrors, &["b-security", "t-backports", "t"], Some(Path::new("/k.gpg")));
        assert_eq!(
            text,
            "Types: deb\nURIs: M\nSuites: t-backports t\nComponents: main\nSigned-By: /k.gpg\n\n\
             Types: deb\nURIs: S\nSuites: b-security\nComponents: main\nSigned-By: /k.gpg\n\n"
        );
        assert_eq!(sources(&mirrors, &["t"], None), "Types: deb\nURIs: M\nSuites: t\nComponents: main\n\n");
    }

    #[test]
    fn of_the_machines_configuration_only_the_network_is_taken() {
        let machine = "Dir::State \"var/lib/apt\";\nAcquire::http::Proxy \"http://proxy.example\";\n\
                       APT::Update::Post-Invoke:: \"rm -f /var/cache/apt/*.bin\";\nAcquire::GzipIndexes \"true\";\n";
        let text = configuration(Path::new("/c/apt"), machine);
        assert!(text.contains("Acquire::http::Proxy \"http://proxy.example\";\n"));
        assert!(text.contains("Dir::State \"/c/apt/state\";\n"));
        assert!(!text.contains("Post-Invoke") && !text.contains("var/lib/apt") && !text.contains("\"true\""));
    }
}
