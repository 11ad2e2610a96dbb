//! Running other programs: quietly into a log whose end is shown on failure, in view, or in our place.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::workspace::Workspace;

/// Bytes of a log that are shown when its tool failed.
const TAIL: u64 = 6000;

/// `cargo` as it called us, without what it set for this program alone.
pub fn cargo(workspace: &Workspace) -> Result<Command> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(&workspace.root).env("PATH", workspace.path()?);
    // `cargo run` points it at the stable compiler's libraries, which another compiler must not load.
    command.env_remove("LD_LIBRARY_PATH");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    Ok(command)
}

/// Runs with all output in `LOGS/NAME.log`; on failure the error holds its end.
pub fn quiet(workspace: &Workspace, name: &str, command: &mut Command) -> Result<()> {
    let path = start_log(workspace, name)?;
    let mut log = OpenOptions::new().append(true).open(&path)?;
    writeln!(log, "$ {}", shown(command))?;
    let status = command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .status()
        .with_context(|| format!("could not start {}", program(command)))?;
    if status.success() {
        return Ok(());
    }
    bail!("{} ended with {status}; the end of {}:\n{}", shown(command), workspace.shown(&path), tail(&path)?)
}

/// Runs with its output in view.
pub fn visible(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("could not start {}", program(command)))?;
    if status.success() { Ok(()) } else { bail!("{} ended with {status}", shown(command)) }
}

/// Standard output of a probe; `None` when the program is missing or fails.
pub fn output(command: &mut Command) -> Option<String> {
    let output = command.env("LC_ALL", "C").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Puts the program in our place: signals and exit code are its own. Returns only on failure.
pub fn replace(command: &mut Command) -> Result<()> {
    let error = command.exec();
    Err(error).with_context(|| format!("could not start {}", program(command)))
}

/// Whether we may do what only root may.
pub fn is_root() -> bool {
    // The owner of our own entry is the effective user; saves a dependency for one system call.
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn start_log(workspace: &Workspace, name: &str) -> Result<PathBuf> {
    let folder = workspace.logs();
    fs::create_dir_all(&folder).with_context(|| format!("could not make {}", folder.display()))?;
    let file = name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
    let path = folder.join(format!("{file}.log"));
    File::create(&path).with_context(|| format!("could not write {}", path.display()))?;
    Ok(path)
}

fn tail(path: &Path) -> Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn program(command: &Command) -> String {
    command.get_program().display().to_string()
}

/// The command line for people.
pub fn shown(command: &Command) -> String {
    let mut line = Path::new(command.get_program()).file_name().unwrap_or_default().display().to_string();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.display().to_string());
    }
    line
}
