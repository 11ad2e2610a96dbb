//! Which labs exist: one locked file per lab, which also tells the next lab what a crashed one left behind.
//!
//! A lab holds an exclusive `flock` on `/run/netobs-lab/slot-N` for its whole life. The kernel releases the lock when
//! the process dies, however it dies, so a file that has content and no lock names the remains of a crashed lab.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::plan::{AddressPlan, SLOTS};
use crate::{cgroup, netns};

const DIRECTORY: &str = "/run/netobs-lab";

/// What a lab owns outside its process, as its slot file records it.
#[derive(Debug, Serialize, Deserialize)]
struct Estate {
    prefix: String,
    directory: PathBuf,
    cgroup: Option<PathBuf>,
}

impl Estate {
    /// Removes everything this lab owns. Only things whose name begins with the lab's prefix are touched.
    fn clear(&self) {
        if !self.prefix.starts_with("nol-") {
            return;
        }
        if let Some(path) = &self.cgroup {
            cgroup::destroy(path);
        }
        netns::delete_with_prefix(&format!("{}-", self.prefix));
        if self.directory.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&self.prefix)) {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// A lab's place among the labs of this machine. Dropping it removes what the lab owns and frees the slot.
#[derive(Debug)]
pub(crate) struct Slot {
    file: File,
    estate: Estate,
    plan: AddressPlan,
}

impl Slot {
    /// Takes a free slot; on the way, clears what crashed labs left in the slots it looks at.
    pub(crate) fn take() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        fs::create_dir_all(DIRECTORY).with_context(|| format!("creating {DIRECTORY}"))?;
        let mut taken = None;
        for number in 0..SLOTS {
            let path = Path::new(DIRECTORY).join(format!("slot-{number}"));
            if taken.is_some() && !path.exists() {
                continue;
            }
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .with_context(|| format!("opening {}", path.display()))?;
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            let mut text = String::new();
            file.read_to_string(&mut text).with_context(|| format!("reading {}", path.display()))?;
            if let Ok(left) = serde_json::from_str::<Estate>(&text) {
                tracing::info!(prefix = left.prefix, "removing what a crashed lab left behind");
                left.clear();
                file.set_len(0)?;
            }
            if taken.is_none() {
                taken = Some((file, number));
            }
        }
        let Some((mut file, number)) = taken else {
            bail!("all {SLOTS} lab slots in {DIRECTORY} are in use");
        };
        let prefix = format!("nol-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let estate = Estate {
            directory: std::env::temp_dir().join(&prefix),
            cgroup: Some(cgroup::mount()?.join(&prefix)),
            prefix,
        };
        // The record is written before anything it names exists.
        file.seek(SeekFrom::Start(0))?;
        file.write_all(serde_json::to_string(&estate)?.as_bytes())?;
        fs::create_dir(&estate.directory).with_context(|| format!("creating {}", estate.directory.display()))?;
        Ok(Self { file, estate, plan: AddressPlan::new(number) })
    }

    /// First part of every name of this lab: `nol-PID-N`.
    pub(crate) fn prefix(&self) -> &str {
        &self.estate.prefix
    }

    /// The lab's addresses.
    pub(crate) const fn plan(&self) -> AddressPlan {
        self.plan
    }

    /// The lab's directory for files; removed with the lab.
    pub(crate) fn directory(&self) -> &Path {
        &self.estate.directory
    }

    /// The lab's cgroup v2 directory.
    pub(crate) fn cgroup(&self) -> PathBuf {
        self.estate.cgroup.clone().unwrap_or_default()
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.estate.clear();
        let _ = self.file.set_len(0);
    }
}
