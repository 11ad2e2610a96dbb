//! Netfilter links: one program, ten hooks (five each of IPv4 and IPv6), in the daemon's own network namespace.
//!
//! aya has no netfilter program type, so the object is parsed once more, its maps are resolved to those that aya made, and
//! the program is loaded by hand. The function sits in section "socket", which aya leaves unloaded until asked.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use aya::Ebpf;
use aya::maps::Map;
use aya_obj::generated::bpf_insn;

use super::object::{self, ObjectError};
use super::sys;

/// Name of the function in the object.
const PROGRAM: &str = "netfilter_hook";
/// Hook names in the order of `enum nf_inet_hooks` (include/uapi/linux/netfilter.h).
pub const HOOKS: [&str; 5] = ["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"];
/// Families: `NFPROTO_IPV4`, `NFPROTO_IPV6`.
const FAMILIES: [(u32, &str); 2] = [(2, "ipv4"), (10, "ipv6")];
/// Priorities that are tried: `INT_MIN` itself is refused, and each must be the only one of its hook, so nft chains at the
/// earliest priority or another netobs push us back.
const ATTEMPTS: i32 = 64;

/// The program was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum NetfilterError {
    /// The object.
    #[error(transparent)]
    Object(#[from] ObjectError),
    /// The object lacks the program.
    #[error("the embedded kernel object has no program {PROGRAM}")]
    Lacks,
    /// Its references could not be resolved.
    #[error("the kernel object's references do not resolve: {0}")]
    Relocation(#[from] aya_obj::relocation::EbpfRelocationError),
    /// The kernel refused it.
    #[error("the kernel refused the netfilter program: {0}")]
    Refused(io::Error),
}

/// One hook and what became of it.
#[derive(Debug)]
pub struct HookLink {
    /// `ipv4` or `ipv6`.
    pub family: &'static str,
    /// One of [`HOOKS`].
    pub hook: &'static str,
    /// The priority it got, or why it is not attached. The link detaches when its descriptor closes.
    pub link: Result<(i32, OwnedFd), io::Error>,
}

/// The loaded program and its links.
#[derive(Debug)]
pub struct Netfilter {
    /// One entry per family and hook.
    pub links: Vec<HookLink>,
    _program: OwnedFd,
}

/// Hooks in which our program is at the earliest priority there is, by family (IPv4, IPv6) and hook number.
pub type FirstHooks = [[bool; HOOKS.len()]; 2];

/// The earliest priority: `INT_MIN` itself is refused.
const EARLIEST: i32 = i32::MIN + 1;

impl Netfilter {
    /// Where nothing can come before our program.
    pub fn first_hooks(&self) -> FirstHooks {
        let mut first = FirstHooks::default();
        for (index, link) in self.links.iter().enumerate() {
            let earliest = link.link.as_ref().is_ok_and(|(priority, _)| *priority == EARLIEST);
            first[index / HOOKS.len()][index % HOOKS.len()] = earliest;
        }
        first
    }

    /// Loads the program against the maps of `ebpf` and attaches it to every hook of the calling thread's namespace.
    pub fn attach(ebpf: &Ebpf) -> Result<Self, NetfilterError> {
        let program = sys::load_netfilter(&instructions(ebpf)?).map_err(NetfilterError::Refused)?;
        let mut links = Vec::new();
        for (number, family) in FAMILIES {
            for (index, hook) in HOOKS.into_iter().enumerate() {
                let link = earliest(|priority| sys::link_netfilter(program.as_fd(), number, index as u32, priority));
                links.push(HookLink { family, hook, link });
            }
        }
        Ok(Self { links, _program: program })
    }
}

/// Attaches at the earliest free priority.
fn earliest(attach: impl Fn(i32) -> io::Result<OwnedFd>) -> io::Result<(i32, OwnedFd)> {
    for priority in EARLIEST..EARLIEST + ATTEMPTS {
        match attach(priority) {
            Ok(link) => return Ok((priority, link)),
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, format!("the {ATTEMPTS} earliest priorities are taken")))
}

/// The program's instructions with map references resolved.
fn instructions(ebpf: &Ebpf) -> Result<Vec<bpf_insn>, NetfilterError> {
    let mut object = object::parse()?;
    let descriptors: Vec<(String, i32, aya_obj::Map)> = object
        .maps
        .iter()
        .filter_map(|(name, map)| {
            let fd = descriptor(ebpf.map(name)?)?;
            Some((name.clone(), fd, map.clone()))
        })
        .collect();
    let text_sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    object.relocate_maps(descriptors.iter().map(|(name, fd, map)| (name.as_str(), *fd, map)), &text_sections)?;
    object.relocate_calls(&text_sections)?;
    let program = object.programs.get(PROGRAM).ok_or(NetfilterError::Lacks)?;
    let function = object.functions.get(&program.function_key()).ok_or(NetfilterError::Lacks)?;
    Ok(function.instructions.clone())
}

/// Descriptor of a map that aya made.
fn descriptor(map: &Map) -> Option<i32> {
    let (Map::Array(data) | Map::PerCpuArray(data) | Map::HashMap(data) | Map::LruHashMap(data) | Map::RingBuf(data)) =
        map
    else {
        return None;
    };
    Some(data.fd().as_fd().as_raw_fd())
}
