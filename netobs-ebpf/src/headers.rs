//! Reading packet headers as far as the programs need them.
//!
//! Fields are loaded in words and picked apart by shifts: the BPF back end turns an unaligned load into one load per byte.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::bpf_skb_load_bytes;
use netobs_common::trail::{digest, transport_word, with_transport};

use crate::load::{self, opaque};

/// `ETH_P_IP`, network byte order.
pub const IPV4: u16 = 0x0800u16.to_be();
/// `ETH_P_IPV6`, network byte order.
pub const IPV6: u16 = 0x86ddu16.to_be();
/// IP protocol number of ICMP.
pub const ICMP: u8 = 1;
/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;
/// IP protocol number of `ICMPv6`.
pub const ICMPV6: u8 = 58;

/// Where bytes of a packet come from. Values are as on the wire (network byte order in memory).
pub trait Source {
    /// `N` consecutive 32-bit words at `offset`, if the packet reaches that far.
    fn words<const N: usize>(&self, offset: usize) -> Option<[u32; N]>;
    /// The byte at `offset`.
    fn byte(&self, offset: usize) -> Option<u8>;
}

/// The linear part of a packet, read in place.
#[derive(Clone, Copy)]
pub struct Direct {
    /// First byte.
    pub data: usize,
    /// One past the last.
    pub end: usize,
}

impl Source for Direct {
    #[inline(always)]
    fn words<const N: usize>(&self, offset: usize) -> Option<[u32; N]> {
        // Opaque: the verifier only knows the very pointer that was compared to be in bounds, not one computed again.
        let start = opaque(self.data + offset);
        if start + 4 * N > self.end {
            return None;
        }
        // Not zeroed first: that would be a call that writes byte by byte.
        let mut words = MaybeUninit::<[u32; N]>::uninit();
        let mut index = 0;
        while index < N {
            // SAFETY: within the packet by the check above, which is the one the verifier asks for; within the array.
            unsafe { words.as_mut_ptr().cast::<u32>().add(index).write(load::word(start + 4 * index)) };
            index += 1;
        }
        // SAFETY: every word has been written.
        Some(unsafe { words.assume_init() })
    }

    #[inline(always)]
    fn byte(&self, offset: usize) -> Option<u8> {
        let start = opaque(self.data + offset);
        if start + 1 > self.end {
            return None;
        }
        // SAFETY: as above; bytes have no alignment.
        Some(unsafe { core::ptr::read(start as *const u8) })
    }
}

/// Any part of a packet, through the helper that also reads fragments.
#[derive(Clone, Copy)]
pub struct Helper {
    /// The program's context.
    pub skb: *mut __sk_buff,
}

impl Source for Helper {
    #[inline(always)]
    fn words<const N: usize>(&self, offset: usize) -> Option<[u32; N]> {
        let mut words = MaybeUninit::<[u32; N]>::uninit();
        // SAFETY: the helper checks the range and fills the whole buffer (with zeros when it fails).
        unsafe {
            let failed = bpf_skb_load_bytes(self.skb.cast(), offset as u32, words.as_mut_ptr().cast(), 4 * N as u32);
            (failed == 0).then_some(words.assume_init())
        }
    }

    #[inline(always)]
    fn byte(&self, offset: usize) -> Option<u8> {
        let mut byte = 0u8;
        // SAFETY: as above.
        let failed = unsafe { bpf_skb_load_bytes(self.skb.cast(), offset as u32, (&raw mut byte).cast(), 1) };
        (failed == 0).then_some(byte)
    }
}

/// What the programs want to know of an IP packet.
#[derive(Clone, Copy)]
pub struct Packet {
    /// 4 or 6.
    pub version: u8,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Whether the payload's header is here: not in later fragments.
    pub has_transport: bool,
    /// Where it begins, from the start of what was read.
    pub transport: usize,
    /// See [`digest`]; without its transport word, which [`Packet::digest`] adds.
    pub fixed: u32,
}

impl Packet {
    /// Digest of what forwarding and NAT leave alone.
    #[inline(always)]
    pub fn digest(&self, source: &impl Source) -> u32 {
        let Some(offset) = transport_word(self.protocol).filter(|_| self.has_transport) else { return self.fixed };
        match source.words(self.transport + offset) {
            Some([word]) => with_transport(self.fixed, word),
            None => self.fixed,
        }
    }
}

/// Extension headers that are stepped over. Real traffic has one at most (fragment, hop-by-hop); the bound is the
/// verifier's comfort.
const EXTENSIONS: usize = 3;

/// Parses the headers that begin at `offset`.
#[inline(always)]
pub fn parse(source: &impl Source, ethertype: u16, offset: usize) -> Option<Packet> {
    if ethertype == IPV4 { parse_v4(source, offset) } else { parse_v6(source, offset) }
}

/// RFC 791 section 3.1: version and IHL, TOS, total length | identification, flags and offset | TTL, protocol, checksum.
#[inline(always)]
fn parse_v4(source: &impl Source, offset: usize) -> Option<Packet> {
    let first: [u32; 3] = source.words(offset)?;
    let length = ((u32::from_be(first[0]) >> 24) & 0x0f) * 4;
    if u32::from_be(first[0]) >> 28 != 4 || length < 20 {
        return None;
    }
    let protocol = (u32::from_be(first[2]) >> 16) as u8;
    Some(Packet {
        version: 4,
        protocol,
        has_transport: u32::from_be(first[1]) & 0x1fff == 0,
        transport: offset + length as usize,
        fixed: v4_digest(&first),
    })
}

/// Digest of an IPv4 packet from the first three words of its header, without its transport word.
#[inline(always)]
fn v4_digest(first: &[u32; 3]) -> u32 {
    let total = u32::from_be(first[0]) as u16;
    digest(total, u32::from_be(first[1]) >> 16, (u32::from_be(first[2]) >> 16) as u8)
}

/// Digest of an IPv6 packet from the first two words of its header, without its transport word.
#[inline(always)]
fn v6_digest(first: &[u32; 2]) -> u32 {
    let second = u32::from_be(first[1]);
    digest((second >> 16) as u16, u32::from_be(first[0]) & 0x000f_ffff, (second >> 8) as u8)
}

/// RFC 8200 section 3: version, traffic class and flow label | payload length, next header, hop limit.
#[inline(always)]
fn parse_v6(source: &impl Source, offset: usize) -> Option<Packet> {
    let first: [u32; 2] = source.words(offset)?;
    if u32::from_be(first[0]) >> 28 != 6 {
        return None;
    }
    let mut packet = Packet {
        version: 6,
        protocol: (u32::from_be(first[1]) >> 8) as u8,
        has_transport: true,
        transport: offset + 40,
        fixed: v6_digest(&first),
    };
    for _ in 0..EXTENSIONS {
        match packet.protocol {
            // Hop-by-hop, routing, destination options: next header, length in units of 8 beyond the first 8.
            0 | 43 | 60 => {
                let length = source.byte(packet.transport + 1)?;
                packet.protocol = source.byte(packet.transport)?;
                packet.transport += (length as usize + 1) * 8;
            }
            // Fragment: only the first has what follows.
            44 => {
                let [extension] = source.words(packet.transport)?;
                let extension = u32::from_be(extension);
                packet.protocol = (extension >> 24) as u8;
                packet.transport += 8;
                if extension & 0xfff8 != 0 {
                    packet.has_transport = false;
                    return Some(packet);
                }
            }
            _ => break,
        }
    }
    Some(packet)
}

/// TTL or hop limit.
#[inline(always)]
pub fn hop_limit(source: &impl Source, version: u8, offset: usize) -> u8 {
    source.byte(offset + if version == 4 { 8 } else { 7 }).unwrap_or(0)
}

/// Digest of addresses and ports; never 0.
#[inline(always)]
pub fn tuple_digest(addresses: &[u32; 8], ports: u32) -> u32 {
    let mut digest = ports;
    let mut index = 0;
    while index < 8 {
        digest = digest.rotate_left(5) ^ addresses[index];
        index += 1;
    }
    digest | 1
}

/// The same, seen from the other end.
#[inline(always)]
pub fn reversed(addresses: &[u32; 8], ports: u32) -> ([u32; 8], u32) {
    let (source, destination) = halves(addresses);
    let mut swapped = [0; 8];
    let mut index = 0;
    while index < 4 {
        swapped[index] = destination[index];
        swapped[index + 4] = source[index];
        index += 1;
    }
    (swapped, ports.rotate_left(16))
}

/// Source and destination, each in four words.
#[inline(always)]
pub const fn halves(addresses: &[u32; 8]) -> ([u32; 4], [u32; 4]) {
    ([addresses[0], addresses[1], addresses[2], addresses[3]], [addresses[4], addresses[5], addresses[6], addresses[7]])
}

/// Whether an address (four words as on the wire) is one that every namespace has: loopback (127.0.0.0/8, `::1`) or, for
/// IPv6, link-local.
#[inline(always)]
pub fn is_everywhere(address: &[u32; 4], version: u8) -> bool {
    let first = u32::from_be(address[0]);
    if version == 4 { first >> 24 == 127 } else { first >> 22 == 0xfe80 >> 6 || is_loopback(address, version) }
}

/// Whether it is a loopback address.
#[inline(always)]
pub fn is_loopback(address: &[u32; 4], version: u8) -> bool {
    if version == 4 {
        u32::from_be(address[0]) >> 24 == 127
    } else {
        address[0] | address[1] | address[2] == 0 && u32::from_be(address[3]) == 1
    }
}

/// Source (first four words) and destination (last four), network byte order; IPv4 in the first word of each.
#[inline(always)]
pub fn addresses(source: &impl Source, version: u8, offset: usize) -> Option<[u32; 8]> {
    if version == 4 {
        let [from, to] = source.words(offset + 12)?;
        Some([from, 0, 0, 0, to, 0, 0, 0])
    } else {
        source.words(offset + 8)
    }
}
