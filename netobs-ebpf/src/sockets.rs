//! What sockets say of resets: why one was sent, in which state the receiver was. It is evidence about packets that tcx sees,
//! except for a reset that stays in a pod's own loopback, which nobody else sees.

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns};
use netobs_common::counters::{family::SOCKET, hook::TCP_RESET};
use netobs_common::record::{BucketKey, Header, SocketRecord, kind, opener, side};
use netobs_common::tcp::flag;
use netobs_common::trail::CpuState;
use netobs_common::{ABI_VERSION, LOOPBACK};

use crate::arguments::Arguments;
use crate::globals::global;
use crate::headers::{self, IPV4, IPV6, Source, TCP};
use crate::kernel::{Linear, Memory, Socket, describe, device, load, network_header, read};
use crate::load::opaque;
use crate::maps::{self, RING_SOCKET};
use crate::{atomic, bucket, connection, emit, scope};

/// `TCP_ESTABLISHED`, `TCP_SYN_SENT`, `TCP_SYN_RECV` (`include/net/tcp_states.h`).
const ESTABLISHED: u32 = 1;
const SYN_SENT: u32 = 2;
const SYN_RECV: u32 = 3;
/// `AF_INET`, `AF_INET6`.
const INET: u8 = 2;
const INET6: u8 = 10;
/// A reason that was not said.
const NO_REASON: u32 = u32::MAX;

/// A reset as a socket knows it.
struct Said {
    addresses: [u32; 8],
    ports: u32,
    version: u8,
    netns: u32,
    socket: Socket,
    side: u8,
    reason: u32,
    trigger_flags: u8,
    trigger_sequence: u32,
    /// The packet that was answered came by the loopback.
    looped: bool,
}

/// `tcp:tcp_send_reset` (include/trace/events/tcp.h): socket, packet that is answered, reason (since 6.10).
#[inline(always)]
pub fn send_reset<C: Arguments>(ctx: &C) {
    let Some(state) = maps::cpu_state() else { return };
    run(state);
    let sock: usize = ctx.argument(0);
    let skb: usize = ctx.argument(1);
    let reason = if global!(KNOBS.reset_reason) == 0 { NO_REASON } else { ctx.argument(2) };
    // The verifier wants to see both pointers compared with null, and only then used.
    let socket = if sock == 0 { Socket::default() } else { describe::<C::Memory>(opaque(sock)) };
    let said = if skb != 0 {
        answered::<C::Memory>(opaque(skb), socket, reason)
    } else if sock != 0 {
        ends_of::<C::Memory>(opaque(sock), socket.family).map(|(addresses, ports, version)| {
            // Of the socket: local first, as in what it sends.
            Said {
                addresses,
                ports,
                version,
                netns: socket.netns,
                socket,
                side: side::SENT,
                reason,
                trigger_flags: 0,
                trigger_sequence: 0,
                looped: false,
            }
        })
    } else {
        None
    };
    tell(state, said);
}

/// `tcp:tcp_receive_reset`: the socket that gives up.
#[inline(always)]
pub fn receive_reset<C: Arguments>(ctx: &C) {
    let Some(state) = maps::cpu_state() else { return };
    run(state);
    let sock: usize = ctx.argument(0);
    if sock == 0 {
        tell(state, None);
        return;
    }
    let sock = opaque(sock);
    let socket = describe::<C::Memory>(sock);
    let said = ends_of::<C::Memory>(sock, socket.family).map(|(addresses, ports, version)| {
        let (addresses, ports) = headers::reversed(&addresses, ports);
        Said {
            addresses,
            ports,
            version,
            netns: socket.netns,
            socket,
            side: side::RECEIVED,
            reason: NO_REASON,
            trigger_flags: 0,
            trigger_sequence: 0,
            looped: false,
        }
    });
    tell(state, said);
}

/// `sock:inet_sock_set_state`: socket, old state, new state. Remembers who opened a connection that never leaves its
/// namespace: no interface program sees its SYN.
#[inline(always)]
pub fn set_state<C: Arguments>(ctx: &C) {
    let (old, new): (u32, u32) = (ctx.argument(1), ctx.argument(2));
    if new != ESTABLISHED || old != SYN_SENT && old != SYN_RECV {
        return;
    }
    let sock: usize = ctx.argument(0);
    if sock == 0 {
        return;
    }
    let sock = opaque(sock);
    let protocol: u16 = load::<C::Memory, _>(sock, global!(OFFSETS.sock_protocol));
    let socket = describe::<C::Memory>(sock);
    if protocol as u8 != TCP || socket.netns == global!(KNOBS.own_netns) || !scope::contains(socket.netns) {
        return;
    }
    let Some((addresses, ports, version)) = ends_of::<C::Memory>(sock, socket.family) else { return };
    if !stays(&addresses, version) {
        return;
    }
    let (addresses, ports) = if old == SYN_SENT { (addresses, ports) } else { headers::reversed(&addresses, ports) };
    connection::insert(&addresses, ports, version, socket.netns);
}

#[inline(always)]
fn run(state: &mut CpuState) {
    // SAFETY: a field of a map value of ours. Atomic: a process that gives up a connection can be interrupted by a packet.
    unsafe { atomic::add(&raw mut state.counters.hooks[TCP_RESET].runs, 1) };
}

/// The reset that answers `skb`: its addresses the other way round.
#[inline(always)]
fn answered<M: Memory>(skb: usize, socket: Socket, reason: u32) -> Option<Said> {
    let device = device::<M>(skb);
    let netns = device.as_ref().map_or(socket.netns, |device| device.netns);
    let ethertype: u16 = load::<M, _>(skb, global!(OFFSETS.skb_protocol));
    if ethertype != IPV4 && ethertype != IPV6 {
        return None;
    }
    let (address, available) = network_header::<M>(skb)?;
    let source = Linear { address, available };
    let packet = headers::parse(&source, ethertype, 0)?;
    let words = source.words::<4>(packet.transport)?;
    let addresses = headers::addresses(&source, packet.version, 0)?;
    let (addresses, ports) = headers::reversed(&addresses, words[0]);
    // A packet that waited for a process has no device any more, but remembers the one it came by.
    let came_by: u32 = load::<M, _>(skb, global!(OFFSETS.skb_iif));
    Some(Said {
        addresses,
        ports,
        version: packet.version,
        netns,
        socket,
        side: side::ANSWERED,
        reason,
        trigger_flags: (u32::from_be(words[3]) >> 16) as u8,
        trigger_sequence: u32::from_be(words[1]),
        looped: came_by == LOOPBACK,
    })
}

/// Addresses and ports of a socket, local first, and the IP version on the wire.
#[inline(always)]
fn ends_of<M: Memory>(sock: usize, family: u8) -> Option<([u32; 8], u32, u8)> {
    // Beyond `struct sock`, which is all that the verifier knows of it.
    let local: u16 = read(sock + global!(OFFSETS.inet_sport) as usize).unwrap_or(0);
    let remote: u16 = load::<M, _>(sock, global!(OFFSETS.sock_dport));
    let ports = u32::from(local) | u32::from(remote) << 16;
    let (from, to) = (global!(OFFSETS.sock_v6_saddr), global!(OFFSETS.sock_v6_daddr));
    if family == INET6 && from != netobs_common::offsets::ABSENT && to != netobs_common::offsets::ABSENT {
        let word = |offset: u32, index: u32| load::<M, u32>(sock, offset + 4 * index);
        // An IPv4 connection of an IPv6 socket: ::ffff:0:0/96 (RFC 4291 section 2.5.5.2).
        if word(to, 0) | word(to, 1) != 0 || u32::from_be(word(to, 2)) != 0xffff {
            let addresses = [
                word(from, 0),
                word(from, 1),
                word(from, 2),
                word(from, 3),
                word(to, 0),
                word(to, 1),
                word(to, 2),
                word(to, 3),
            ];
            return Some((addresses, ports, 6));
        }
    } else if family != INET {
        return None;
    }
    let (from, to) = (load::<M, _>(sock, global!(OFFSETS.sock_saddr)), load::<M, _>(sock, global!(OFFSETS.sock_daddr)));
    Some(([from, 0, 0, 0, to, 0, 0, 0], ports, 4))
}

/// Whether packets between these addresses stay in their namespace.
#[inline(always)]
fn stays(addresses: &[u32; 8], version: u8) -> bool {
    let (one, other) = headers::halves(addresses);
    let same = (one[0] ^ other[0]) | (one[1] ^ other[1]) | (one[2] ^ other[2]) | (one[3] ^ other[3]) == 0;
    same || headers::is_loopback(&one, version) || headers::is_loopback(&other, version)
}

/// Counts what a socket said, and records it within its budget.
#[inline(always)]
fn tell(state: &mut CpuState, said: Option<Said>) {
    let hook = &raw mut state.counters.hooks[TCP_RESET];
    let counters = &raw mut state.counters.families[SOCKET];
    // SAFETY, here and below: fields of map values of ours; atomic as in `run`.
    let Some(said) = said else {
        // SAFETY: as above.
        unsafe { atomic::add(&raw mut (*hook).not_network, 1) };
        return;
    };
    if !scope::contains(said.netns) {
        // SAFETY: as above.
        unsafe { atomic::add(&raw mut (*hook).out_of_scope, 1) };
        return;
    }
    // SAFETY: as above.
    unsafe { atomic::add(&raw mut (*counters).seen, 1) };
    let elsewhere = said.netns != global!(KNOBS.own_netns);
    let local = elsewhere && (said.looped || stays(&said.addresses, said.version));
    // Who sends it counts it. Kernels that tell no reason (before 6.10) do not tell of a reset that no socket sends either:
    // of a refused connection's, which the receiver tells by its state.
    let refused_here = said.side == side::RECEIVED && u32::from(said.socket.state) == SYN_SENT;
    let alone = local && (said.side != side::RECEIVED || refused_here && global!(KNOBS.reset_reason) == 0);
    let refused = refused_here || said.trigger_flags & (flag::SYN | flag::ACK) == flag::SYN;
    // SAFETY: no preconditions.
    let now = unsafe { bpf_ktime_get_boot_ns() };
    let mut key = bucket::EMPTY;
    if alone {
        key = BucketKey {
            netns: said.netns,
            ifindex: LOOPBACK,
            protocol: TCP,
            kind: kind::SOCKET,
            ip_version: said.version,
            response: u8::from(refused),
            ..bucket::EMPTY
        };
        // SAFETY: the key begins with both addresses, 4-aligned.
        unsafe { (&raw mut key).cast::<[u32; 8]>().write(said.addresses) };
        if !bucket::admit::<SOCKET>(state, &mut key, 0, now) {
            return;
        }
    } else if !bucket::calm::<SOCKET>(state, now) {
        // SAFETY: as above.
        unsafe { atomic::add(&raw mut (*counters).withheld, 1) };
        return;
    }
    let Some(mut entry) = RING_SOCKET.reserve::<SocketRecord>(0) else {
        if alone {
            bucket::count_instead::<SOCKET>(state, &mut key, 0, now);
        } else {
            // SAFETY: as above.
            unsafe { atomic::add(&raw mut (*counters).ring_full, 1) };
        }
        return;
    };
    let (opener, opened_ns) = if refused {
        (opener::DESTINATION, 0)
    } else {
        connection::opener(&said.addresses, said.ports, said.version, said.netns)
    };
    let record = entry.as_mut_ptr();
    // SAFETY: ring memory of the record's size and alignment; every byte of it is written: addresses, ports and groups of
    // single bytes as words (their order is asserted in netobs-common; the machine is little-endian).
    unsafe {
        (&raw mut (*record).header).write(Header {
            abi: ABI_VERSION,
            kind: kind::SOCKET,
            flags: 0,
            length: size_of::<SocketRecord>() as u32,
            boot_ns: now,
            packet: 0,
            cgroup: said.socket.cgroup,
            netns: said.netns,
            ifindex: if local { LOOPBACK } else { 0 },
            digest: 0,
            cpu: bpf_get_smp_processor_id() as u32,
        });
        (&raw mut (*record).source).cast::<[u32; 8]>().write(said.addresses);
        (&raw mut (*record).source_port).cast::<u32>().write(said.ports);
        (&raw mut (*record).reason).write(said.reason);
        (&raw mut (*record).trigger_sequence).write(said.trigger_sequence);
        let what = emit::bytes(said.socket.state, said.version, said.side, said.trigger_flags);
        (&raw mut (*record).state).cast::<u32>().write(what);
        (&raw mut (*record).alone).cast::<u32>().write(emit::bytes(u8::from(alone), opener, 0, 0));
        (&raw mut (*record).alone).cast::<u32>().add(1).write(0);
        (&raw mut (*record).opened_ns).write(opened_ns);
    }
    entry.submit(emit::wake_flags());
    // SAFETY: as above.
    unsafe { atomic::add(&raw mut (*counters).submitted, 1) };
}
