//! Engine.IO polling: requests become inputs of a gateway, which answers them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use edge_core::limits;
use edge_core::object::RequestHead;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tokio::sync::oneshot;

use super::{Body, BodyError, ECHO_BYTES, Frontend, read_body, text};
use crate::objects::{Event, Objects, PollAnswer};

/// Gateways answer well before that; a request must not hang for ever when one does not.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// The Engine.IO packet that ends a session.
const CLOSE_PACKET: &[u8] = b"1";

/// Sessions whose POST is being read. A gateway sees whole bodies, so only the host can see two at once.
#[derive(Debug, Default)]
pub struct Posts(Mutex<HashSet<Box<str>>>);

impl Posts {
    /// Notes a POST of the session; `None` when another one is being read.
    fn begin(&self, sid: &str) -> Option<Post<'_>> {
        let sid: Box<str> = sid.into();
        let first = self.open().insert(sid.clone());
        // Built only now: a `Post` that is dropped takes the lock, and forgets a POST that is not its own.
        first.then(|| Post { posts: self, sid })
    }

    fn open(&self) -> std::sync::MutexGuard<'_, HashSet<Box<str>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A POST that is being read.
struct Post<'a> {
    posts: &'a Posts,
    sid: Box<str>,
}

impl Drop for Post<'_> {
    fn drop(&mut self) {
        self.posts.open().remove(&self.sid);
    }
}

/// Tells the gateway when the client has given up.
struct Abort<'a> {
    objects: &'a Objects,
    gateway: Option<Arc<str>>,
    request: u64,
}

impl Drop for Abort<'_> {
    fn drop(&mut self) {
        if let Some(gateway) = self.gateway.take() {
            let shard = self.objects.shard_of(&gateway);
            self.objects.send(shard, Event::PollAborted { gateway, request: self.request });
        }
    }
}

pub(super) async fn answer(frontend: &Frontend, request: Request<Incoming>, gateway: Arc<str>, head: RequestHead) -> Response<Body> {
    let sid = head.query.split('&').find_map(|pair| pair.strip_prefix("sid=")).filter(|_| request.method() == Method::POST);
    let post = match sid.map(|sid| frontend.posts.begin(sid)) {
        Some(None) => {
            end_session(frontend, gateway, head);
            return text(StatusCode::BAD_REQUEST, "two requests at once");
        }
        Some(post) => post,
        None => None,
    };
    let limit = if frontend.echo { ECHO_BYTES } else { limits::MAX_PAYLOAD_BYTES };
    let body = match read_body(request.into_body(), limit).await {
        Ok(body) => body.to_vec(),
        Err(BodyError::TooLarge) => return text(StatusCode::PAYLOAD_TOO_LARGE, "payload too large"),
        Err(BodyError::TooSlow) => return text(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"),
        Err(BodyError::Broken) => return text(StatusCode::BAD_REQUEST, "the body is not readable"),
    };
    drop(post);
    ask(frontend, gateway, head, body).await
}

/// Gives a whole request to its gateway and waits for the answer.
pub(super) async fn ask(frontend: &Frontend, gateway: Arc<str>, head: RequestHead, body: Vec<u8>) -> Response<Body> {
    let objects = &*frontend.objects;
    let get = head.method == Method::GET.as_str();
    let id = objects.request_id();
    let (tell, answer) = oneshot::channel();
    let event = Event::Poll { gateway: gateway.clone(), request: id, get, head, body, answer: tell };
    objects.send(objects.shard_of(&gateway), event);
    let mut abort = Abort { objects, gateway: Some(gateway), request: id };
    match tokio::time::timeout(ANSWER_WAIT, answer).await {
        Ok(Ok(answer)) => {
            abort.gateway = None;
            response(answer)
        }
        _ => text(StatusCode::SERVICE_UNAVAILABLE, "service unavailable"),
    }
}

/// Two POSTs of one session at once break the protocol: it ends, as if the client had closed it.
fn end_session(frontend: &Frontend, gateway: Arc<str>, head: RequestHead) {
    let objects = &*frontend.objects;
    // Nobody waits for the answer.
    let (answer, _) = oneshot::channel();
    let shard = objects.shard_of(&gateway);
    objects.send(shard, Event::Poll { gateway, request: objects.request_id(), get: false, head, body: CLOSE_PACKET.to_vec(), answer });
}

fn response(answer: PollAnswer) -> Response<Body> {
    let mut response = Response::new(Full::new(Bytes::from(answer.body)).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in answer.headers {
        let pair = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(value.as_bytes()));
        if let (Ok(name), Ok(value)) = pair {
            response.headers_mut().append(name, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::Posts;

    #[test]
    fn a_second_post_is_seen_while_the_first_is_read() {
        let posts = Posts::default();
        let first = posts.begin("a");
        assert!(first.is_some());
        assert!(posts.begin("a").is_none() && posts.begin("a").is_none());
        assert!(posts.begin("b").is_some());
        drop(first);
        assert!(posts.begin("a").is_some());
    }
}
