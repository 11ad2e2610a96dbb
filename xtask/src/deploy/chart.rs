//! The chart, rendered with the values that users set.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::{Deploy, output};

/// A set of values.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// Name, for files and findings.
    pub name: &'static str,
    /// Arguments of `helm template`.
    pub arguments: &'static [&'static str],
}

/// What is rendered and checked.
pub const VARIANTS: [Variant; 7] = [
    Variant { name: "default", arguments: &[] },
    Variant { name: "all-pods", arguments: &["--set", "watchAllPods=true"] },
    Variant { name: "microk8s", arguments: &["--values", "chart/values-microk8s.yaml"] },
    Variant { name: "extended", arguments: &["--set", "profile=extended"] },
    Variant {
        name: "metrics",
        arguments: &[
            "--set",
            "namespace.create=true,metrics.network.enabled=true,metrics.network.tlsSecret=tls,metrics.podMonitor.enabled=true",
            "--set",
            "metrics.podMonitor.tlsConfig.serverName=netobs-metrics",
            "--set",
            "metrics.podMonitor.tlsConfig.ca.secret.name=tls,metrics.podMonitor.tlsConfig.ca.secret.key=ca.crt",
        ],
    },
    Variant {
        name: "metrics-unverified",
        arguments: &[
            "--set",
            "metrics.network.enabled=true,metrics.podMonitor.enabled=true",
            "--set",
            "metrics.podMonitor.tlsConfig.insecureSkipVerify=true",
        ],
    },
    Variant {
        name: "everything-set",
        arguments: &[
            "--set",
            "namespace.create=true,metrics.network.enabled=true,metrics.network.tlsSecret=tls,image.tag=x,log=debug",
            "--set",
            "metrics.network.address=::,seccompProfile.type=Unconfined,imagePullSecrets[0].name=s,extraEnv[0].name=A",
            "--set-json",
            r#"extraArgs=["--allow-host=netobs.example"],podAnnotations={"a":"b"},podLabels={"c":"d"},dnsPorts=[53,5353]"#,
            "--set-json",
            r#"serviceAccount.annotations={"e":"f"},affinity={"nodeAffinity":{}},updateStrategy={"maxUnavailable":1}"#,
        ],
    },
];

/// A rendered variant.
#[derive(Debug)]
pub struct Rendered {
    /// Its name.
    pub name: &'static str,
    /// The manifests.
    pub text: String,
    /// The file that holds them.
    pub path: PathBuf,
}

/// Renders the chart as release `netobs` in namespace `netobs`.
pub fn render(deploy: &Deploy<'_>, arguments: &[&str]) -> Result<String> {
    output(deploy.tool("helm").args(["template", "netobs", "chart", "--namespace", "netobs"]).args(arguments))
}

/// Renders every variant into a file of its own.
pub fn render_all(deploy: &Deploy<'_>) -> Result<Vec<Rendered>> {
    VARIANTS
        .iter()
        .map(|variant| {
            let text = render(deploy, variant.arguments).with_context(|| format!("values `{}`", variant.name))?;
            let path = deploy.rendered.join(variant.name).with_extension("yaml");
            fs::write(&path, &text).with_context(|| format!("could not write {}", path.display()))?;
            Ok(Rendered { name: variant.name, text, path })
        })
        .collect()
}
