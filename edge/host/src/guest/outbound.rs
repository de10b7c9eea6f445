//! Outgoing requests of the component. There is one destination, `objects.internal`, and it is this process.

use std::sync::Arc;

use bytes::Bytes;
use edge_core::object::{CallError, PersistError};
use edge_core::sql::{Rows, Statement};
use http_body_util::{BodyExt as _, Full, Limited};
use serde::{Deserialize, Serialize};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use super::Services;

const AUTHORITY: &str = "objects.internal";
/// Messages and batches are far smaller.
const BODY_BYTES: usize = 4 << 20;

pub(super) struct Hooks {
    pub(super) services: Option<Arc<Services>>,
}

type Done = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sent = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Done), Error>> + Send>;

impl WasiHttpHooks for Hooks {
    fn send_request(&mut self, request: http::Request<WasiBody>, _: Option<RequestOptions>, _: Done) -> Sent {
        let services = self.services.clone();
        Box::new(async move {
            let ours = request.uri().authority().is_some_and(|authority| authority.as_str() == AUTHORITY);
            let Some(services) = services.filter(|_| ours && request.method() == http::Method::POST) else {
                return Err(Error::DestinationIpProhibited);
            };
            let path = request.uri().path().to_owned();
            let body = Limited::new(request.into_body(), BODY_BYTES).collect().await;
            let body = body.map_err(|_| Error::HttpRequestBodySize(None))?.to_bytes();
            let (status, body) = match path.as_str() {
                "/people/batch" => batch(&services, &body).await,
                _ => call(&services, path.trim_start_matches('/'), body).await,
            };
            let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
            let mut response = http::Response::new(body);
            *response.status_mut() = status;
            response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
            let done: Done = Box::new(async { Ok(()) });
            Ok((response, done))
        })
    }
}

#[derive(Serialize)]
struct Failed {
    error: CallError,
}

async fn call(services: &Services, object: &str, msg: Bytes) -> (http::StatusCode, Vec<u8>) {
    match services.call(object, msg.into()).await {
        Ok(reply) => (http::StatusCode::OK, reply),
        Err(error) => (http::StatusCode::SERVICE_UNAVAILABLE, json(&Failed { error })),
    }
}

#[derive(Deserialize)]
struct Batch {
    statements: Vec<Statement>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum BatchAnswer {
    Rows(Vec<Rows>),
    Error(&'static str),
}

async fn batch(services: &Services, body: &[u8]) -> (http::StatusCode, Vec<u8>) {
    let Ok(Batch { statements }) = serde_json::from_slice(body) else {
        return (http::StatusCode::BAD_REQUEST, json(&BatchAnswer::Error("unavailable")));
    };
    match services.storage.people_batch(statements).await {
        Ok(rows) => (http::StatusCode::OK, json(&BatchAnswer::Rows(rows))),
        Err(PersistError::Conflict) => (http::StatusCode::CONFLICT, json(&BatchAnswer::Error("conflict"))),
        Err(PersistError::Full) => (http::StatusCode::SERVICE_UNAVAILABLE, json(&BatchAnswer::Error("read_only"))),
        Err(PersistError::Io) => (http::StatusCode::SERVICE_UNAVAILABLE, json(&BatchAnswer::Error("unavailable"))),
    }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
