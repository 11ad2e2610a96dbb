//! The lab by hand: sets up a node with a small application and leaves it until Ctrl-C, for looking around.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use crate::{Layout, Pod, Shop};

/// How to build the node.
#[derive(Args, Debug)]
pub struct HoldArgs {
    /// How pods are connected to the node.
    #[arg(long, value_enum, default_value = "bridge")]
    layout: LayoutName,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LayoutName {
    /// By a bridge, cni0.
    Bridge,
    /// By host routes to veths with random names.
    HostRouted,
}

/// Builds the node and leaves it until Ctrl-C.
pub fn run(arguments: &HoldArgs) -> Result<ExitCode> {
    if let Some(reason) = Shop::unavailable() {
        bail!("no lab here: {reason}");
    }
    let shop = Shop::start(match arguments.layout {
        LayoutName::Bridge => Layout::Bridge,
        LayoutName::HostRouted => Layout::HostRouted,
    })?;
    let row = |name: &str, netns: &str, rest: &str| anstream::println!("{name:<22} {netns:<40} {rest}");
    row("WHAT", "NETWORK NAMESPACE", "ADDRESSES");
    let node = &shop.node;
    let (v4, v6) = node.plan().node();
    row(&format!("node {}", node.name()), node.netns().name(), &format!("{v4} {v6}"));
    for pod in node.pods() {
        row(&pod.full_name(), pod.netns().name(), &addresses(&pod));
    }
    for service in node.services() {
        let ips: Vec<_> = service.cluster_ips().iter().map(ToString::to_string).collect();
        row(&format!("svc {}/{}", service.namespace, service.name), "-", &ips.join(" "));
    }
    anstream::println!(
        "\nAPI server http://{} (inside the node), kubeconfig {}",
        shop.api.address(),
        shop.api.kubeconfig().display()
    );
    anstream::println!("look inside: nsenter --net=/run/netns/{} ip address", node.netns().name());
    anstream::println!("Ctrl-C ends it and removes everything.");
    wait_for_the_end()?;
    Ok(ExitCode::SUCCESS)
}

fn addresses(pod: &Pod) -> String {
    format!("{} {} via {}", pod.ipv4(), pod.ipv6(), pod.host_interface())
}

/// Until SIGINT or SIGTERM.
fn wait_for_the_end() -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = terminate.recv() => {}
        }
        Ok(())
    })
}
