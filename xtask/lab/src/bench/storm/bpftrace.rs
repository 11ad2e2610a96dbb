//! The arm of bpftrace: prints for every IPv4 drop, or reset, the fields that netobs tells of it, but no names of pods.

use std::time::Duration;

use anyhow::Result;

use super::arm::{Counted, Observer};
use super::load::{Load, PORT, Target};
use super::tool::{Tool, sum_before};

/// Time, reason, function, addresses, ports, protocol, length, interface with its MTU, namespace, CPU. The kernel's types
/// come from BTF.
const DROPS: &str = r#"
tracepoint:skb:kfree_skb /args->protocol == 0x0800/ {
  $skb = (struct sk_buff *)args->skbaddr;
  $ip = (struct iphdr *)($skb->head + $skb->network_header);
  $udp = (struct udphdr *)($skb->head + $skb->network_header + 20);
  $dev = $skb->dev;
  printf("%llu %d %s %s:%d > %s:%d protocol %d length %d %s %d mtu %d netns %u cpu %d\n",
    nsecs, args->reason, ksym(args->location),
    ntop($ip->saddr), (($udp->source & 0xff) << 8) | ($udp->source >> 8),
    ntop($ip->daddr), (($udp->dest & 0xff) << 8) | ($udp->dest >> 8),
    $ip->protocol, $skb->len, $dev->name, $dev->ifindex, $dev->mtu, $dev->nd_net.net->ns.inum, cpu);
}
"#;

/// Time, addresses, ports, flags, sequence number, interface, namespace, CPU of a segment with RST (4 in the flags byte) that
/// the sender's interface receives. It receives nearly nothing else, and the interface is compared by its number.
const RESETS: &str = r#"
tracepoint:net:netif_receive_skb {
  $skb = (struct sk_buff *)args->skbaddr;
  if ($skb->dev->ifindex == IFINDEX && $skb->protocol == 0x0008) {
    $ip = (struct iphdr *)$skb->data;
    $tcp = (struct tcphdr *)($skb->data + 20);
    if ($ip->protocol == 6 && (*(uint8 *)($skb->data + 33) & 4)) {
      printf("%llu reset %s:%d > %s:%d flags %d sequence %u %s %d netns %u cpu %d\n",
        nsecs, ntop($ip->saddr), (($tcp->source & 0xff) << 8) | ($tcp->source >> 8),
        ntop($ip->daddr), (($tcp->dest & 0xff) << 8) | ($tcp->dest >> 8),
        *(uint8 *)($skb->data + 33), $tcp->seq, $skb->dev->name, $skb->dev->ifindex, $skb->dev->nd_net.net->ns.inum, cpu);
    }
  }
}
"#;

/// The running bpftrace.
pub struct Bpftrace {
    tool: Tool,
    mark: String,
}

impl Bpftrace {
    /// Starts it.
    pub fn start(target: &Target) -> Result<Self> {
        let (script, mark) = match target.load {
            Load::Drops => (DROPS.to_owned(), format!(":{PORT} protocol 17 ")),
            Load::Resets => {
                (RESETS.replace("IFINDEX", &target.scene.sender_index()?.to_string()), format!(":{PORT} flags 4 "))
            }
        };
        Ok(Self { tool: Tool::start(&target.scene, "bpftrace", &["-e", &script])?, mark })
    }
}

impl Observer for Bpftrace {
    fn wait_attached(&mut self, probe: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        self.tool.wait_for(&self.mark, probe)
    }

    fn cpu(&self) -> Result<Duration> {
        self.tool.cpu()
    }

    fn finish(self: Box<Self>) -> Result<(Counted, Duration)> {
        let (output, cpu) = self.tool.finish()?;
        let delivered = output.lines().filter(|line| line.contains(&self.mark)).count() as u64;
        Ok((Counted { delivered, summed: 0, lost: sum_before(&output, "Lost", "events") }, cpu))
    }
}
