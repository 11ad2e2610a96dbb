//! Reading kernel structures at the offsets that the daemon found in BTF.

use core::mem::MaybeUninit;

use aya_ebpf::cty::c_void;
use aya_ebpf::helpers::{bpf_probe_read_kernel, generated};
use netobs_common::offsets::ABSENT;

use crate::globals::global;
use crate::headers::{self, Source};
use crate::load::opaque;

/// Lowest address of kernel memory on 64-bit machines (x86-64 with 5-level paging: 0xff00…; arm64: 0xfff0… at most 52
/// bits). Anything below is not a pointer to a kernel structure.
const KERNEL: usize = 0xff00_0000_0000_0000;

/// Inodes of namespaces are allocated from 0xf0000000 (`PROC_DYNAMIC_FIRST`, fs/proc/generic.c); the initial ones have
/// fixed ones just below since 6.18. A garbage pointer gives something else.
const NAMESPACE_INODES: u32 = 0xefff_0000;

/// How a program reads the kernel's structures. Known at compile time: each kind of program has code of its own.
pub trait Memory {
    /// Loads a `T` at an address within a structure. A bad address gives zeros.
    fn load<T: Copy>(address: usize) -> T;
}

/// Behind pointers whose types the verifier knows by BTF: arguments of BTF tracepoints, netfilter programs and fentry.
pub struct Typed;

impl Memory for Typed {
    #[inline(always)]
    fn load<T: Copy>(address: usize) -> T {
        // SAFETY: the verifier only lets this through for BTF pointers, whose loads cannot fault: the kernel's fault handling
        // for such loads gives zeros.
        unsafe { core::ptr::read_volatile(address as *const T) }
    }
}

/// Behind addresses of which the verifier knows nothing: arguments of raw tracepoints and kprobes.
pub struct Untyped;

impl Memory for Untyped {
    #[inline(always)]
    fn load<T: Copy>(address: usize) -> T {
        let mut value = MaybeUninit::<T>::uninit();
        // What the helper answers is not looked at: with a way of its own for each failure, old verifiers find no end.
        // SAFETY: the helper checks the address; it fills the whole buffer, with zeros when it fails
        // (`bpf_probe_read_kernel_common`, `kernel/trace/bpf_trace.c`). `T` is an integer wherever this is called.
        unsafe {
            generated::bpf_probe_read_kernel(
                value.as_mut_ptr().cast(),
                size_of::<T>() as u32,
                address as *const c_void,
            );
            value.assume_init()
        }
    }
}

/// Loads a `T` at `offset` of a structure; a field that this kernel lacks gives zeros.
#[inline(always)]
pub fn load<M: Memory, T: Copy>(structure: usize, offset: u32) -> T {
    if offset == ABSENT {
        // SAFETY: `T` is an integer wherever this is called, and "unknown" is 0 for all of them.
        return unsafe { MaybeUninit::zeroed().assume_init() };
    }
    M::load(structure + offset as usize)
}

/// Loads a pointer; `None` when it is null or no kernel address.
#[inline(always)]
pub fn pointer<M: Memory>(structure: usize, offset: u32) -> Option<usize> {
    let pointer: usize = load::<M, _>(structure, offset);
    if pointer == 0 {
        return None;
    }
    // The verifier wants to see the comparison with null for pointers under RCU, so the compiler must not merge it into
    // the next one.
    let pointer = opaque(pointer);
    if pointer < KERNEL { None } else { Some(pointer) }
}

/// Copies a `T` from any kernel address.
#[inline(always)]
pub fn read<T: Copy>(address: usize) -> Option<T> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
}

/// Reads a pointer at any kernel address; `None` when it is null or no kernel address.
#[inline(always)]
pub fn read_pointer(address: usize) -> Option<usize> {
    read::<usize>(address).filter(|pointer| *pointer >= KERNEL)
}

/// Interface of a packet, with its namespace, where `skb->dev` really is one. The field shares its space with scratch
/// data of socket queues, so it is believed only when it leads to an interface index and a namespace inode.
#[inline(always)]
pub fn device<M: Memory>(skb: usize) -> Option<Device> {
    let device = pointer::<M>(skb, global!(OFFSETS.skb_dev))?;
    let ifindex: u32 = load::<M, _>(device, global!(OFFSETS.dev_ifindex));
    if ifindex == 0 || ifindex > i32::MAX as u32 {
        return None;
    }
    let net = pointer::<M>(device, global!(OFFSETS.dev_net))?;
    let netns: u32 = load::<M, _>(net, global!(OFFSETS.net_inum));
    (netns >= NAMESPACE_INODES).then_some(Device { address: device, ifindex, netns })
}

/// An interface.
pub struct Device {
    /// `struct net_device`.
    pub address: usize,
    /// Index.
    pub ifindex: u32,
    /// Inode of its namespace.
    pub netns: u32,
}

/// Owning socket of a packet.
#[derive(Clone, Copy, Default)]
pub struct Socket {
    /// Inode of its namespace; 0: unknown.
    pub netns: u32,
    /// Address family; 0: no socket.
    pub family: u8,
    /// TCP state, where the protocol has one.
    pub state: u8,
    /// cgroup v2 id; 0: none, or not a full socket.
    pub cgroup: u64,
}

/// `TCP_TIME_WAIT` and `TCP_NEW_SYN_RECV` (`include/net/tcp_states.h`): such sockets are only a `struct sock_common`.
const TIME_WAIT: u8 = 6;
const NEW_SYN_RECV: u8 = 12;

/// Owning socket of a packet, as far as it can be told. The field shares its space with the offset of a fragment, which
/// is no kernel address.
#[inline(always)]
pub fn socket<M: Memory>(skb: usize) -> Socket {
    pointer::<M>(skb, global!(OFFSETS.skb_sk)).map_or(Socket::default(), describe::<M>)
}

/// What there is to say of a socket: a pointer that the verifier knows, not null.
#[inline(always)]
pub fn describe<M: Memory>(sock: usize) -> Socket {
    let mut socket = Socket::default();
    let Some(net) = pointer::<M>(sock, global!(OFFSETS.sock_net)) else { return socket };
    let netns: u32 = load::<M, _>(net, global!(OFFSETS.net_inum));
    if netns < NAMESPACE_INODES {
        return socket;
    }
    socket.netns = netns;
    let family: u16 = load::<M, _>(sock, global!(OFFSETS.sock_family));
    socket.family = family as u8;
    let state: u8 = load::<M, _>(sock, global!(OFFSETS.sock_state));
    socket.state = state;
    if state == TIME_WAIT || state == NEW_SYN_RECV || global!(OFFSETS.sock_cgroup) == ABSENT {
        return socket;
    }
    if let Some(cgroup) = pointer::<M>(sock, global!(OFFSETS.sock_cgroup))
        && let Some(directory) = pointer::<M>(cgroup, global!(OFFSETS.cgroup_kn))
    {
        socket.cgroup = load::<M, _>(directory, global!(OFFSETS.kn_id));
    }
    socket
}

/// Address of the network header and the linear bytes from there on, if it is set.
#[inline(always)]
pub fn network_header<M: Memory>(skb: usize) -> Option<(usize, u32)> {
    let head: usize = load::<M, _>(skb, global!(OFFSETS.skb_head));
    let offset: u16 = load::<M, _>(skb, global!(OFFSETS.skb_network_header));
    let tail: u32 = load::<M, _>(skb, global!(OFFSETS.skb_tail));
    // Not set: 0, where no header can be, or ~0, which newer kernels write.
    if offset == 0 || offset == u16::MAX || tail <= u32::from(offset) {
        return None;
    }
    Some((head + usize::from(offset), tail - u32::from(offset)))
}

/// The linear part of a packet from its network header on, read through the helper for kernel memory.
pub struct Linear {
    /// Where it begins.
    pub address: usize,
    /// Bytes there are.
    pub available: u32,
}

impl Source for Linear {
    #[inline(always)]
    fn words<const N: usize>(&self, offset: usize) -> Option<[u32; N]> {
        if offset + 4 * N > self.available as usize {
            return None;
        }
        read(self.address + offset)
    }

    #[inline(always)]
    fn byte(&self, offset: usize) -> Option<u8> {
        if offset + 1 > self.available as usize {
            return None;
        }
        read(self.address + offset)
    }
}

/// Digest of a packet, as [`Packet::digest`](crate::headers::Packet::digest) has it; 0 when its headers are not there.
#[inline(always)]
pub fn kernel_digest<M: Memory>(skb: usize) -> u32 {
    let ethertype: u16 = load::<M, _>(skb, global!(OFFSETS.skb_protocol));
    let Some((address, available)) = network_header::<M>(skb) else { return 0 };
    if ethertype != headers::IPV4 && ethertype != headers::IPV6 {
        return 0;
    }
    let source = Linear { address, available };
    headers::parse(&source, ethertype, 0).map_or(0, |packet| packet.digest(&source))
}
