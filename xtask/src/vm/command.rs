//! The command that machines are started for, and the disk with it and the programs.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::tool;
use crate::vm::disk;
use crate::workspace::Workspace;

/// The first process once the disks are there.
const SECOND: &str = include_str!("guest/second.sh");

/// The command that asks each kernel for what works on it.
pub const FEATURES: &str = "features";

/// A shell script for the command of the command line.
pub fn script(command: &[OsString], slow: u32) -> Result<String> {
    let (first, rest) = command.split_first().context("no command")?;
    let mut words: Vec<&OsStr> = match first.to_str() {
        Some("lab") => ["netobs-lab", "--netobs", "/opt/netobs/netobs", "lab"].map(OsStr::new).to_vec(),
        Some(FEATURES) => ["netobs", "check"].map(OsStr::new).to_vec(),
        Some("exec") if !rest.is_empty() => Vec::new(),
        _ => bail!("`lab SUITE`, `features` or `exec PROGRAM` can run in a virtual machine, not {}", first.display()),
    };
    words.extend(rest.iter().map(OsString::as_os_str));
    let words: Vec<String> = words.into_iter().map(quoted).collect::<Result<_>>()?;
    let line = match first.to_str() {
        // 3: something is lost, which is what is asked for.
        Some(FEATURES) => format!("{} || [ $? = 3 ]", words.join(" ")),
        _ => format!("exec {}", words.join(" ")),
    };
    Ok(format!("export NETOBS_LAB_SLOW={slow}\n{line}\n"))
}

/// A word that the shell takes as it is.
fn quoted(word: &OsStr) -> Result<String> {
    let word = word.to_str().with_context(|| format!("{} is not UTF-8", word.display()))?;
    Ok(format!("'{}'", word.replace('\'', r"'\''")))
}

/// Makes the disk. Of the programs' symbols those are kept that a backtrace shows.
pub fn disk(workspace: &Workspace, folder: &Path, script: &str, release: bool) -> Result<PathBuf> {
    let tree = folder.join("run");
    let _ = fs::remove_dir_all(&tree);
    fs::create_dir_all(&tree).with_context(|| format!("could not make {}", tree.display()))?;
    for program in [workspace.daemon(release), workspace.lab(release)] {
        let to = tree.join(program.file_name().context("a program without a name")?);
        tool::quiet(workspace, "vm-strip", Command::new("strip").args(["--strip-debug", "-o"]).arg(&to).arg(&program))?;
    }
    for (name, text) in [("second.sh", SECOND), ("command.sh", script)] {
        fs::write(tree.join(name), text)?;
        fs::set_permissions(tree.join(name), fs::Permissions::from_mode(0o755))?;
    }
    let image = folder.join("run.ext4");
    disk::from_folder(workspace, &tree, &image)?;
    Ok(image)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(command: &[&str], expected: Option<&str>) {
        let command: Vec<OsString> = command.iter().map(OsString::from).collect();
        let script = script(&command, 7).ok();
        let expected = expected.map(|line| format!("export NETOBS_LAB_SLOW=7\n{line}\n"));
        assert_eq!(script, expected, "{command:?}");
    }

    #[test]
    fn commands_reach_the_guest_word_by_word() {
        check(
            &["lab", "skeleton", "--case", "drop_ttl"],
            Some("exec 'netobs-lab' '--netobs' '/opt/netobs/netobs' 'lab' 'skeleton' '--case' 'drop_ttl'"),
        );
        check(&["exec", "sh", "-c", "echo 'a  b' $HOME"], Some(r"exec 'sh' '-c' 'echo '\''a  b'\'' $HOME'"));
        check(&["features", "--without", "tcx"], Some("'netobs' 'check' '--without' 'tcx' || [ $? = 3 ]"));
        check(&["exec"], None);
        check(&["bench", "storm"], None);
        check(&[], None);
    }
}
