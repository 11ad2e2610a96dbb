//! A scraper: HTTP over TLS, from a node, by who trusts one certificate and no other.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use netobs_lab::Node;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Writes a certificate for 127.0.0.1 (`tls.crt`) and its key (`tls.key`) to the node's directory, and returns the former.
pub fn write_pair(node: &Node) -> CertificateDer<'static> {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(node.directory().join("tls.crt"), certificate.pem()).unwrap();
    std::fs::write(node.directory().join("tls.key"), key.serialize_pem()).unwrap();
    certificate.der().clone()
}

/// A connection without TLS.
pub fn tcp(node: &Node, address: SocketAddr) -> TcpStream {
    let stream = node.run(move || TcpStream::connect_timeout(&address, Duration::from_secs(5))).unwrap().unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// A connection whose handshake is over.
pub fn tls(node: &Node, address: SocketAddr, trusted: &CertificateDer<'static>) -> std::io::Result<Tls> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_root_certificates(roots).with_no_client_auth());
    let connection = ClientConnection::new(config, ServerName::IpAddress(address.ip().into())).unwrap();
    let mut stream = StreamOwned::new(connection, tcp(node, address));
    stream.conn.complete_io(&mut stream.sock)?;
    Ok(stream)
}

/// Status, head and body of the answer to a GET.
pub fn get(mut stream: Tls, path: &str, token: Option<&str>) -> (u16, String, String) {
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: node-a\r\nConnection: close\r\n{token}\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").expect("a whole answer");
    (head[9..12].parse().unwrap(), head.to_owned(), body.to_owned())
}
