//! Requests of hosts without objects (Spin): objects, the people database, polling. All of them are signed with
//! `ROOM_HOST_KEY`, and nothing here is reachable without it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use edge_core::auth::internal as signature;
use edge_core::error::Failure;
use edge_core::internal::{ANSWER_HEADER, ANSWERED, Forwarded, PEOPLE_BATCH, PEOPLE_READ, PING, POLLING, REFUSED, callable};
use edge_core::limits;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use wire::{ErrorCode, Timestamp};

use super::{Body, BodyError, Frontend, full, let_pass, polling, read_body, text};
use crate::guest::{OwnServices, outbound};

/// Refusals are logged this often at most.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// What serves signed requests.
#[derive(Debug)]
pub struct Internal {
    /// None: every request is refused.
    key: Option<String>,
    services: Arc<OwnServices>,
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    last: Option<Instant>,
    kept_back: u64,
}

impl Internal {
    /// Takes requests signed with `key`.
    #[must_use]
    pub fn new(key: Option<String>, services: Arc<OwnServices>) -> Self {
        Self { key, services, told: Mutex::default() }
    }

    pub(super) async fn answer(&self, frontend: &Frontend, request: Request<Incoming>, address: &str) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let (mut response, word) = match self.verified(frontend, request, &path).await {
            Ok(body) => (self.serve(frontend, &path, body).await, ANSWERED),
            Err(refusal) => {
                self.tell(&refusal, address);
                (frontend.failure(&path, &refusal), REFUSED)
            }
        };
        response.headers_mut().insert(ANSWER_HEADER, HeaderValue::from_static(word));
        response
    }

    /// The body, if all of the request is signed with our key and fresh.
    async fn verified(&self, frontend: &Frontend, request: Request<Incoming>, path: &str) -> Result<Bytes, Failure> {
        let (head, body) = request.into_parts();
        let Some(key) = &self.key else {
            let_pass(body).await;
            let failure = Failure::new(ErrorCode::NodeUnavailable);
            return Err(failure.saying("ROOM_HOST_KEY is not set on this host: it takes no requests of other hosts"));
        };
        let unsigned = |why: &str| Failure::new(ErrorCode::Unauthorized).saying(&format!("this request is not signed with ROOM_HOST_KEY: {why}"));
        let Some((at, tag)) = signed(&head.headers) else {
            let_pass(body).await;
            return Err(unsigned("no signature"));
        };
        let stale = || unsigned("its time is more than 30 s from ours");
        let now = || Timestamp(frontend.clock.now_ms());
        // Before anything is computed for a stranger.
        if now().since(at).max(at.since(now())) > limits::INTERNAL_REQUEST_MS {
            let_pass(body).await;
            return Err(stale());
        }
        if head.uri.query().is_some() {
            let_pass(body).await;
            return Err(unsigned("a query is never signed"));
        }
        let body = read_body(body, limits::INTERNAL_BODY_BYTES).await.map_err(|error| match error {
            BodyError::TooLarge => Failure { limit: Some(limits::INTERNAL_BODY_BYTES as u64), ..Failure::new(ErrorCode::PayloadTooLarge) },
            BodyError::TooSlow | BodyError::Broken => Failure::invalid("body", "the body did not arrive"),
        })?;
        if !signature::verify(key.as_bytes(), head.method.as_str(), path, &body, at, tag, now()) {
            return Err(unsigned("another key, or another request"));
        }
        Ok(body)
    }

    async fn serve(&self, frontend: &Frontend, path: &str, body: Bytes) -> Response<Body> {
        let services = &*self.services;
        let (status, body) = match path {
            PING => (StatusCode::OK, b"{}".to_vec()),
            PEOPLE_READ => outbound::read(services, &body).await,
            PEOPLE_BATCH => outbound::batch(services, &body).await,
            POLLING => return poll(frontend, &body).await,
            _ => match callable(path) {
                Some(object) => outbound::call(services, object, body.into()).await,
                None => return frontend.failure(path, &Failure::new(ErrorCode::NotFound)),
            },
        };
        full(status, "application/json; charset=utf-8", Bytes::from(body))
    }

    fn tell(&self, refusal: &Failure, address: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.last.is_some_and(|last| last.elapsed() < TELL_EVERY) {
            told.kept_back += 1;
            return;
        }
        tracing::warn!(address, more = told.kept_back, "an internal request was refused: {}", refusal.sentence());
        *told = Told { last: Some(Instant::now()), kept_back: 0 };
    }
}

/// Time and signature, where both are there.
fn signed(headers: &HeaderMap) -> Option<(Timestamp, &str)> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    Some((Timestamp(text(signature::TIME_HEADER)?.parse().ok()?), text(signature::SIGNATURE_HEADER)?))
}

/// An Engine.IO request that another host took.
async fn poll(frontend: &Frontend, body: &[u8]) -> Response<Body> {
    let Some(Forwarded { head, body }) = Forwarded::from_bytes(body) else {
        return text(StatusCode::BAD_REQUEST, "not a forwarded request");
    };
    if body.len() > limits::MAX_PAYLOAD_BYTES {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "payload too large");
    }
    let gateway = frontend.objects.gateway_for(&head.query);
    polling::ask(frontend, gateway, head, body).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_has_a_time_and_a_tag() {
        let mut headers = HeaderMap::new();
        assert!(signed(&headers).is_none());
        headers.insert(signature::TIME_HEADER, HeaderValue::from_static("1772357400000"));
        assert!(signed(&headers).is_none());
        headers.insert(signature::SIGNATURE_HEADER, HeaderValue::from_static("00ff"));
        assert_eq!(signed(&headers), Some((Timestamp(1_772_357_400_000), "00ff")));
        headers.insert(signature::TIME_HEADER, HeaderValue::from_static("-1"));
        assert!(signed(&headers).is_none());
    }
}
