//! The command line against the real server.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::Parser;

use crate::client::observe::tail;
use crate::client::output::ignore_closed_pipe;
use crate::client::{ObserveArgs, StatusArgs, status};
use crate::http::StatusSource;
use crate::http::tests::{FixedStatus, Server, Setup};
use crate::pipeline::{Filter, Order, samples};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    Observe(ObserveArgs),
    Status(StatusArgs),
}

fn observe_args(arguments: &[&str], server: &str) -> ObserveArgs {
    let arguments = ["netobs", "observe", "--server", server].into_iter().chain(arguments.iter().copied());
    match Cli::try_parse_from(arguments).unwrap_or_else(|error| panic!("{error}")).command {
        Command::Observe(args) => args,
        Command::Status(_) => unreachable!(),
    }
}

async fn run(arguments: &[&str], server: &str) -> anyhow::Result<String> {
    let mut out = Vec::new();
    tail(&observe_args(arguments, server), &mut out, &mut io::sink()).await?;
    Ok(anstream::adapter::strip_str(&String::from_utf8(out)?).to_string())
}

/// Output that a test looks at while it is written.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    async fn wait_for(&self, text: &str) {
        for _ in 0..500 {
            if String::from_utf8_lossy(&self.0.lock().unwrap()).contains(text) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("no {text:?} in {:?}", String::from_utf8_lossy(&self.0.lock().unwrap()));
    }
}

#[tokio::test]
async fn shows_problems_and_with_all_the_rest() {
    let server = Server::start(Setup::default()).await;
    server.drops(1);
    server.publisher.publish(samples::dns("shop", "cart", false), samples::DNS, None, &[]);
    let (tcp, unix) = (format!("http://{}", server.address), format!("unix:{}", server.socket.display()));
    let problems = run(&["--no-follow"], &tcp).await.unwrap();
    assert!(problems.ends_with("DROP shop/cart -> data/db-0: NETFILTER_DROP\n"), "{problems}");
    assert_eq!(problems.lines().count(), 1);
    let all = run(&["--no-follow", "--all", "-n", "shop"], &unix).await.unwrap();
    assert!(all.contains("DNS  shop/cart asked for"), "{all}");
    assert_eq!(all.lines().count(), 2);
    let json = run(&["--no-follow", "-a", "-o", "json", "--last", "1"], &unix).await.unwrap();
    let page = server.publisher.store().query(&Filter::default(), Order::Newest, None, 1);
    assert_eq!(json.as_bytes(), page.frames[0].ndjson(), "unchanged");
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let server = Server::start(Setup::default()).await;
    let address = format!("http://{}", server.address);
    let error = |arguments: &'static [&'static str]| {
        let address = address.clone();
        async move { run(arguments, &address).await.unwrap_err().to_string() }
    };
    assert!(error(&["--kind", "x"]).await.starts_with("--kind \"x\" is wrong: expected drop, dns"));
    assert!(error(&["--until", "1m"]).await.contains("--no-follow"));
    let nobody = run(&[], "http://127.0.0.1:1").await.unwrap_err();
    assert!(format!("{nobody:#}").contains("cannot reach the daemon at http://127.0.0.1:1"), "{nobody:#}");
    assert!(Cli::try_parse_from(["netobs", "observe", "--last", "1001"]).is_err());
    assert!(Cli::try_parse_from(["netobs", "observe", "--all", "--severity", "info"]).is_err());
    let parsed = Cli::try_parse_from(["netobs", "status", "--server", &address]).unwrap();
    let Command::Status(args) = parsed.command else { panic!("status") };
    status(&args).await.unwrap();
}

#[tokio::test]
async fn a_restart_is_survived_and_told() {
    let mut server = Server::start(Setup::default()).await;
    let (address, socket) = (server.address, server.socket.clone());
    let args = observe_args(&[], &format!("http://{address}"));
    let (out, notices) = (Shared::default(), Shared::default());
    let (mut task_out, mut task_notices) = (out.clone(), notices.clone());
    let task = tokio::spawn(async move { tail(&args, &mut task_out, &mut task_notices).await });
    while server.api.status().streams.clients == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.drops(1);
    out.wait_for("data/db-0").await;
    server.stop().await;
    notices.wait_for("lost the stream").await;
    let again = Server::start_at(Setup { epoch: 2, ..Setup::default() }, address, socket).await;
    again.publisher.publish(samples::drop("shop", "web", "NO_SOCKET"), samples::DROP, None, &[]);
    out.wait_for("shop/web").await;
    notices.wait_for("connected again, resuming after node-a.test.b0071d00.1.1").await;
    notices.wait_for("the daemon was started anew").await;
    task.abort();
}

#[tokio::test]
async fn a_closed_pipe_is_no_error() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let server = Server::start(Setup::default()).await;
    server.drops(1);
    let args = observe_args(&["--no-follow"], &format!("http://{}", server.address));
    let result = tail(&args, &mut Closed, &mut io::sink()).await;
    assert!(result.is_err());
    ignore_closed_pipe(result).unwrap();
}

#[tokio::test]
async fn the_status_as_tables() {
    let server = Server::start(Setup::default()).await;
    let text = crate::client::status::tables(&server.api.status());
    assert!(text.contains(&format!("kernel {}", FixedStatus.node_status().kernel)), "{text}");
    for row in ["netfilter FORWARD ipv4", "NO", "no netfilter links", "decoded = published", "balanced"] {
        assert!(text.contains(row), "{row}: {text}");
    }
}
