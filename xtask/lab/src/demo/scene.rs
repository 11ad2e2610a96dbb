//! The node of the demo: its pods, Services, servers and the daemon.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::screen;
use super::signals::Stop;
use crate::{ApiServer, Daemon, DnsServer, Layout, Node, Pod, PodSpec, Server, Service, Workload};

/// How long the daemon waits for a DNS answer: shorter than by default, so that the demo stays brisk.
pub const DNS_TIMEOUT: Duration = Duration::from_secs(2);
/// Ports of the servers.
pub const API_PORT: u16 = 8080;
pub const DB_PORT: u16 = 5432;
pub const KUBELET_PORT: u16 = 10_250;
/// Number of the cluster's DNS service, by convention.
const DNS_NUMBER: u8 = 10;

/// A small shop on a node, and netobs watching it. Everything is gone when it is dropped.
#[derive(Debug)]
pub struct Scene {
    // Fields drop in this order: the daemon before what it watches, the node last.
    /// netobs.
    pub daemon: Daemon,
    _api_server: ApiServer,
    _dns_server: DnsServer,
    _servers: Vec<Server>,
    /// A pod of the Deployment `shop/web`.
    pub web: Arc<Pod>,
    /// A pod of the Deployment `shop/api`.
    pub api: Arc<Pod>,
    /// The only pod of the `StatefulSet` `shop/db`.
    pub db: Arc<Pod>,
    /// A pod of the Deployment `kube-system/coredns`.
    pub dns: Arc<Pod>,
    /// A pod with a DNS server that never answers.
    pub resolver: Arc<Pod>,
    /// A pod of the `DaemonSet` `monitoring/agent`.
    pub agent: Arc<Pod>,
    /// Service `shop/db`, port `sql`.
    pub db_service: Service,
    /// Service `kube-system/kube-dns`, port `dns`.
    pub dns_service: Service,
    /// The node.
    pub node: Node,
}

impl Scene {
    /// Sets it up, saying what is done.
    pub fn start(netobs: &Path, stop: &Stop) -> Result<Self> {
        let mut progress = Progress { since: Instant::now(), stop };
        let node = Node::builder().layout(Layout::Bridge).build()?;
        progress.done(&format!(
            "node {}: bridge {}, uplink {}, IPv4 and IPv6",
            node.name(),
            node.bridge(),
            node.uplink()
        ))?;

        let web = deployment(&node, "shop", "web", "x7k2p")?;
        let api = deployment(&node, "shop", "api", "m4tq8")?;
        let db = member(&node, "StatefulSet", "shop", "db", "0")?;
        let dns = deployment(&node, "kube-system", "coredns", "9vzlr")?;
        let resolver = member(&node, "StatefulSet", "infra", "resolver", "0")?;
        let agent = member(&node, "DaemonSet", "monitoring", "agent", "h8w5c")?;
        progress.done(&format!(
            "{} pods: shop/web, shop/api, shop/db, kube-system/coredns, infra/resolver, monitoring/agent",
            node.pods().len()
        ))?;

        let db_service = node.add_service(Service::new("shop", "db").tcp("sql", DB_PORT, DB_PORT))?;
        node.add_service(Service::new("shop", "api").tcp("http", 80, API_PORT))?;
        let kube_dns = Service::new("kube-system", "kube-dns").select("app", "coredns").number(DNS_NUMBER);
        let dns_service = node.add_service(kube_dns.udp("dns", 53, 53).tcp("dns-tcp", 53, 53))?;
        node.program_services()?;
        progress.done("Services shop/db, shop/api and kube-system/kube-dns, in iptables as kube-proxy writes them")?;

        let servers = vec![
            api.tcp_echo(API_PORT)?,
            db.tcp_echo(DB_PORT)?,
            node.tcp_echo(KUBELET_PORT)?,
            resolver.udp_silent(53)?,
        ];
        let dns_server = DnsServer::start(&node, &dns, "")?;
        let api_server = ApiServer::start(&node)?;
        progress.done("servers in the pods, a real DNS server (Knot), an API server that knows them all")?;

        let daemon = Daemon::builder(netobs)
            .kubeconfig(api_server.kubeconfig())
            .arg("--dns-timeout-ms")
            .arg(DNS_TIMEOUT.as_millis().to_string())
            .start(&node)?;
        progress.done("netobs is ready: its programs are in the kernel, it knows the pods")?;
        Ok(Self {
            daemon,
            _api_server: api_server,
            _dns_server: dns_server,
            _servers: servers,
            web,
            api,
            db,
            dns,
            resolver,
            agent,
            db_service,
            dns_service,
            node,
        })
    }
}

/// A pod of a Deployment, named as its `ReplicaSet` names pods.
fn deployment(node: &Node, namespace: &str, name: &str, suffix: &str) -> Result<Arc<Pod>> {
    let workload = Workload::deployment(namespace, name);
    let set = workload.owner().context("the owner of a Deployment's pod")?.name.clone();
    node.add_pod(PodSpec::new(namespace, format!("{set}-{suffix}")).deployment(name))
}

/// A pod of a workload that owns its pods itself.
fn member(node: &Node, kind: &str, namespace: &str, name: &str, suffix: &str) -> Result<Arc<Pod>> {
    let workload = Workload::direct(kind, namespace, name);
    node.add_pod(PodSpec::new(namespace, format!("{name}-{suffix}")).workload(workload).label("app", name))
}

/// Says how long each step took; between steps looks whether to go on.
struct Progress<'a> {
    since: Instant,
    stop: &'a Stop,
}

impl Progress<'_> {
    fn done(&mut self, text: &str) -> Result<()> {
        self.stop.check()?;
        screen::step(text, self.since.elapsed());
        self.since = Instant::now();
        Ok(())
    }
}
