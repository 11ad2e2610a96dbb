//! A node with a small application on it, as demo and tests like to start from.

use std::sync::Arc;

use anyhow::Result;

use crate::apiserver::ApiServer;
use crate::dns::DnsServer;
use crate::node::{Layout, Node};
use crate::pod::{Pod, PodSpec};
use crate::server::Server;
use crate::service::Service;

/// Port of the web pods.
const WEB_PORT: u16 = 8080;
/// Number of the cluster's DNS service, by convention.
const DNS_NUMBER: u8 = 10;

/// A shop: two web pods behind a Service, a database without Service, a client, the cluster's DNS (a real server) behind
/// its Service, kube-proxy-like rules and an API server that knows it all.
#[derive(Debug)]
pub struct Shop {
    // Fields drop in this order: the node last.
    servers: Vec<Server>,
    /// The DNS server in the pod `kube-system/coredns`.
    pub dns_server: DnsServer,
    /// The API server.
    pub api: ApiServer,
    /// `shop/web-0` and `shop/web-1` of the Deployment `web`; they echo TCP on port 8080.
    pub web: [Arc<Pod>; 2],
    /// `shop/db-0` of the `StatefulSet` `db`; it echoes TCP on port 5432.
    pub db: Arc<Pod>,
    /// `shop/checkout`, of the Deployment `checkout`: the one who makes connections.
    pub client: Arc<Pod>,
    /// `kube-system/coredns`.
    pub dns: Arc<Pod>,
    /// Service `shop/web`: port `http`, 80 to 8080.
    pub web_service: Service,
    /// Service `kube-system/kube-dns`: ports `dns` and `dns-tcp`.
    pub dns_service: Service,
    /// The node.
    pub node: Node,
}

impl Shop {
    /// Why no shop can be set up here, `None` if one can.
    pub fn unavailable() -> Option<String> {
        crate::unavailable().or_else(|| crate::missing(&[("knotd", "knot"), ("dig", "bind9-dnsutils")]))
    }

    /// Sets it up.
    pub fn start(layout: Layout) -> Result<Self> {
        Self::on(Node::builder().layout(layout).build()?)
    }

    /// Sets it up on a node without pods and services.
    pub fn on(node: Node) -> Result<Self> {
        let web = |name: &str| node.add_pod(PodSpec::new("shop", name).deployment("web"));
        let web = [web("web-0")?, web("web-1")?];
        let database = crate::Workload::direct("StatefulSet", "shop", "db");
        let db = node.add_pod(PodSpec::new("shop", "db-0").workload(database).label("app", "db"))?;
        let client = node.add_pod(PodSpec::new("shop", "checkout").deployment("checkout"))?;
        let dns = node.add_pod(PodSpec::new("kube-system", "coredns").deployment("coredns"))?;
        let web_service = node.add_service(Service::new("shop", "web").tcp("http", 80, WEB_PORT))?;
        let dns_service = Service::new("kube-system", "kube-dns").select("app", "coredns").number(DNS_NUMBER);
        let dns_service = node.add_service(dns_service.udp("dns", 53, 53).tcp("dns-tcp", 53, 53))?;
        node.program_services()?;
        let servers = vec![web[0].tcp_echo(WEB_PORT)?, web[1].tcp_echo(WEB_PORT)?, db.tcp_echo(5432)?];
        let dns_server = DnsServer::start(&node, &dns, "")?;
        let api = ApiServer::start(&node)?;
        Ok(Self { servers, dns_server, api, web, db, client, dns, web_service, dns_service, node })
    }

    /// Keeps a server running as long as the shop.
    pub fn keep(&mut self, server: Server) {
        self.servers.push(server);
    }
}
