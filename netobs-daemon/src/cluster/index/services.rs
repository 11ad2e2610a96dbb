//! Services by their own addresses.

use std::net::IpAddr;
use std::sync::Arc;

use super::cow::CowMap;
use crate::cluster::object::ServiceRecord;
use crate::event::observation::Service;

/// Services that can share one address at most.
const SERVICES_PER_IP: usize = 64;

/// A Service at one of its addresses.
#[derive(Debug)]
struct Named {
    plain: Arc<Service>,
    /// Protocol number, port, and the Service with that port's name.
    ports: Vec<(u8, u16, Arc<Service>)>,
}

#[derive(Clone, Debug)]
struct AtAddress {
    named: Arc<Named>,
    /// A cluster address, which no other object can have.
    own: bool,
}

/// Services by address. A clone is a cheap, immutable copy for readers.
#[derive(Clone, Debug, Default)]
pub(super) struct Services(CowMap<IpAddr, Vec<AtAddress>>);

impl Services {
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// The Service at an address. Several Services can share an external address; there, and at an address that is also
    /// a node's (`shared`), only a port tells whose it is.
    pub(super) fn find(&self, ip: IpAddr, protocol: u8, port: Option<u16>, shared: bool) -> Option<Arc<Service>> {
        let candidates = self.0.get(&ip)?;
        let mut at_port = candidates.iter().filter_map(|it| {
            it.named
                .ports
                .iter()
                .find(|(proto, number, _)| *proto == protocol && Some(*number) == port)
                .map(|hit| &hit.2)
        });
        match (at_port.next(), at_port.next()) {
            (Some(service), None) => return Some(service.clone()),
            // Two Services with the same external address and port: whose packet it is cannot be told.
            (Some(_), Some(_)) => return None,
            (None, _) => {}
        }
        match candidates.as_slice() {
            [only] if only.own || !shared => Some(only.named.plain.clone()),
            _ => None,
        }
    }

    /// Adds a Service at its addresses. Returns how many addresses had no room.
    pub(super) fn add(&mut self, record: &ServiceRecord) -> u64 {
        let name = |port_name: Option<String>| {
            Arc::new(Service { namespace: record.key.namespace.clone(), name: record.key.name.clone(), port_name })
        };
        let ports = record.ports.iter().map(|port| (port.protocol, port.port, name(port.name.clone()))).collect();
        let named = Arc::new(Named { plain: name(None), ports });
        let mut over_limit = 0;
        for (&ip, own) in addresses(record) {
            let there = self.0.entry(ip);
            if there.len() < SERVICES_PER_IP {
                there.push(AtAddress { named: named.clone(), own });
            } else {
                over_limit += 1;
            }
        }
        over_limit
    }

    /// Takes a Service away from the addresses it was added at.
    pub(super) fn remove(&mut self, record: &ServiceRecord) {
        for (ip, _) in addresses(record) {
            let Some(there) = self.0.get_mut(ip) else { continue };
            there.retain(|it| {
                (&it.named.plain.namespace, &it.named.plain.name) != (&record.key.namespace, &record.key.name)
            });
            if there.is_empty() {
                self.0.remove(ip);
            }
        }
    }
}

fn addresses(record: &ServiceRecord) -> impl Iterator<Item = (&IpAddr, bool)> {
    let external = record.external_ips.iter().filter(|ip| !record.cluster_ips.contains(ip));
    record.cluster_ips.iter().map(|ip| (ip, true)).chain(external.map(|ip| (ip, false)))
}
