//! The arm of bpftrace: prints for every IPv4 drop the fields that netobs tells of it, but no names of pods.

use std::time::Duration;

use anyhow::Result;

use super::PORT;
use super::arm::{Counted, Observer};
use super::tool::{Tool, sum_before};
use crate::bench::scene::Scene;

/// Time, reason, function, addresses, ports, protocol, length, interface with its MTU, namespace, CPU. The kernel's types
/// come from BTF.
const SCRIPT: &str = r#"
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

/// The running bpftrace.
pub struct Bpftrace(Tool);

impl Bpftrace {
    /// Starts it.
    pub fn start(scene: &Scene) -> Result<Self> {
        Tool::start(scene, "bpftrace", &["-e", SCRIPT]).map(Self)
    }
}

fn mark() -> String {
    format!(":{PORT} protocol 17 ")
}

impl Observer for Bpftrace {
    fn wait_attached(&mut self, probe: &mut dyn FnMut() -> Result<()>) -> Result<()> {
        self.0.wait_for(&mark(), probe)
    }

    fn cpu(&self) -> Result<Duration> {
        self.0.cpu()
    }

    fn finish(self: Box<Self>) -> Result<(Counted, Duration)> {
        let (output, cpu) = self.0.finish()?;
        let mark = mark();
        let delivered = output.lines().filter(|line| line.contains(&mark)).count() as u64;
        Ok((Counted { delivered, summed: 0, lost: sum_before(&output, "Lost", "events") }, cpu))
    }
}
