//! Services as iptables rules, in the shape kube-proxy's iptables mode gives them (seen in recordings of v1.36):
//! KUBE-SERVICES, KUBE-SVC-…, KUBE-SEP-… with their comments, REJECT for a port without endpoints, KUBE-FORWARD.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

use crate::pod::Pod;
use crate::service::{Service, ServicePort};

/// One address family's rules, as input for `iptables-restore --noflush`.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// The text.
    pub(crate) text: String,
    /// Chains that exist once the text is loaded and belong to single services.
    pub(crate) chains: BTreeSet<String>,
}

/// The rules of one family. `before` are the service chains of the last time, `None` the first time: then the jumps
/// from the built-in chains are made as well.
pub(crate) fn table(ipv6: bool, services: &[Service], pods: &[Arc<Pod>], before: Option<&BTreeSet<String>>) -> Table {
    let mut rules = Rules { ipv6, ..Rules::default() };
    for service in services {
        for port in &service.ports {
            rules.add(service, port, pods);
        }
    }
    rules.render(before)
}

#[derive(Default)]
struct Rules {
    ipv6: bool,
    chains: BTreeSet<String>,
    reject: String,
    nat: String,
}

impl Rules {
    fn host(&self, address: IpAddr) -> String {
        format!("{address}/{}", if self.ipv6 { 128 } else { 32 })
    }

    fn add(&mut self, service: &Service, port: &ServicePort, pods: &[Arc<Pod>]) {
        let ipv6 = self.ipv6;
        let Some(cluster) = service.cluster_ips().into_iter().find(|ip| ip.is_ipv6() == ipv6) else { return };
        let name = format!("{}/{}:{}", service.namespace, service.name, port.name);
        let protocol = port.protocol.name().to_lowercase();
        let to = format!("-d {} -p {protocol} -m comment --comment", self.host(cluster));
        let dport = format!("-m {protocol} --dport {}", port.port);
        let backends: Vec<IpAddr> = service
            .endpoints(pods)
            .into_iter()
            .filter(|pod| pod.ready())
            .flat_map(|pod| pod.ips())
            .filter(|ip| ip.is_ipv6() == ipv6)
            .collect();
        if backends.is_empty() {
            let with = if ipv6 { "icmp6-port-unreachable" } else { "icmp-port-unreachable" };
            line(
                &mut self.reject,
                format_args!(
                    "-A KUBE-SERVICES {to} \"{name} has no endpoints\" {dport} -j REJECT --reject-with {with}"
                ),
            );
            return;
        }
        let chain = chain_name("KUBE-SVC", &format!("{name}{protocol}"));
        line(&mut self.nat, format_args!("-A KUBE-SERVICES {to} \"{name} cluster IP\" {dport} -j {chain}"));
        for (index, ip) in backends.iter().enumerate() {
            let end = std::net::SocketAddr::new(*ip, port.target);
            let endpoint = chain_name("KUBE-SEP", &format!("{name}{protocol}{end}"));
            let left = backends.len() - index;
            // Each endpoint takes its share of what those before it left over; the last takes all.
            #[expect(clippy::cast_precision_loss, reason = "a handful of endpoints")]
            let share = if left > 1 {
                format!(" -m statistic --mode random --probability {:.10}", 1.0 / left as f64)
            } else {
                String::new()
            };
            line(
                &mut self.nat,
                format_args!("-A {chain} -m comment --comment \"{name} -> {end}\"{share} -j {endpoint}"),
            );
            // A pod that reaches itself through the service must see the node's address as source.
            let itself = self.host(*ip);
            line(
                &mut self.nat,
                format_args!("-A {endpoint} -s {itself} -m comment --comment \"{name}\" -j KUBE-MARK-MASQ"),
            );
            line(
                &mut self.nat,
                format_args!(
                    "-A {endpoint} -p {protocol} -m comment --comment \"{name}\" -m {protocol} \
                     -j DNAT --to-destination {end}"
                ),
            );
            self.chains.insert(endpoint);
        }
        self.chains.insert(chain);
    }

    fn render(self, before: Option<&BTreeSet<String>>) -> Table {
        let mut text = String::from("*filter\n");
        for chain in ["KUBE-SERVICES", "KUBE-FORWARD"] {
            line(&mut text, format_args!(":{chain} - [0:0]"));
        }
        if before.is_none() {
            text.push_str(FILTER_JUMPS);
        }
        text.push_str(FILTER_RULES);
        text.push_str(&self.reject);
        text.push_str("COMMIT\n*nat\n");
        for chain in ["KUBE-SERVICES", "KUBE-POSTROUTING", "KUBE-MARK-MASQ"] {
            line(&mut text, format_args!(":{chain} - [0:0]"));
        }
        let stale: BTreeSet<_> = before.into_iter().flatten().filter(|c| !self.chains.contains(*c)).collect();
        for chain in self.chains.iter().chain(stale.iter().copied()) {
            line(&mut text, format_args!(":{chain} - [0:0]"));
        }
        if before.is_none() {
            text.push_str(NAT_JUMPS);
        }
        text.push_str(NAT_RULES);
        text.push_str(&self.nat);
        for chain in stale {
            line(&mut text, format_args!("-X {chain}"));
        }
        text.push_str("COMMIT\n");
        Table { text, chains: self.chains }
    }
}

const FILTER_JUMPS: &str = r#"-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m conntrack --ctstate NEW -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
"#;

const FILTER_RULES: &str = r#"-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding rules" -m mark --mark 0x4000/0x4000 -j ACCEPT
-A KUBE-FORWARD -m comment --comment "kubernetes forwarding conntrack rule" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
"#;

const NAT_JUMPS: &str = r#"-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
"#;

const NAT_RULES: &str = r#"-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
"#;

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{arguments}");
}

/// `PREFIX-` and 16 characters of base 32 over a hash of the name. kube-proxy hashes with SHA-256; only the form and
/// the uniqueness matter here, so it is FNV-1a with a finishing mix.
fn chain_name(prefix: &str, text: &str) -> String {
    let mut hash = text.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    });
    hash ^= hash >> 61;
    let digits = (0..16).map(|index| {
        let digit = (hash >> (index * 5)) as usize & 31;
        char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[digit])
    });
    format!("{prefix}-{}", digits.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AddressPlan;

    fn service() -> Service {
        let mut service = Service::new("shop", "web").tcp("http", 80, 8080).number(20);
        service.locate(AddressPlan::new(0));
        service
    }

    #[test]
    fn a_port_without_endpoints_is_rejected_with_kube_proxys_comment() {
        let rules = table(false, &[service()], &[], None);
        assert!(
            rules.text.contains(
                "-A KUBE-SERVICES -d 10.64.255.20/32 -p tcp -m comment --comment \"shop/web:http has no endpoints\" \
                 -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable"
            ),
            "{}",
            rules.text
        );
        assert!(rules.chains.is_empty());
        assert!(table(true, &[service()], &[], None).text.contains("-d fd00:40:0:ff::14/128"));
    }

    #[test]
    fn jumps_are_made_once_and_stale_chains_go() {
        let before = BTreeSet::from(["KUBE-SVC-AAAAAAAAAAAAAAAA".to_owned()]);
        let rules = table(false, &[service()], &[], Some(&before));
        assert!(!rules.text.contains("-A FORWARD"));
        assert!(rules.text.contains("-X KUBE-SVC-AAAAAAAAAAAAAAAA"));
    }

    #[test]
    fn chain_names_are_as_long_as_kube_proxys() {
        let name = chain_name("KUBE-SVC", "shop/web:http");
        assert_eq!(name.len(), "KUBE-SVC-TG4Y7II5EGIOXNPD".len());
        assert_ne!(name, chain_name("KUBE-SVC", "shop/web:https"));
    }
}
