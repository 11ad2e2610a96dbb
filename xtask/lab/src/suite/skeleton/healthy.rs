//! Where nothing fails, nothing is told as a problem.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::dns::kube_dns;
use crate::suite::traffic::ask;
use crate::suite::{Context, Outcome, Stage};
use crate::{Place, PodSpec};

/// Bytes of a transfer, each way.
const TRANSFER: usize = 1 << 20;

/// Sends a mebibyte to an echo server and reads it back.
fn transfer(from: &Place, to: SocketAddr) -> Result<()> {
    let mut stream = from.tcp_connect(to, Duration::from_secs(2)).with_context(|| format!("connecting to {to}"))?;
    let mut reader = stream.try_clone()?;
    std::thread::scope(|scope| {
        let read = scope.spawn(move || -> std::io::Result<()> { reader.read_exact(&mut vec![0; TRANSFER]) });
        stream.write_all(&vec![7; TRANSFER])?;
        read.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok(())
    })
}

/// Pings, transfers and names that work, between pods, through Services and to the internet, while pods come and go.
pub fn healthy_traffic(context: &Context) -> Result<Outcome> {
    let mut stage = Stage::start(context)?;
    let internet = stage.node.internet().tcp_echo(8080)?;
    stage.keep(internet);
    let (out4, out6) = stage.node.plan().internet();
    let services = [stage.web_service.at("http"), stage.web_service.at6("http")];
    let outside = [SocketAddr::from((out4, 8080)), SocketAddr::from((out6, 8080))];
    let direct = [stage.db.at(5432), stage.db.at6(5432)];
    for round in 0..4_u16 {
        let guest = stage.node.add_pod(PodSpec::new("shop", format!("guest-{round}")))?;
        stage.api.sync_from(&stage.node);
        for to in services.into_iter().flatten().chain(outside).chain(direct) {
            transfer(&stage.client, to)?;
            // A ClusterIP answers no ping: there is no rule for it.
            ensure!(services.contains(&Some(to)) || stage.client.ping(to.ip())?, "no ping to {}", to.ip());
        }
        for to in kube_dns(&stage)? {
            for pod in [&stage.client, &guest] {
                let asked = ask(pod, to, 100 + round, "web.shop.svc.cluster.local")?;
                ensure!(asked.1.is_some(), "no answer from {to}");
            }
        }
        for ip in guest.ips() {
            ensure!(stage.node.ping(ip)?, "the node cannot ping {ip}");
        }
        stage.node.remove_pod(&guest)?;
        stage.api.sync_from(&stage.node);
    }
    let names = stage.events(&json!({"kind": "dns", "severity": "info"}))?.len();
    ensure!(names == 16, "{names} DNS events instead of 16");
    stage.finish("24 transfers, 16 names, pings; 4 pods came and went")
}
