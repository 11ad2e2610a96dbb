//! A kernel that refuses BPF links, as those before tcx and netfilter links do: a seccomp filter before the program starts.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

// include/uapi/linux/bpf.h
const BPF_PROG_QUERY: u32 = 16;
const BPF_LINK_CREATE: u32 = 28;

/// Offsets in `struct seccomp_data` (include/uapi/linux/seccomp.h): the system call's number, and the lower half of its
/// first argument, which for `bpf(2)` is the command.
const NUMBER: u32 = 0;
const COMMAND: u32 = if cfg!(target_endian = "little") { 16 } else { 20 };

/// Makes `BPF_LINK_CREATE` and `BPF_PROG_QUERY` fail with this error in the program that the command starts. Needs
/// `CAP_SYS_ADMIN`, as labs do.
pub(crate) fn refuse_links(command: &mut Command, error: i32) {
    let filter = filter(error);
    // SAFETY: between fork and exec only async-signal-safe things may be done: one system call. The closure owns the filter.
    unsafe {
        command.pre_exec(move || {
            let mut filter = filter;
            let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
            let program = std::ptr::from_ref(&program);
            match libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, program) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            }
        });
    }
}

fn filter(error: i32) -> [libc::sock_filter; 7] {
    let load = |offset| op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset);
    let equal = |value, then, otherwise| op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, then, otherwise, value);
    let answer = |action| op(libc::BPF_RET | libc::BPF_K, 0, 0, action);
    [
        load(NUMBER),
        equal(libc::SYS_bpf as u32, 0, 4),
        load(COMMAND),
        equal(BPF_LINK_CREATE, 1, 0),
        equal(BPF_PROG_QUERY, 0, 1),
        answer(libc::SECCOMP_RET_ERRNO | (error.unsigned_abs() & libc::SECCOMP_RET_DATA)),
        answer(libc::SECCOMP_RET_ALLOW),
    ]
}

const fn op(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}
