//! One request to the daemon.

use std::fmt::Write;

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::client::server::Server;
use crate::http::problem::Problem;

/// Bytes of an answer that is read as a whole, at most.
const ANSWER_MAX: usize = 64 << 20;

/// Sends a GET request and returns the answer's head once it is there. An answer other than 200 is an error with the
/// problem's own words.
pub async fn get(server: &Server, path: &str, accept: &str) -> Result<Response<Incoming>> {
    let unreachable =
        || format!("cannot reach the daemon at {server}; is it running? (start it, or name it with --server)");
    let response = match server {
        Server::Tcp(address) => {
            let stream = TcpStream::connect(address).await.with_context(unreachable)?;
            request(stream, address, path, accept).await?
        }
        Server::Unix(socket) => {
            let stream = UnixStream::connect(socket).await.with_context(unreachable)?;
            request(stream, "localhost", path, accept).await?
        }
    };
    if response.status() == StatusCode::OK {
        return Ok(response);
    }
    let status = response.status();
    let body = read(response).await.unwrap_or_default();
    Err(match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => anyhow!("{}", problem.detail),
        Err(_) => anyhow!("{server} answered {status}; is it a netobs daemon?"),
    })
}

/// Reads an answer as a whole.
pub async fn read(response: Response<Incoming>) -> Result<Bytes> {
    let body = Limited::new(response.into_body(), ANSWER_MAX).collect().await;
    Ok(body.map_err(|error| anyhow!("the answer could not be read: {error}"))?.to_bytes())
}

async fn request<S>(stream: S, host: &str, path: &str, accept: &str) -> Result<Response<Incoming>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends when the request handle and the answer's body are gone; what goes wrong shows in the answer.
    tokio::spawn(connection);
    let request = Request::get(path).header(header::HOST, host).header(header::ACCEPT, accept);
    let request = request.body(Empty::<Bytes>::new()).context("the request could not be written")?;
    sender.send_request(request).await.context("the daemon closed the connection without an answer")
}

/// A path with parameters.
pub fn path_with<'a>(path: &str, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut text = path.to_owned();
    for (index, (name, value)) in pairs.into_iter().enumerate() {
        text.push(if index == 0 { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            // The unreserved characters of RFC 3986 section 2.3, and two that mean nothing in a query.
            if byte.is_ascii_alphanumeric() || b"-._~/:".contains(&byte) {
                text.push(char::from(byte));
            } else {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped() {
        assert_eq!(path_with("/x", []), "/x");
        let path = path_with("/x", [("since", "2026-01-01T00:00:00+01:00"), ("pod", "a&b=ü")]);
        assert_eq!(path, "/x?since=2026-01-01T00:00:00%2B01:00&pod=a%26b%3D%C3%BC");
    }
}
