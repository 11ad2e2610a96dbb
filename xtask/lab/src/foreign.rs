//! Programs of others on the node: a tcx program that returns `TC_ACT_OK` and so hides the packet from all programs
//! behind it. Written with plain system calls: the lab needs no BPF library for two instructions.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};

use crate::place::Place;

// include/uapi/linux/bpf.h
const BPF_PROG_LOAD: i32 = 5;
const BPF_LINK_CREATE: i32 = 28;
const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
const BPF_TCX_INGRESS: u32 = 46;
const BPF_TCX_EGRESS: u32 = 47;
const BPF_F_BEFORE: u32 = 1 << 3;

/// Direction as seen from the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Packets that the interface receives.
    Ingress,
    /// Packets that the interface sends.
    Egress,
}

/// Position among the programs that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// Before all others.
    First,
    /// After all others.
    Last,
}

/// `BPF_PROG_LOAD`'s part of `union bpf_attr`, as far as it is used.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// `BPF_LINK_CREATE`'s part of `union bpf_attr` for tcx.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
    relative_fd: u32,
    padding: u32,
    expected_revision: u64,
}

/// A foreign program on an interface; it is detached when dropped.
#[derive(Debug)]
pub struct ForeignProgram {
    _link: OwnedFd,
}

impl Place {
    /// Attaches a tcx program (named `foreign_ok`) that returns `TC_ACT_OK` for every packet.
    pub fn attach_foreign_program(
        &self,
        interface: &str,
        direction: Direction,
        position: Position,
    ) -> Result<ForeignProgram> {
        let program = load().context("loading a tc program")?;
        // The index means an interface of the calling thread's namespace.
        let link = self.run(|| {
            let index = rustix::net::netdevice::name_to_index(
                rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?,
                interface,
            )?;
            attach(&program, index, direction, position)
        })?;
        let link = link.with_context(|| format!("attaching a tcx program to {interface} (Linux 6.6 or later)"))?;
        Ok(ForeignProgram { _link: link })
    }
}

fn load() -> io::Result<OwnedFd> {
    // struct bpf_insn: opcode, registers, 16-bit offset, 32-bit immediate. r0 = 0 (TC_ACT_OK); exit.
    let instructions: [u64; 2] = [0x0000_0000_0000_00b7, 0x0000_0000_0000_0095].map(u64::to_le);
    let mut prog_name = [0; 16];
    prog_name[..10].copy_from_slice(b"foreign_ok");
    let mut attributes = ProgLoad {
        prog_type: BPF_PROG_TYPE_SCHED_CLS,
        insn_cnt: 2,
        insns: instructions.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name,
    };
    // SAFETY: the attributes are those of BPF_PROG_LOAD; both pointers in it live until after the call.
    unsafe { bpf(BPF_PROG_LOAD, &mut attributes) }
}

fn attach(program: &OwnedFd, interface: u32, direction: Direction, position: Position) -> io::Result<OwnedFd> {
    let mut attributes = LinkCreate {
        prog_fd: program.as_raw_fd().unsigned_abs(),
        target_ifindex: interface,
        attach_type: match direction {
            Direction::Ingress => BPF_TCX_INGRESS,
            Direction::Egress => BPF_TCX_EGRESS,
        },
        flags: match position {
            Position::First => BPF_F_BEFORE,
            Position::Last => 0,
        },
        relative_fd: 0,
        padding: 0,
        expected_revision: 0,
    };
    // SAFETY: the attributes are those of BPF_LINK_CREATE and hold no pointers.
    unsafe { bpf(BPF_LINK_CREATE, &mut attributes) }
}

/// A `bpf(2)` command that returns a file descriptor.
///
/// # Safety
/// `A` must be laid out as the kernel reads this command's attributes, and pointers in it must be valid.
unsafe fn bpf<A>(command: i32, attributes: &mut A) -> io::Result<OwnedFd> {
    // SAFETY: as the caller promises; the size is that of the attributes.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<A>()) };
    let descriptor = i32::try_from(result).map_err(io::Error::other)?;
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just returned this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
