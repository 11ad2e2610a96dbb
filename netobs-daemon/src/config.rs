//! Configuration of the daemon: the command line, validated before any port or program is touched.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cluster::MetadataSource;
use crate::flow::FlowLimits;
use crate::http::listen::ListenConfig;
use crate::http::scrape::ScrapeConfig;

/// Flags of `netobs run`.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    /// Address of the HTTP endpoint; `none` for the unix socket only.
    #[arg(long, env = "NETOBS_LISTEN", default_value = "127.0.0.1:7117", value_name = "ADDRESS")]
    listen: String,
    /// Path of the unix socket; `none` for TCP only.
    #[arg(long, env = "NETOBS_UNIX_SOCKET", default_value = "/run/netobs/netobs.sock", value_name = "PATH")]
    unix_socket: String,
    /// A name that the Host header may carry beside loopback ones.
    #[arg(long = "allow-host", value_name = "NAME")]
    allow_hosts: Vec<String>,
    /// Address at which Prometheus may scrape /metrics over the network, with TLS and a token of the cluster; `none`: not at
    /// all.
    #[arg(long, env = "NETOBS_METRICS_LISTEN", default_value = "none", value_name = "ADDRESS")]
    metrics_listen: String,
    /// Certificate chain of that listener, PEM; read again when it changes. Default: one that it makes for itself.
    #[arg(long, requires = "metrics_tls_key", value_name = "PATH")]
    metrics_tls_cert: Option<PathBuf>,
    /// Key of the certificate, PEM.
    #[arg(long, requires = "metrics_tls_cert", value_name = "PATH")]
    metrics_tls_key: Option<PathBuf>,
    /// Name of this node in the cluster; default: the host name.
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    node_name: Option<String>,
    /// Kubeconfig; default: KUBECONFIG, ~/.kube/config or the pod's service account, where there is one.
    #[arg(long, value_name = "PATH", conflicts_with = "metadata_file")]
    kubeconfig: Option<PathBuf>,
    /// Names from a file instead: the output of `kubectl get pods,services,nodes,endpointslices -A -o json`.
    #[arg(long, value_name = "PATH")]
    metadata_file: Option<PathBuf>,
    /// Ask no API server even where one is configured: no names.
    #[arg(long, conflicts_with_all = ["kubeconfig", "metadata_file"])]
    no_metadata: bool,
    /// Watch the pods of all nodes, to name more remote addresses. For small clusters.
    #[arg(long)]
    watch_all_pods: bool,
    /// Network namespaces whose drops are observed.
    #[arg(long, value_enum, default_value_t = ScopeChoice::Auto)]
    scope: ScopeChoice,
    /// How long a DNS answer is waited for, milliseconds.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u64).range(10..=60_000), value_name = "MS")]
    dns_timeout_ms: u64,
    /// UDP port of DNS servers; may be given up to four times.
    #[arg(long = "dns-port", default_values_t = [53], value_parser = clap::value_parser!(u16).range(1..), value_name = "PORT")]
    dns_ports: Vec<u16>,
    /// Memory of each family's ring, KiB; a power of two.
    #[arg(long, default_value_t = 2048, value_parser = ring_kib, value_name = "KIB")]
    ring_kib: u32,
    /// Drops with the same ends and reason that become events of their own in a second; further ones are counted and
    /// summed up.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    drop_burst: u64,
    /// Do without a feature of the kernel even where it works: for kernels where it misbehaves, and for tests. May be given
    /// several times, or several separated by commas.
    #[arg(long = "without", value_enum, value_delimiter = ',', value_name = "FEATURE")]
    without: Vec<Feature>,
    /// BTF of the running kernel from a file, for a kernel that shows none at /sys/kernel/btf/vmlinux. It must be that very
    /// kernel's: with another one's, what is read is wrong.
    #[arg(long, value_name = "PATH")]
    btf: Option<PathBuf>,
    /// Resets per second from one source below which nothing is told as a flood.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    flood_floor: u32,
    /// Write the kernel programs' own debug lines into the log.
    #[arg(long)]
    debug_programs: bool,
    /// How long the end may take after SIGTERM, milliseconds.
    #[arg(long, default_value_t = 5000, value_parser = clap::value_parser!(u64).range(100..=60_000), value_name = "MS")]
    drain_ms: u64,
}

impl RunArgs {
    /// What the log shows unless `NETOBS_LOG` says otherwise: the programs' debug lines only when they are asked for.
    pub fn log_filter(&self) -> &'static str {
        if self.debug_programs { "info,netobs_ebpf=debug" } else { "info" }
    }
}

/// Which network namespaces are observed for drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScopeChoice {
    /// `machine` when the daemon is in the machine's initial namespace, else `node`.
    Auto,
    /// All of the machine.
    Machine,
    /// The daemon's own, and those its links lead to.
    Node,
}

/// A feature of the kernel that the daemon can do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Feature {
    /// tcx links on interfaces; clsact filters are used instead.
    Tcx,
    /// Programs in netfilter's hooks; one where the kernel begins to walk through them is used instead, by the next two.
    Netfilter,
    /// fentry, for the hooks of netfilter.
    Fentry,
    /// Kprobes, likewise. Without any of the three, drops by netfilter are seen without their hook.
    Kprobe,
    /// BTF tracepoints and fentry; raw tracepoints are used instead.
    BtfTracepoint,
}

/// The configuration, whole and valid.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen.
    pub listen: ListenConfig,
    /// The metrics over the network, if wanted.
    pub scrape: Option<ScrapeConfig>,
    /// Node name, if given.
    pub node_name: Option<String>,
    /// Where names come from.
    pub metadata: MetadataSource,
    /// Observed namespaces.
    pub scope: ScopeChoice,
    /// Bounds of the flow table.
    pub flow: FlowLimits,
    /// DNS ports, unused entries repeat the first.
    pub dns_ports: [u16; 4],
    /// Bytes of each ring.
    pub ring_bytes: u32,
    /// Drops of a kind recorded whole in a second.
    pub drop_burst: u64,
    /// Features that are switched off.
    pub without: Vec<Feature>,
    /// The kernel's BTF, where it is not to be read from `/sys`.
    pub btf: Option<PathBuf>,
    /// Resets per second from one source below which nothing is a flood.
    pub flood_floor: f64,
    /// Programs' debug lines.
    pub debug_programs: bool,
    /// Deadline of the end.
    pub drain: Duration,
}

impl Config {
    /// Whether a feature may be used.
    pub fn wants(&self, feature: Feature) -> bool {
        !self.without.contains(&feature)
    }

    /// Whether files that were named are read again while the daemon runs.
    pub fn reads_files_again(&self) -> bool {
        let metadata = match &self.metadata {
            MetadataSource::Api { kubeconfig, .. } => kubeconfig.is_some(),
            MetadataSource::File(_) => true,
            MetadataSource::None => false,
        };
        metadata || self.scrape.as_ref().is_some_and(|scrape| scrape.files.is_some())
    }
}

/// The command line does not make sense.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The listen address.
    #[error("--listen: {0:?} is no address and port such as 127.0.0.1:7117, nor `none`")]
    Listen(String),
    /// The address of the metrics listener.
    #[error("--metrics-listen: {0:?} is no address and port such as 0.0.0.0:7118, nor `none`")]
    MetricsListen(String),
    /// Nobody could say who may read.
    #[error(
        "--metrics-listen: only the cluster can say who may read the metrics over the network, and {0}; leave the listener \
         out (the loopback address serves /metrics, too) or give a --kubeconfig"
    )]
    MetricsNobodyDecides(&'static str),
    /// A certificate for nothing.
    #[error("--metrics-tls-cert and --metrics-tls-key are for --metrics-listen, which is not given")]
    MetricsCertificate,
    /// Neither socket.
    #[error("--listen none and --unix-socket none leave nobody who could ask: give one of them")]
    Nowhere,
    /// Too many ports.
    #[error("--dns-port: at most four ports, {0} were given")]
    DnsPorts(usize),
}

impl TryFrom<RunArgs> for Config {
    type Error = ConfigError;

    fn try_from(args: RunArgs) -> Result<Self, ConfigError> {
        let tcp: Option<SocketAddr> = match args.listen.as_str() {
            "none" => None,
            text => Some(text.parse().map_err(|_| ConfigError::Listen(text.to_owned()))?),
        };
        let unix = (args.unix_socket != "none").then(|| PathBuf::from(&args.unix_socket));
        if tcp.is_none() && unix.is_none() {
            return Err(ConfigError::Nowhere);
        }
        if args.dns_ports.len() > 4 {
            return Err(ConfigError::DnsPorts(args.dns_ports.len()));
        }
        let first = args.dns_ports.first().copied().unwrap_or(53);
        let mut dns_ports = [first; 4];
        dns_ports[..args.dns_ports.len()].copy_from_slice(&args.dns_ports);
        let metadata = match (args.metadata_file, args.kubeconfig) {
            _ if args.no_metadata => MetadataSource::None,
            (Some(path), _) => MetadataSource::File(path),
            (None, Some(path)) => MetadataSource::Api { kubeconfig: Some(path), watch_all_pods: args.watch_all_pods },
            (None, None) => MetadataSource::detect(args.watch_all_pods),
        };
        let files = args.metrics_tls_cert.zip(args.metrics_tls_key);
        let scrape = scrape(&args.metrics_listen, files, &metadata)?;
        Ok(Self {
            listen: ListenConfig { tcp, unix, extra_hosts: args.allow_hosts },
            scrape,
            node_name: args.node_name,
            metadata,
            scope: args.scope,
            flow: FlowLimits { dns_timeout_ns: args.dns_timeout_ms * 1_000_000, ..FlowLimits::default() },
            dns_ports,
            ring_bytes: args.ring_kib * 1024,
            drop_burst: args.drop_burst,
            without: args.without,
            btf: args.btf,
            flood_floor: args.flood_floor.into(),
            debug_programs: args.debug_programs,
            drain: Duration::from_millis(args.drain_ms),
        })
    }
}

/// The listener for metrics, where one is wanted and somebody can decide who may read.
fn scrape(
    listen: &str,
    files: Option<(PathBuf, PathBuf)>,
    metadata: &MetadataSource,
) -> Result<Option<ScrapeConfig>, ConfigError> {
    if listen == "none" {
        return if files.is_some() { Err(ConfigError::MetricsCertificate) } else { Ok(None) };
    }
    let listen = listen.parse().map_err(|_| ConfigError::MetricsListen(listen.to_owned()))?;
    match metadata {
        MetadataSource::Api { kubeconfig, .. } => {
            Ok(Some(ScrapeConfig { listen, files, kubeconfig: kubeconfig.clone() }))
        }
        MetadataSource::File(_) => Err(ConfigError::MetricsNobodyDecides("names come from a file")),
        MetadataSource::None => {
            Err(ConfigError::MetricsNobodyDecides("there is no API server (--no-metadata, or none found)"))
        }
    }
}

/// A ring is a power of two of pages; 64 MiB is more than any node needs.
fn ring_kib(text: &str) -> Result<u32, String> {
    let kib: u32 = text.parse().map_err(|_| "a number of KiB".to_owned())?;
    if kib.is_power_of_two() && (4..=65_536).contains(&kib) {
        Ok(kib)
    } else {
        Err("a power of two from 4 to 65536".to_owned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        run: RunArgs,
    }

    fn parse(arguments: &[&str]) -> Result<Config, String> {
        let cli = Cli::try_parse_from([&["netobs"], arguments].concat()).map_err(|error| error.to_string())?;
        Config::try_from(cli.run).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_valid() {
        let config = parse(&["--no-metadata"]).unwrap();
        assert_eq!(config.listen.tcp.unwrap().to_string(), "127.0.0.1:7117");
        assert_eq!(config.dns_ports, [53; 4]);
        assert_eq!(config.ring_bytes, 2 << 20);
    }

    #[test]
    fn features_are_switched_off_one_by_one() {
        for (arguments, wanted) in [
            (&["--no-metadata"][..], [true, true]),
            (&["--no-metadata", "--without", "tcx"], [false, true]),
            (&["--no-metadata", "--without", "netfilter,tcx"], [false, false]),
            (&["--no-metadata", "--without", "netfilter", "--without", "tcx"], [false, false]),
        ] {
            let config = parse(arguments).unwrap();
            assert_eq!(
                [Feature::Tcx, Feature::Netfilter].map(|feature| config.wants(feature)),
                wanted,
                "{arguments:?}"
            );
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (arguments, expected) in [
            (&["--listen", "here"][..], "--listen"),
            (&["--listen", "none", "--unix-socket", "none"], "leave nobody"),
            (&["--ring-kib", "100"], "power of two"),
            (&["--drop-burst", "0"], "drop-burst"),
            (&["--without", "tcx,colour"], "possible values: tcx, netfilter, fentry, kprobe, btf-tracepoint"),
            (&["--dns-port", "1", "--dns-port", "2", "--dns-port", "3", "--dns-port", "4", "--dns-port", "5"], "four"),
            (&["--no-metadata", "--metrics-listen", "here:x"], "0.0.0.0:7118"),
            (&["--no-metadata", "--metrics-listen", "0.0.0.0:7118"], "there is no API server"),
            (&["--metadata-file", "a", "--metrics-listen", "0.0.0.0:7118"], "names come from a file"),
            (&["--kubeconfig", "a", "--metrics-tls-cert", "a", "--metrics-tls-key", "b"], "for --metrics-listen"),
            (&["--metrics-listen", "0.0.0.0:7118", "--metrics-tls-cert", "a"], "--metrics-tls-key"),
            (&["--metadata-file", "a", "--kubeconfig", "b"], "cannot be used with"),
        ] {
            let error = parse(arguments).unwrap_err();
            assert!(error.contains(expected), "{arguments:?}: {error}");
        }
    }
}
