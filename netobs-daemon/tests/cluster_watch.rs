//! The cluster watch against an API server that behaves, and against one that does not.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod api_server;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api_server::{ApiServer, Asked, Reply, fixture, list, streamed, well};
use netobs_daemon::cluster::{ClusterHandle, Feed, MetadataSource, Phase, Tuning, spawn_with};
use netobs_daemon::resolve::{Directory, IpOwner};
use tokio_util::sync::CancellationToken;

const QUICK: Tuning = Tuning {
    initial_events: Duration::from_millis(300),
    answer: Duration::from_secs(5),
    watch: Duration::from_mins(1),
    too_short: Duration::from_millis(5),
    backoff_first: Duration::from_millis(20),
    backoff_cap: Duration::from_millis(100),
    lag: Duration::from_secs(2),
    publish: Duration::from_millis(5),
    poll: Duration::from_millis(20),
};

struct Running {
    handle: ClusterHandle,
    server: Option<ApiServer>,
    started: Instant,
    shutdown: CancellationToken,
    _directory: tempfile::TempDir,
}

impl Running {
    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap()
    }

    fn owner(&self, ip: &str) -> Option<String> {
        match self.handle.snapshot().ip_owner(ip.parse().unwrap(), self.now()) {
            IpOwner::Pod(pod, _) => {
                let workload = pod.workload.as_ref().map_or("-".into(), |it| format!("{} {}", it.kind, it.name));
                Some(format!("{}/{} {workload}", pod.namespace, pod.name))
            }
            IpOwner::Node(node) => Some(format!("node {node}")),
            IpOwner::Ambiguous => Some("ambiguous".into()),
            IpOwner::Unknown => None,
        }
    }

    fn asked(&self, resource: &str) -> Vec<Asked> {
        self.server.as_ref().unwrap().asked(resource)
    }

    fn phase(&self, feed: Feed) -> Phase {
        self.handle.state().feed(feed).unwrap().phase
    }

    fn lists(&self, feed: Feed) -> u64 {
        self.handle.state().feed(feed).unwrap().lists
    }

    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !condition(self) {
            assert!(Instant::now() < deadline, "not within 10 s: {what}; {:#?}", self.handle.state());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn synced(&self) {
        self.until("all feeds synced", |it| Feed::ALL.into_iter().all(|feed| it.phase(feed) == Phase::Synced)).await;
        assert!(self.handle.not_ready().is_empty());
    }

    async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(5), self.handle.stopped()).await.expect("all tasks end");
    }
}

async fn follow(address: SocketAddr, server: Option<ApiServer>) -> Running {
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = Some(ApiServer::kubeconfig(address, directory.path()));
    let source = MetadataSource::Api { kubeconfig, watch_all_pods: false };
    let started = Instant::now();
    let clock = Arc::new(move || u64::try_from(started.elapsed().as_nanos()).unwrap());
    let shutdown = CancellationToken::new();
    let handle = spawn_with(source, "node-a".into(), clock, shutdown.clone(), QUICK).await.unwrap();
    Running { handle, server, started, shutdown, _directory: directory }
}

async fn run(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Running {
    let server = ApiServer::start(script).await;
    follow(server.address, Some(server)).await
}

#[tokio::test]
async fn names_from_streaming_lists() {
    let it = run(well).await;
    it.synced().await;
    assert_eq!(it.owner("10.244.9.11").as_deref(), Some("shop/web-84c8466765-54cgb Deployment web"));
    assert_eq!(it.owner("10.244.2.10").as_deref(), Some("shop/api-79bb457fbf-6tzsn -"), "another node's, by its slice");
    assert_eq!(it.owner("172.18.0.3").as_deref(), Some("node node-b"));
    assert!(it.handle.snapshot().service("10.96.0.10".parse().unwrap(), 6, Some(80)).is_some());
    // The node's own pods only, and the pods in one streaming list.
    let asked = it.asked("pods");
    assert_eq!(asked.len(), 1);
    assert!(asked[0].streaming && asked[0].fields == "spec.nodeName=node-a", "{asked:?}");
    assert_eq!(asked[0].agent, concat!("netobs/", env!("CARGO_PKG_VERSION")));
    // A Job's pod: its CronJob was looked up.
    let uid = "abb7f5c8-";
    let pods = fixture("lists/pods.json");
    let at = pods.find(uid).unwrap();
    let uid = pods[at..at + 36].to_owned();
    it.until("the CronJob", |it| {
        let pod = it.handle.snapshot().pod_by_uid(&uid);
        pod.and_then(|pod| pod.workload.clone()).is_some_and(|it| it.kind == "CronJob" && it.name == "report")
    })
    .await;
    let state = it.handle.state();
    assert_eq!((state.owner_lookups, state.owner_lookup_failures), (3, 0));
    it.stop().await;
}

#[tokio::test]
async fn streaming_lists_refused() {
    let it = run(|asked| {
        if !asked.streaming {
            return well(asked);
        }
        Reply::Json(422, fixture("errors/422-sendinitialevents-without-match.json"))
    })
    .await;
    it.synced().await;
    assert_eq!(it.owner("10.244.9.11").as_deref(), Some("shop/web-84c8466765-54cgb Deployment web"));
    let asked = it.asked("services");
    let kinds: Vec<_> = asked.iter().map(|it| (it.watch, it.streaming, it.version.as_str())).collect();
    assert_eq!(kinds[..3], [(true, true, "0"), (false, false, "0"), (true, false, "934")]);
    it.stop().await;
}

#[tokio::test]
async fn streaming_lists_ignored_by_an_old_server() {
    let it = run(|asked| if asked.streaming { Reply::Hold(streamed(asked, false)) } else { well(asked) }).await;
    it.synced().await;
    assert_eq!(it.owner("10.244.2.10").as_deref(), Some("shop/api-79bb457fbf-6tzsn -"));
    assert!(it.asked("endpointslices").iter().any(|it| !it.watch), "it was listed");
    it.stop().await;
}

#[tokio::test]
async fn one_type_forbidden_leaves_the_others_alone() {
    let it = run(|asked| match asked.resource.as_str() {
        "services" => Reply::Json(403, fixture("errors/403-anonymous.json")),
        _ => well(asked),
    })
    .await;
    it.until("the verdict", |it| it.phase(Feed::Services) == Phase::Forbidden).await;
    it.until("the others", |it| {
        [Feed::Pods, Feed::EndpointSlices, Feed::Node, Feed::Nodes]
            .into_iter()
            .all(|feed| it.phase(feed) == Phase::Synced)
    })
    .await;
    assert!(it.handle.not_ready().is_empty());
    let state = it.handle.state();
    let error = state.feed(Feed::Services).unwrap().last_error.clone().unwrap();
    assert!(error.contains("cannot list resource") && error.contains("403"), "{error}");
    assert!(it.owner("10.244.9.11").is_some());
    it.stop().await;
}

#[tokio::test]
async fn too_many_requests_in_plain_text() {
    let it = run(|asked| match asked.before {
        0..3 => Reply::Text(429, fixture("errors/429-too-many-requests.txt")),
        _ => well(asked),
    })
    .await;
    it.synced().await;
    let state = it.handle.state();
    let pods = state.feed(Feed::Pods).unwrap();
    assert_eq!(pods.failures, 3);
    assert!(pods.last_error.as_ref().unwrap().contains("Too many requests"), "{pods:?}");
    assert!(it.asked("pods").iter().all(|it| it.streaming), "no reason to give streaming up");
    it.stop().await;
}

/// The first streaming list holds one pod too many; its version then is too old, in the answer or as an event.
async fn too_old(gone: fn() -> Reply) {
    let it = run(move |asked| match (asked.resource.as_str(), asked.before) {
        ("pods", 0) => {
            let mut extra = list(asked)["items"][0].clone();
            extra["metadata"]["name"] = "extra".into();
            extra["metadata"]["uid"] = "extra".into();
            extra["spec"]["hostNetwork"] = false.into();
            extra["status"]["podIPs"] = serde_json::json!([{"ip": "10.244.9.99"}]);
            extra["status"]["podIP"] = "10.244.9.99".into();
            let added = serde_json::json!({"type": "ADDED", "object": extra});
            // The end of the watch, after some time: the next one goes on from its version.
            Reply::Cut(format!("{added}\n{}", streamed(asked, true)))
        }
        ("pods", 1) => gone(),
        _ => well(asked),
    })
    .await;
    it.until("a second list", |it| it.lists(Feed::Pods) == 2).await;
    it.synced().await;
    assert_eq!(it.owner("10.244.9.99"), None);
    assert!(it.owner("10.244.9.11").is_some());
    let asked = it.asked("pods");
    let kinds: Vec<_> = asked.iter().map(|it| (it.streaming, it.version.as_str())).collect();
    assert_eq!(kinds, [(true, "0"), (false, "935"), (true, "0")]);
    it.stop().await;
}

#[tokio::test]
async fn a_version_too_old_as_an_event() {
    too_old(|| Reply::End(fixture("errors/410-watch-old-rv.jsonl"))).await;
}

#[tokio::test]
async fn a_version_too_old_as_a_status() {
    too_old(|| Reply::Json(410, fixture("errors/410-list-exact-rv-compacted.json"))).await;
}

#[tokio::test]
async fn a_connection_cut_in_mid_line_is_resumed() {
    let watch: Vec<String> = fixture("watch/pods.jsonl").lines().map(str::to_owned).collect();
    let it = run(move |asked| match (asked.resource.as_str(), asked.before) {
        // "reuse-1" gets its address; the line after it breaks off.
        ("pods", 0) => Reply::Cut(format!("{}{}\n{}\n{}", streamed(asked, true), watch[2], watch[3], &watch[4][..300])),
        ("pods", 1) => Reply::Hold(format!("{}\n", watch[7])),
        _ => well(asked),
    })
    .await;
    it.until("the pod after the cut", |it| it.owner("10.244.9.16").is_some()).await;
    assert_eq!(it.owner("10.244.2.77").as_deref(), Some("staging/reuse-1 -"));
    let asked = it.asked("pods");
    let version = fixture("watch/pods.jsonl").lines().nth(3).map(|line| {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        event["object"]["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
    });
    assert_eq!((asked.len(), Some(&asked[1].version)), (2, version.as_ref()), "from where it was, without a list");
    assert_eq!(it.lists(Feed::Pods), 1);
    assert_eq!(it.phase(Feed::Pods), Phase::Synced);
    it.stop().await;
}

#[tokio::test]
async fn an_object_that_cannot_be_decoded_costs_only_itself() {
    let watch: Vec<String> = fixture("watch/pods.jsonl").lines().map(str::to_owned).collect();
    let it = run(move |asked| match (asked.resource.as_str(), asked.streaming) {
        ("pods", true) => {
            let bad = r#"{"type":"ADDED","object":{"metadata":{"name":7}}}"#;
            Reply::Hold(format!("{bad}\n{}{bad}\n{}\n", streamed(asked, true), watch[7]))
        }
        _ => well(asked),
    })
    .await;
    it.until("the pod after it", |it| it.owner("10.244.9.16").is_some()).await;
    assert_eq!(it.handle.state().feed(Feed::Pods).unwrap().undecodable, 2);
    it.stop().await;
}

#[tokio::test]
async fn an_api_server_that_comes_late() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let it = follow(address, None).await;
    it.until("a reason", |it| {
        it.handle.not_ready().len() == 5 && it.handle.not_ready().iter().all(|reason| reason.contains("refused"))
    })
    .await;
    assert!(it.handle.snapshot().is_empty());
    let late = ApiServer::serve(tokio::net::TcpListener::bind(address).await.unwrap(), well);
    it.synced().await;
    assert!(it.owner("10.244.9.11").is_some());
    drop(late);
    it.stop().await;
}

async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_metadata_file_is_read_again_when_it_changes() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("names.json");
    std::fs::write(&path, fixture("lists/pods.json")).unwrap();
    let shutdown = CancellationToken::new();
    let source = MetadataSource::File(path.clone());
    let clock = Arc::new(|| 1_000_000_000_000);
    let handle = spawn_with(source, "node-a".into(), clock, shutdown.clone(), QUICK).await.unwrap();
    let named = || matches!(handle.snapshot().ip_owner("10.244.9.11".parse().unwrap(), 1), IpOwner::Pod(..));
    assert!(named(), "before spawn returns");
    assert!(handle.not_ready().is_empty());
    std::fs::write(&path, "{").unwrap();
    eventually("the error", || handle.state().feed(Feed::Pods).unwrap().phase == Phase::Stale).await;
    assert!(named(), "what was known stays");
    std::fs::write(&path, fixture("lists/nodes.json")).unwrap();
    eventually("the new contents", || handle.state().feed(Feed::Pods).unwrap().objects == 0).await;
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), handle.stopped()).await.unwrap();
}

#[tokio::test]
async fn sources_that_cannot_be_used_say_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("missing");
    for (source, expected) in [
        (MetadataSource::File(path.clone()), "metadata file "),
        (MetadataSource::Api { kubeconfig: Some(path), watch_all_pods: false }, "kubeconfig "),
    ] {
        let error = spawn_with(source, "n".into(), Arc::new(|| 0), CancellationToken::new(), QUICK).await.unwrap_err();
        assert!(error.to_string().starts_with(expected) && error.to_string().contains("missing"), "{error}");
    }
    let none =
        spawn_with(MetadataSource::None, "n".into(), Arc::new(|| 0), CancellationToken::new(), QUICK).await.unwrap();
    assert!(none.snapshot().is_empty() && none.not_ready().is_empty());
    assert_eq!(none.state().source, "none");
}
