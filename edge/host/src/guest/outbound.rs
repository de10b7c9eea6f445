//! Outgoing requests of the component. There is one destination, `objects.internal`, and it is this process.

use bytes::Bytes;
use edge_core::internal::{Batch, CallFailed, StoreAnswer, StoreFault};
use edge_core::object::PersistError;
use http::StatusCode;
use http_body_util::{BodyExt as _, Full, Limited};
use serde::Serialize;
use wasmtime_wasi_http::{Error, WasiBody};

use super::services::{Done, OwnServices, Sent};

const AUTHORITY: &str = "objects.internal";
/// Messages and batches are far smaller.
const BODY_BYTES: usize = 4 << 20;

pub(super) fn send(services: OwnServices, request: http::Request<WasiBody>) -> Sent {
    Box::new(async move {
        let ours = request.uri().authority().is_some_and(|authority| authority.as_str() == AUTHORITY);
        if !ours || request.method() != http::Method::POST {
            return Err(Error::DestinationIpProhibited);
        }
        let path = request.uri().path().to_owned();
        let body = Limited::new(request.into_body(), BODY_BYTES).collect().await;
        let body = body.map_err(|_| Error::HttpRequestBodySize(None))?.to_bytes();
        let (status, body) = match path.as_str() {
            "/people/batch" => batch(&services, &body).await,
            _ => call(&services, path.trim_start_matches('/'), body.into()).await,
        };
        let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
        let mut response = http::Response::new(body);
        *response.status_mut() = status;
        response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        let done: Done = Box::new(async { Ok(()) });
        Ok((response, done))
    })
}

/// Calls an object; `msg` and the answer are JSON.
pub(crate) async fn call(services: &OwnServices, object: &str, msg: Vec<u8>) -> (StatusCode, Vec<u8>) {
    match services.call(object, msg).await {
        Ok(reply) => (StatusCode::OK, reply),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, json(&CallFailed { error })),
    }
}

/// Executes a [`Batch`], all or nothing.
pub(crate) async fn batch(services: &OwnServices, body: &[u8]) -> (StatusCode, Vec<u8>) {
    let Ok(Batch { statements }) = serde_json::from_slice(body) else { return store_answer(Err(StoreFault::Unavailable)) };
    let outcome = services.storage.people_batch(statements).await;
    store_answer(outcome.map_err(|error| match error {
        PersistError::Conflict => StoreFault::Conflict,
        PersistError::Full => StoreFault::ReadOnly,
        PersistError::Io => StoreFault::Unavailable,
    }))
}

/// Executes a [`Batch`] of reads.
pub(crate) async fn read(services: &OwnServices, body: &[u8]) -> (StatusCode, Vec<u8>) {
    let Ok(Batch { statements }) = serde_json::from_slice(body) else { return store_answer(Err(StoreFault::Unavailable)) };
    let mut all = Vec::with_capacity(statements.len());
    for statement in statements {
        match services.storage.query(statement).await {
            Ok(found) => all.push(found.rows),
            Err(error) => {
                tracing::warn!(%error, "a query of another host failed");
                return store_answer(Err(StoreFault::Unavailable));
            }
        }
    }
    store_answer(Ok(all))
}

fn store_answer(outcome: Result<Vec<edge_core::sql::Rows>, StoreFault>) -> (StatusCode, Vec<u8>) {
    let status = match &outcome {
        Ok(_) => StatusCode::OK,
        Err(StoreFault::Conflict) => StatusCode::CONFLICT,
        Err(StoreFault::ReadOnly | StoreFault::Unavailable) => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, json(&outcome.map_or_else(StoreAnswer::Error, StoreAnswer::Rows)))
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
