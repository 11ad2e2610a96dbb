//! Loading: sizes and constants in, verified programs out.

use std::collections::HashSet;

use aya::maps::{HashMap, Map, MapData};
use aya::programs::{Program, SchedClassifier};
use aya::{Ebpf, EbpfLoader};
use aya_log::EbpfLogger;
use netobs_common::knobs::Knobs;
use netobs_common::names;
use netobs_common::offsets::Offsets;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use zerocopy::IntoBytes as _;

use super::object::{self, ObjectError};
use super::rings::{RINGS, ring_bytes};
use super::verifier;

/// What the kernel side is built with.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Constants.
    pub knobs: Knobs,
    /// Offsets from BTF.
    pub offsets: Offsets,
    /// Bytes of the largest rings; a power of two, at least a page.
    pub ring_bytes: u32,
    /// Entries of the table of coalescing buckets.
    pub buckets: u32,
    /// Whether the programs write their debug lines (aya-log). Off, the verifier removes them.
    pub debug: bool,
}

/// Loading failed.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The object.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The kernel refused the object's maps.
    #[error("the kernel refused the maps: {0}")]
    Maps(#[from] aya::EbpfError),
    /// The object lacks what this daemon needs.
    #[error("the embedded kernel object has no {0}")]
    Lacks(&'static str),
    /// A descriptor could not be doubled.
    #[error("a map's descriptor cannot be doubled: {0}")]
    Descriptor(std::io::Error),
    /// A map operation.
    #[error(transparent)]
    Map(#[from] aya::maps::MapError),
}

/// The loaded object: maps exist, programs are known but each is loaded when its hook asks for it.
pub struct Loaded {
    /// aya's view.
    pub ebpf: Ebpf,
}

/// Creates the maps and prepares the programs.
pub fn load(settings: &Settings) -> Result<Loaded, LoadError> {
    object::parse()?;
    let log_level: u8 = if settings.debug { u8::MAX } else { 0 };
    let mut loader = EbpfLoader::new();
    for (ring, family) in RINGS {
        loader.map_max_entries(ring, ring_bytes(family, settings.ring_bytes));
    }
    let ebpf = loader
        .override_global(names::OFFSETS, settings.offsets.as_bytes(), true)
        .override_global(names::KNOBS, settings.knobs.as_bytes(), true)
        .override_global(aya_log::LEVEL, &log_level, false)
        .map_max_entries(names::BUCKETS, settings.buckets)
        .map_max_entries(names::BUCKETS_RESET, settings.buckets)
        .load(object::OBJECT)?;
    Ok(Loaded { ebpf })
}

impl Loaded {
    /// A classifier, loaded at the first call.
    pub fn classifier(&mut self, name: &'static str) -> Result<&mut SchedClassifier, ProgramError> {
        let program: &mut SchedClassifier = self.program(name)?;
        if program.fd().is_err() {
            program.load()?;
        }
        Ok(program)
    }

    /// A program of the kind that it is asked for as, not loaded yet.
    pub fn program<'a, P>(&'a mut self, name: &'static str) -> Result<&'a mut P, ProgramError>
    where
        &'a mut P: TryFrom<&'a mut Program, Error = aya::programs::ProgramError>,
    {
        Ok(self.ebpf.program_mut(name).ok_or(ProgramError::Lacks(name))?.try_into()?)
    }

    /// Reads the programs' debug lines, as they come, into the daemon's log. Ends when dropped.
    pub fn logger(&mut self) -> Result<AsyncFd<EbpfLogger<&'static dyn log::Log>>, LogError> {
        let logger = EbpfLogger::init(&mut self.ebpf)?;
        // SAFETY: the logger owns the descriptor of its ring and never changes it.
        let ring = unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) };
        ring.map_err(|error| LogError::Wait(error.into()))
    }

    /// Takes a map out, to be owned by whoever uses it.
    pub fn take(&mut self, name: &'static str) -> Result<Map, LoadError> {
        self.ebpf.take_map(name).ok_or(LoadError::Lacks(name))
    }

    /// Takes out the set of observed network namespaces.
    pub fn take_scope(&mut self) -> Result<Scope, LoadError> {
        Ok(Scope { map: HashMap::try_from(self.take(names::SCOPE)?)?, members: HashSet::new() })
    }
}

/// The programs' debug lines cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The object has no ring for them.
    #[error("no debug lines: {0}")]
    Ring(#[from] aya_log::Error),
    /// The ring cannot be waited for.
    #[error("no debug lines: {0}")]
    Wait(#[from] std::io::Error),
}

/// A program was refused.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The object lacks it.
    #[error("the embedded kernel object has no program {0}")]
    Lacks(&'static str),
    /// The kernel or aya refused it.
    #[error("{}", with_sources(.0))]
    Refused(#[from] aya::programs::ProgramError),
    /// So it was in both forms that it has.
    #[error("{first}; and then: {then}")]
    Both {
        /// Why not in the better form.
        first: String,
        /// Why not in the other one.
        then: Box<Self>,
    },
}

/// The error and what caused it, without the verifier's instruction listing.
fn with_sources(error: &aya::programs::ProgramError) -> String {
    if let aya::programs::ProgramError::LoadError { io_error, verifier_log } = error {
        let reason = verifier::reason(&verifier_log.to_string());
        // Who is not allowed to load has no log.
        return if reason.is_empty() { io_error.to_string() } else { format!("{io_error}; verifier: {reason}") };
    }
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The network namespaces that drops are observed in, besides the daemon's own.
pub struct Scope {
    map: HashMap<MapData, u32, u8>,
    members: HashSet<u32>,
}

impl Scope {
    /// Makes `inodes` the observed namespaces. Returns how many do not fit; they are tried again at the next call.
    pub fn set(&mut self, inodes: &[u32]) -> usize {
        let wanted: HashSet<u32> = inodes.iter().copied().collect();
        let map = &mut self.map;
        self.members.retain(|member| {
            let stays = wanted.contains(member);
            if !stays {
                // It may have been removed already: nothing to do then.
                let _ = map.remove(member);
            }
            stays
        });
        for inode in &wanted {
            if !self.members.contains(inode) && self.map.insert(inode, 1, 0).is_ok() {
                self.members.insert(*inode);
            }
        }
        wanted.len() - self.members.len()
    }
}
