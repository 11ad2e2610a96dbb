//! Reading packet headers as far as the programs need them.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::bpf_skb_load_bytes;
use netobs_common::trail::digest;

/// `ETH_P_IP`, network byte order.
pub const IPV4: u16 = 0x0800u16.to_be();
/// `ETH_P_IPV6`, network byte order.
pub const IPV6: u16 = 0x86ddu16.to_be();
/// IP protocol number of UDP.
pub const UDP: u8 = 17;

/// Where bytes of a packet come from.
pub trait Source {
    /// The `T` at `offset`, if the packet reaches that far.
    fn load<T: Copy>(&self, offset: usize) -> Option<T>;
}

/// The linear part of a packet, read in place.
pub struct Direct {
    /// First byte.
    pub data: usize,
    /// One past the last.
    pub end: usize,
}

impl Source for Direct {
    #[inline(always)]
    fn load<T: Copy>(&self, offset: usize) -> Option<T> {
        if self.data + offset + size_of::<T>() > self.end {
            return None;
        }
        // SAFETY: within the packet by the check above, which is the one the verifier asks for; packets are
        // unaligned.
        Some(unsafe { core::ptr::read_unaligned((self.data + offset) as *const T) })
    }
}

/// Any part of a packet, through the helper that also reads fragments.
pub struct Helper {
    /// The program's context.
    pub skb: *mut __sk_buff,
}

impl Source for Helper {
    #[inline(always)]
    fn load<T: Copy>(&self, offset: usize) -> Option<T> {
        let mut value = core::mem::MaybeUninit::<T>::uninit();
        // SAFETY: the helper checks the range and fills the whole value or fails.
        let failed = unsafe {
            bpf_skb_load_bytes(self.skb.cast(), offset as u32, value.as_mut_ptr().cast(), size_of::<T>() as u32)
        };
        // SAFETY: filled, or not looked at.
        if failed == 0 { Some(unsafe { value.assume_init() }) } else { None }
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
    /// See [`digest`].
    pub digest: u32,
}

/// Extension headers that are stepped over. Real traffic has one at most (fragment, hop-by-hop); the bound is the
/// verifier's comfort.
const EXTENSIONS: usize = 3;

/// Parses the headers that begin at `offset`.
#[inline(always)]
pub fn parse(source: &impl Source, ethertype: u16, offset: usize) -> Option<Packet> {
    if ethertype == IPV4 {
        parse_v4(source, offset)
    } else if ethertype == IPV6 {
        parse_v6(source, offset)
    } else {
        None
    }
}

#[inline(always)]
fn parse_v4(source: &impl Source, offset: usize) -> Option<Packet> {
    // RFC 791 section 3.1: version and IHL, TOS, total length, identification, flags and offset, TTL, protocol.
    let first: [u8; 12] = source.load(offset)?;
    if first[0] >> 4 != 4 {
        return None;
    }
    let length = (first[0] & 0x0f) as usize * 4;
    if length < 20 {
        return None;
    }
    let total = u16::from_ne_bytes([first[2], first[3]]);
    let identification = u16::from_ne_bytes([first[4], first[5]]);
    let fragment = u16::from_be_bytes([first[6], first[7]]) & 0x1fff;
    Some(Packet {
        version: 4,
        protocol: first[9],
        has_transport: fragment == 0,
        transport: offset + length,
        digest: digest(total, identification as u32, first[9]),
    })
}

#[inline(always)]
fn parse_v6(source: &impl Source, offset: usize) -> Option<Packet> {
    // RFC 8200 section 3: version, traffic class and flow label, payload length, next header, hop limit.
    let first: [u8; 8] = source.load(offset)?;
    if first[0] >> 4 != 6 {
        return None;
    }
    let label = u32::from_be_bytes([0, first[1] & 0x0f, first[2], first[3]]);
    let total = u16::from_ne_bytes([first[4], first[5]]);
    let mut packet = Packet {
        version: 6,
        protocol: first[6],
        has_transport: true,
        transport: offset + 40,
        digest: digest(total, label, first[6]),
    };
    for _ in 0..EXTENSIONS {
        match packet.protocol {
            // Hop-by-hop, routing, destination options: next header, length in units of 8 beyond the first 8.
            0 | 43 | 60 => {
                let extension: [u8; 2] = source.load(packet.transport)?;
                packet.protocol = extension[0];
                packet.transport += (extension[1] as usize + 1) * 8;
            }
            // Fragment: only the first has what follows.
            44 => {
                let extension: [u8; 4] = source.load(packet.transport)?;
                packet.protocol = extension[0];
                packet.transport += 8;
                if u16::from_be_bytes([extension[2], extension[3]]) & 0xfff8 != 0 {
                    packet.has_transport = false;
                    return Some(packet);
                }
            }
            _ => break,
        }
    }
    Some(packet)
}

/// Source and destination, network byte order, IPv4 in the first four bytes each.
#[inline(always)]
pub fn addresses(source: &impl Source, version: u8, offset: usize) -> Option<([u8; 16], [u8; 16])> {
    if version == 4 {
        let both: [[u8; 4]; 2] = source.load(offset + 12)?;
        let mut from = [0; 16];
        let mut to = [0; 16];
        from[..4].copy_from_slice(&both[0]);
        to[..4].copy_from_slice(&both[1]);
        Some((from, to))
    } else {
        let both: [[u8; 16]; 2] = source.load(offset + 8)?;
        Some((both[0], both[1]))
    }
}
