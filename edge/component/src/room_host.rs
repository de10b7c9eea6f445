//! Requests to where objects are: in this process, or at a room host, signed.

use std::cell::Cell;
use std::future::Future;
use std::time::Duration;

use edge_core::auth::internal as signature;
use edge_core::error::Failure;
use edge_core::internal;
use edge_core::settings::RoomHost;
use futures::future::{Either, select};
use spin_sdk::http::body::IncomingBodyExt;
use spin_sdk::http::{FullBody, HeaderMap, Request, send};
use wire::{ErrorCode, Timestamp};

const OBJECTS_INTERNAL: &str = "http://objects.internal";

/// A room host answers its own calls within 10 s.
pub(crate) const ANSWER_WAIT: Duration = Duration::from_secs(12);
/// A polling GET is held for 25 s.
pub(crate) const POLL_WAIT: Duration = Duration::from_secs(60);

/// What the operator must look at. Requests that needed the room host are answered with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    Unreachable,
    Silent,
    Foreign,
    Refused,
    NoKey,
}

impl Trouble {
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::Unreachable => "the room host cannot be reached: check room_host_url, and whether it runs",
            Self::Silent => "the room host at room_host_url does not answer in time",
            Self::Foreign => "what answers at room_host_url is no room host of ChatCall",
            Self::Refused => {
                "the room host refuses our signature: room_host_key here and ROOM_HOST_KEY there must be the same, and the clocks too"
            }
            Self::NoKey => "the room host has no key: set ROOM_HOST_KEY there to the same value as room_host_key here",
        }
    }
}

thread_local!(static TOLD: Cell<Option<Trouble>> = const { Cell::new(None) });

/// One line for each change, not for each request.
fn tell(trouble: Option<Trouble>) {
    if TOLD.replace(trouble) != trouble
        && let Some(trouble) = trouble
    {
        eprintln!("{}", trouble.sentence());
    }
}

/// Status, headers and whole body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Asks the host of this component; `path` is `/<kind>/<name>` or `/people/batch`.
pub(crate) async fn ask_here(path: &str, body: Vec<u8>) -> Option<Answer> {
    let request = Request::post(format!("{OBJECTS_INTERNAL}{path}")).header("content-type", "application/json");
    exchange(request.body(FullBody::new(bytes::Bytes::from(body))).ok()?).await
}

/// Asks the room host; `path` is one of [`internal`].
pub(crate) async fn ask(host: &RoomHost, path: &str, body: Vec<u8>, wait: Duration, now: Timestamp) -> Result<Answer, Trouble> {
    let outcome = ask_quietly(host, path, body, wait, now).await;
    tell(outcome.as_ref().err().copied());
    outcome
}

async fn ask_quietly(host: &RoomHost, path: &str, body: Vec<u8>, wait: Duration, now: Timestamp) -> Result<Answer, Trouble> {
    let request = Request::post(format!("{}{path}", host.url))
        .header("content-type", "application/octet-stream")
        .header(signature::TIME_HEADER, now.0.to_string())
        .header(signature::SIGNATURE_HEADER, signature::sign(host.key.as_bytes(), "POST", path, &body, now))
        .body(FullBody::new(bytes::Bytes::from(body)))
        .map_err(|_| Trouble::Unreachable)?;
    let answer = within(wait, exchange(request)).await.ok_or(Trouble::Silent)?.ok_or(Trouble::Unreachable)?;
    match answer.headers.get(internal::ANSWER_HEADER).map(|word| word.as_bytes()) {
        Some(word) if word == internal::ANSWERED.as_bytes() => Ok(answer),
        Some(_) if answer.status == Failure::new(ErrorCode::Unauthorized).status() => Err(Trouble::Refused),
        Some(_) => Err(Trouble::NoKey),
        None => Err(Trouble::Foreign),
    }
}

async fn exchange(request: Request<FullBody<bytes::Bytes>>) -> Option<Answer> {
    let response = send(request).await.ok()?;
    let (head, body) = response.into_parts();
    let body = body.bytes().await.ok()?.to_vec();
    Some(Answer { status: head.status.as_u16(), headers: head.headers, body })
}

async fn within<T>(wait: Duration, work: impl Future<Output = T>) -> Option<T> {
    match select(std::pin::pin!(work), std::pin::pin!(spin_sdk::time::sleep(wait))).await {
        Either::Left((done, _)) => Some(done),
        Either::Right(_) => None,
    }
}
