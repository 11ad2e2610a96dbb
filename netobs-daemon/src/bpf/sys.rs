//! The bpf(2) calls that aya has no safe form of: netfilter programs and links, and tcx links by interface index.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use aya_obj::generated::{bpf_attr, bpf_cmd, bpf_insn, bpf_map_type};
use rustix::thread::CapabilitySet;

use super::verifier;
use crate::kernel::privileges;

/// `BPF_PROG_TYPE_NETFILTER` (include/uapi/linux/bpf.h, since 6.4).
const PROG_TYPE_NETFILTER: u32 = 32;
/// `BPF_NETFILTER`, the expected attach type.
const ATTACH_NETFILTER: u32 = 45;
/// `BPF_TCX_INGRESS` and `BPF_TCX_EGRESS` (since 6.6).
const ATTACH_TCX: [u32; 2] = [46, 47];
/// `BPF_F_BEFORE`: with no program or link named, before all others.
const BEFORE: u32 = 1 << 3;

fn bpf(command: bpf_cmd, attributes: &mut bpf_attr) -> io::Result<i64> {
    // SAFETY: `attributes` is a whole bpf_attr, zeroed before it was filled; the kernel reads no further than the size
    // given and the pointers in it are valid for the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command as i32, std::ptr::from_mut(attributes), size_of::<bpf_attr>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn empty() -> bpf_attr {
    // SAFETY: all zeros is what the kernel takes for "not given" in every field.
    unsafe { std::mem::zeroed() }
}

fn owned(result: i64) -> OwnedFd {
    // SAFETY: the call has just returned this descriptor, and nobody else has it. It fits: descriptors are ints.
    unsafe { OwnedFd::from_raw_fd(result as i32) }
}

/// Loads a netfilter program. On refusal the error carries the end of the verifier's log.
pub fn load_netfilter(instructions: &[bpf_insn]) -> io::Result<OwnedFd> {
    let mut log = vec![0u8; 64 * 1024];
    let mut attributes = empty();
    // SAFETY: plain fields of the union's program-load form.
    let load = unsafe { &mut attributes.__bindgen_anon_3 };
    load.prog_type = PROG_TYPE_NETFILTER;
    load.expected_attach_type = ATTACH_NETFILTER;
    load.insns = instructions.as_ptr() as u64;
    load.insn_cnt = instructions.len() as u32;
    load.license = c"Dual MIT/GPL".as_ptr() as u64;
    for (to, from) in load.prog_name.iter_mut().zip(b"netobs_nf") {
        // `char` is signed on some architectures.
        *to = std::ffi::c_char::from_ne_bytes([*from]);
    }
    match bpf(bpf_cmd::BPF_PROG_LOAD, &mut attributes) {
        Ok(fd) => return Ok(owned(fd)),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => return Err(error),
        Err(_) => {}
    }
    // Once more with a log, which costs too much to ask for at once.
    // SAFETY: as above.
    let load = unsafe { &mut attributes.__bindgen_anon_3 };
    load.log_buf = log.as_mut_ptr() as u64;
    load.log_size = log.len() as u32;
    load.log_level = 1;
    bpf(bpf_cmd::BPF_PROG_LOAD, &mut attributes).map(owned).map_err(|error| {
        let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
        let text = String::from_utf8_lossy(&log[..end]);
        // A kernel that does not know the type of program has no log.
        let reason = verifier::reason(&text);
        let said = if reason.is_empty() { String::new() } else { format!("; verifier: {reason}") };
        io::Error::new(error.kind(), format!("{error}{said}"))
    })
}

/// Attaches a netfilter program to a hook of the calling thread's network namespace.
///
/// `family` is 2 (`NFPROTO_IPV4`) or 10 (`NFPROTO_IPV6`). `EBUSY`: the priority is taken.
pub fn link_netfilter(program: BorrowedFd<'_>, family: u32, hook: u32, priority: i32) -> io::Result<OwnedFd> {
    let mut attributes = empty();
    // SAFETY: plain fields of the union's link-create form.
    unsafe {
        let link = &mut attributes.link_create;
        link.__bindgen_anon_1.prog_fd = program.as_raw_fd().cast_unsigned();
        link.attach_type = ATTACH_NETFILTER;
        link.__bindgen_anon_3.netfilter.pf = family;
        link.__bindgen_anon_3.netfilter.hooknum = hook;
        link.__bindgen_anon_3.netfilter.priority = priority;
    }
    bpf(bpf_cmd::BPF_LINK_CREATE, &mut attributes).map(owned)
}

/// Attaches a classifier to an interface of the calling thread's network namespace, before all other programs.
pub fn link_tcx_first(program: BorrowedFd<'_>, ifindex: u32, egress: bool) -> io::Result<OwnedFd> {
    let mut attributes = empty();
    // SAFETY: plain fields of the union's link-create form.
    unsafe {
        let link = &mut attributes.link_create;
        link.__bindgen_anon_1.prog_fd = program.as_raw_fd().cast_unsigned();
        link.__bindgen_anon_2.target_ifindex = ifindex;
        link.attach_type = ATTACH_TCX[usize::from(egress)];
        link.flags = BEFORE;
    }
    bpf(bpf_cmd::BPF_LINK_CREATE, &mut attributes).map(owned)
}

/// Ids of the programs on an interface's tcx hook, in the order they run.
pub fn query_tcx(ifindex: u32, egress: bool) -> io::Result<Vec<u32>> {
    let mut ids = [0u32; 64];
    let mut attributes = empty();
    // SAFETY: plain fields of the union's query form; `ids` outlives the call.
    unsafe {
        let query = &mut attributes.query;
        query.__bindgen_anon_1.target_ifindex = ifindex;
        query.attach_type = ATTACH_TCX[usize::from(egress)];
        query.prog_ids = ids.as_mut_ptr() as u64;
        query.__bindgen_anon_2.count = ids.len() as u32;
    }
    bpf(bpf_cmd::BPF_PROG_QUERY, &mut attributes)?;
    // SAFETY: the kernel has filled in how many there are.
    let count = unsafe { attributes.query.__bindgen_anon_2.count } as usize;
    Ok(ids[..count.min(ids.len())].to_vec())
}

/// Takes an element out of a hash map: its last value, and the element is gone, in one step. `key` and the returned value
/// are of the map's own types.
pub fn take_element<K: aya::Pod, V: aya::Pod>(map: BorrowedFd<'_>, key: &K) -> io::Result<V> {
    let mut value = std::mem::MaybeUninit::<V>::zeroed();
    let mut attributes = empty();
    // SAFETY: plain fields of the union's element form; key and value are of the sizes that the map was made with and
    // outlive the call.
    unsafe {
        let element = &mut attributes.__bindgen_anon_2;
        element.map_fd = map.as_raw_fd().cast_unsigned();
        element.key = std::ptr::from_ref(key) as u64;
        element.__bindgen_anon_1.value = value.as_mut_ptr() as u64;
    }
    bpf(bpf_cmd::BPF_MAP_LOOKUP_AND_DELETE_ELEM, &mut attributes)?;
    // SAFETY: filled by the kernel; plain old data in any case.
    Ok(unsafe { value.assume_init() })
}

/// Runs a program on a frame of our own making, `repeat` times (`BPF_PROG_TEST_RUN`). Returns the mean time of a run in
/// nanoseconds and what the last one returned.
pub fn test_run(program: BorrowedFd<'_>, frame: &[u8], repeat: u32) -> io::Result<(u32, u32)> {
    let mut attributes = empty();
    // SAFETY: plain fields of the union's test-run form; `frame` outlives the call, which only reads it.
    unsafe {
        let test = &mut attributes.test;
        test.prog_fd = program.as_raw_fd().cast_unsigned();
        test.data_in = frame.as_ptr() as u64;
        test.data_size_in = frame.len() as u32;
        test.repeat = repeat;
    }
    bpf(bpf_cmd::BPF_PROG_TEST_RUN, &mut attributes)?;
    // SAFETY: the kernel has filled these in.
    Ok(unsafe { (attributes.test.duration, attributes.test.retval) })
}

/// Whether looking into a map takes `CAP_BPF`: kernels before 5.19 ask it of every call where the sysctl
/// `kernel.unprivileged_bpf_disabled` is set, later ones only of those that make something (`__sys_bpf()`,
/// kernel/bpf/syscall.c). Found out with a map made for it; where that cannot be made, it is taken to be needed.
pub fn lookups_need_capability() -> bool {
    let rights = CapabilitySet::BPF | CapabilitySet::SYS_ADMIN;
    let Ok(map) = make_array() else { return true };
    let found = privileges::without(rights, || {
        let (key, mut value) = (0u32, 0u32);
        let mut attributes = empty();
        // SAFETY: plain fields of the union's element form; key and value are of the sizes that the map was made with and
        // outlive the call.
        unsafe {
            let element = &mut attributes.__bindgen_anon_2;
            element.map_fd = map.as_raw_fd().cast_unsigned();
            element.key = (&raw const key) as u64;
            element.__bindgen_anon_1.value = (&raw mut value) as u64;
        }
        bpf(bpf_cmd::BPF_MAP_LOOKUP_ELEM, &mut attributes)
    });
    !matches!(found, Ok(Ok(_)))
}

/// An array of one `u32`.
fn make_array() -> io::Result<OwnedFd> {
    let mut attributes = empty();
    // SAFETY: plain fields of the union's map-create form.
    unsafe {
        let map = &mut attributes.__bindgen_anon_1;
        map.map_type = bpf_map_type::BPF_MAP_TYPE_ARRAY as u32;
        map.key_size = size_of::<u32>() as u32;
        map.value_size = size_of::<u32>() as u32;
        map.max_entries = 1;
    }
    bpf(bpf_cmd::BPF_MAP_CREATE, &mut attributes).map(owned)
}

/// Times the kernel skipped a program because it was already running on that CPU (`bpf_prog_info.recursion_misses`, as
/// the descriptor's fdinfo shows it).
pub fn recursion_misses(program: BorrowedFd<'_>) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/thread-self/fdinfo/{}", program.as_raw_fd())).ok()?;
    field(&text, "recursion_misses:")
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}
