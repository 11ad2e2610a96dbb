//! Each check meets something wrong and has to refuse it: a check that cannot fail checks nothing.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};

use super::checkov::{Accepted, Findings};
use super::lint::KUBERNETES;
use super::{Deploy, chart, checkov, image, lint, unit};

/// A `PodMonitor` with nothing said of certificates.
const MONITORED: &str = "metrics.network.enabled=true,metrics.podMonitor.enabled=true";

/// Values that `values.schema.json` or a template refuses, and a part of what is said.
const VALUES: [(&[&str], &str); 16] = [
    (&["--set", "watchAllpods=true"], "watchAllpods"),
    (&["--set", "metrics.network.enable=true"], "enable"),
    (&["--set-string", "watchAllPods=yes"], "watchAllPods"),
    (&["--set", "profile=privileged"], "profile"),
    (&["--set", "ringKib=100"], "ringKib"),
    (&["--set", "dnsPorts={1,2,3,4,5}"], "dnsPorts"),
    (&["--set", "drainMs=1"], "drainMs"),
    (&["--set", "image.digest=sha256:12"], "digest"),
    (&["--set", "serviceAccount.create=false"], "serviceAccount.name is needed"),
    (&["--set", "metrics.podMonitor.enabled=true"], "needs metrics.network.enabled"),
    (&["--set", MONITORED], "needs metrics.network.tlsSecret"),
    (&["--set", MONITORED, "--set", "metrics.network.tlsSecret=t"], "serverName is needed"),
    (
        &[
            "--set",
            MONITORED,
            "--set-json",
            r#"metrics.podMonitor.tlsConfig={"insecureSkipVerify":true,"serverName":"n"}"#,
        ],
        "give either",
    ),
    (
        &[
            "--set-json",
            r#"metrics.podMonitor.tlsConfig.ca={"secret":{"name":"a","key":"b"},"configMap":{"name":"a","key":"b"}}"#,
        ],
        "/metrics/podMonitor/tlsConfig/ca",
    ),
    (&["--set", "metrics.podMonitor.tlsConfig.ca.secret.name=a"], "/metrics/podMonitor/tlsConfig/ca/secret"),
    (&["--set-string", "metrics.podMonitor.tlsConfig.insecureSkipVerify=yes"], "insecureSkipVerify"),
];

/// Weaknesses for checkov: the file, what is replaced in the default manifests by what, and the check that has to fail.
const WEAK: [(&str, &str, &str, &str); 3] = [
    ("privileged", "privileged: false", "privileged: true", "CKV_K8S_16"),
    ("unconfined", "type: RuntimeDefault", "type: Unconfined", "CKV_K8S_31"),
    ("writable", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "CKV_K8S_22"),
];
/// A weak build file, and the check that has to fail.
const WEAK_IMAGE: (&str, &str, &str) = ("Dockerfile.sudo", "FROM debian:13\nRUN sudo true\n", "CKV2_DOCKER_1");

/// Writes what checkov has to refuse.
pub fn spoil(deploy: &Deploy<'_>) -> Result<Vec<PathBuf>> {
    let good = chart::render(deploy, &[])?;
    let manifests = WEAK.iter().map(|(name, from, to, _)| {
        ensure!(good.contains(from), "the default manifests have no {from:?} to spoil");
        write(deploy, &format!("{name}.yaml"), &good.replace(from, to))
    });
    manifests.chain([write(deploy, WEAK_IMAGE.0, WEAK_IMAGE.1)]).collect()
}

/// Runs all of them; of checkov's findings (in the files of [`spoil`]) only the judgement is left.
pub fn check(deploy: &Deploy<'_>, accepted: &[Accepted<'_>], findings: &Findings) -> Result<()> {
    for (arguments, said) in VALUES {
        expect(chart::render(deploy, arguments), said, &format!("helm template {}", arguments.join(" ")))?;
    }
    let good = chart::render(deploy, &[])?;
    let misspelt = write(deploy, "misspelt.yaml", &good.replace("hostPID:", "hostPid:"))?;
    for version in KUBERNETES {
        let result = lint::kubernetes(deploy, version, &[&misspelt]).map(drop);
        expect(result, "hostPid", &format!("an unknown field in Kubernetes {version}"))?;
    }
    // A field that came with 1.30: the two versions are really two.
    let newer = chart::render(deploy, &["--set", "appArmorProfile.type=Unconfined"])?;
    let newer = write(deploy, "newer.yaml", &newer)?;
    lint::kubernetes(deploy, KUBERNETES[1], &[&newer])?;
    expect(lint::kubernetes(deploy, KUBERNETES[0], &[&newer]), "appArmorProfile", "a field that is too new")?;

    for (file, id) in WEAK.iter().map(|(file, _, _, id)| (*file, *id)).chain([(WEAK_IMAGE.0, WEAK_IMAGE.2)]) {
        expect(checkov::judge(accepted, findings, file), id, &format!("checkov's {file}"))?;
    }
    let twice = write(deploy, "twice.yaml", "a: 1\na: 2\n")?;
    expect(lint::yaml(deploy, &[&twice]), "duplication", "a key given twice")?;
    let latest = write(deploy, "Dockerfile.latest", "FROM debian:latest\n")?;
    expect(image::lint(deploy, &latest), "DL3007", "an image without a version")?;
    let text = deploy.read(unit::FILE)?.replace("ProtectSystem=", "ProtectSysten=");
    expect(unit::verify(&unit::write(deploy, "misspelt.service", &text)?), "ProtectSysten", "an unknown directive")
}

fn write(deploy: &Deploy<'_>, name: &str, text: &str) -> Result<PathBuf> {
    let path = deploy.rendered.join(name);
    fs::write(&path, text)?;
    Ok(path)
}

/// The check has to fail, and to say why.
fn expect<T>(result: Result<T>, said: &str, what: &str) -> Result<()> {
    let Err(error) = result else { bail!("{what}: should have been refused") };
    let text = format!("{error:#}");
    ensure!(text.contains(said), "{what}: refused, but without a word of {said:?}:\n{text}");
    Ok(())
}
