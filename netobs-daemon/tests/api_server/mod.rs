//! A small API server that speaks list and watch from recordings, and misbehaves as a test tells it to.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use futures::StreamExt;
use serde_json::Value;

/// A request, as far as tests look at it.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub resource: String,
    pub watch: bool,
    pub streaming: bool,
    pub version: String,
    pub fields: String,
    pub agent: String,
    /// How many requests for this resource, of this sort (watch or not), came before.
    pub before: usize,
}

/// What to answer.
pub enum Reply {
    Json(u16, String),
    Text(u16, String),
    /// Watch events, then the stream stays open.
    Hold(String),
    /// Watch events, then an orderly end.
    End(String),
    /// Watch events (the last may be incomplete), then the connection breaks.
    Cut(String),
}

type Script = dyn Fn(&Asked) -> Reply + Send + Sync;

pub struct ApiServer {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Clone)]
struct Shared {
    asked: Arc<Mutex<Vec<Asked>>>,
    script: Arc<Script>,
}

impl ApiServer {
    pub async fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::serve(listener, script)
    }

    pub fn serve(listener: tokio::net::TcpListener, script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let shared = Shared { asked: asked.clone(), script: Arc::new(script) };
        let router = axum::Router::new().fallback(answer).with_state(shared);
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, asked, task }
    }

    pub fn asked(&self, resource: &str) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|it| it.resource == resource).cloned().collect()
    }

    pub fn kubeconfig(address: SocketAddr, directory: &std::path::Path) -> std::path::PathBuf {
        let path = directory.join("kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: 'http://{address}'}}}}]\n\
             contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{}}}}]\n"
        );
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    State(shared): State<Shared>,
    headers: HeaderMap,
    uri: Uri,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let get = |name: &str| query.get(name).cloned().unwrap_or_default();
    let segments: Vec<&str> = uri.path().split('/').collect();
    let at = segments.iter().position(|it| *it == "v1").unwrap_or(0) + 1;
    let resource = if segments.get(at) == Some(&"namespaces") { at + 2 } else { at };
    let mut asked = Asked {
        path: uri.path().to_owned(),
        resource: segments.get(resource).unwrap_or(&"").to_string(),
        watch: get("watch") == "true",
        streaming: get("sendInitialEvents") == "true",
        version: get("resourceVersion"),
        fields: get("fieldSelector"),
        agent: headers.get("user-agent").map_or(String::new(), |it| it.to_str().unwrap().to_owned()),
        before: 0,
    };
    {
        let mut all = shared.asked.lock().unwrap();
        let same = |it: &&Asked| (&it.resource, it.watch, &it.fields) == (&asked.resource, asked.watch, &asked.fields);
        asked.before = all.iter().filter(same).count();
        all.push(asked.clone());
    }
    let (status, kind, body) = match (shared.script)(&asked) {
        Reply::Json(status, text) => (status, "application/json", Body::from(text)),
        Reply::Text(status, text) => (status, "text/plain; charset=utf-8", Body::from(text)),
        Reply::End(text) => (200, "application/json", Body::from(text)),
        Reply::Hold(text) => {
            let first = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from(text))]);
            (200, "application/json", Body::from_stream(first.chain(futures::stream::pending())))
        }
        Reply::Cut(text) => {
            let pieces = [Ok(Bytes::from(text)), Err(std::io::Error::other("cut"))];
            // A pause lets the first piece reach the client before the connection breaks.
            let pieces = futures::stream::iter(pieces).then(|piece| async {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                piece
            });
            (200, "application/json", Body::from_stream(pieces))
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response.headers_mut().insert("content-type", kind.parse().unwrap());
    response
}

pub fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/kubernetes/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// The recorded list of a resource, cut down by the field selectors that the daemon uses.
pub fn list(asked: &Asked) -> Value {
    let mut list: Value = serde_json::from_str(&fixture(&format!("lists/{}.json", asked.resource))).unwrap();
    if let Some((field, value)) = asked.fields.split_once('=') {
        let pointer = format!("/{}", field.replace('.', "/"));
        list["items"].as_array_mut().unwrap().retain(|it| it.pointer(&pointer).is_some_and(|it| it == value));
    }
    list
}

/// The same as a streaming list, with its end bookmark.
pub fn streamed(asked: &Asked, end: bool) -> String {
    let mut text = String::new();
    for item in list(asked)["items"].as_array().unwrap() {
        text += &serde_json::json!({"type": "ADDED", "object": item}).to_string();
        text.push('\n');
    }
    if end {
        text += "{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"X\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"935\",\
                 \"annotations\":{\"k8s.io/initial-events-end\":\"true\"}},\"spec\":{\"containers\":null},\"status\":{}}}\n";
    }
    text
}

/// What a well-behaved server answers.
pub fn well(asked: &Asked) -> Reply {
    if asked.resource == "jobs" {
        let name = asked.path.rsplit('/').next().unwrap();
        let list: Value = serde_json::from_str(&fixture("lists/jobs.json")).unwrap();
        let job = list["items"].as_array().unwrap().iter().find(|it| it["metadata"]["name"] == name);
        return match job {
            Some(job) => Reply::Json(200, serde_json::json!({"metadata": job["metadata"]}).to_string()),
            None => Reply::Json(404, fixture("errors/404-unknown-group.txt")),
        };
    }
    match (asked.watch, asked.streaming) {
        (false, _) => Reply::Json(200, list(asked).to_string()),
        (true, true) => Reply::Hold(streamed(asked, true)),
        (true, false) => Reply::Hold(String::new()),
    }
}
