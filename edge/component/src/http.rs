//! `wasi:http` to `edge_core::http` and back. Engine.IO requests reach this file only on a host without objects: polling
//! goes on to the room host, and a WebSocket cannot come this way.

use std::net::SocketAddr;

use edge_core::engineio::{Query, response};
use edge_core::error::{EngineError, Failure};
use edge_core::http::{Request as CoreRequest, Response as CoreResponse, cors, handle, unavailable};
use edge_core::internal::{self, Forwarded};
use edge_core::limits::{HTTP_BODY_BYTES, MAX_PAYLOAD_BYTES};
use edge_core::object::RequestHead;
use edge_core::platform::Platform;
use edge_core::settings::{RoomHost, Settings};
use futures::StreamExt;
use spin_sdk::http::body::IncomingBodyExt;
use spin_sdk::http::{FullBody, HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use spin_sdk::http_service;
use wire::ErrorCode;

use crate::config::{Config, Objects};
use crate::platform::SpinPlatform;
use crate::room_host::{self, Answer, POLL_WAIT};

type Body = FullBody<bytes::Bytes>;

/// Headers of a gateway's answer that belong to its connection, or that we set ourselves.
const NOT_PASSED: [&str; 6] =
    ["connection", "keep-alive", "transfer-encoding", "content-length", "date", internal::ANSWER_HEADER];

#[http_service]
async fn serve(request: Request) -> anyhow::Result<Response<Body>> {
    let config = Config::load().await;
    let address_header = config.as_ref().map_or("", |config| &config.address_header);
    let Ok(request) = read(request, address_header).await else {
        // The body broke off: nobody waits for an answer.
        return Ok(Response::builder().status(StatusCode::BAD_REQUEST).body(Body::default())?);
    };
    let response = match config {
        Ok(config) => answer(&SpinPlatform::new(config.clone()), &config, request).await,
        Err(why) => unavailable(&request, &why, &Settings::default(), crate::platform::now()),
    };
    respond(response)
}

async fn answer(platform: &SpinPlatform, config: &Config, request: CoreRequest) -> CoreResponse {
    if let Err(error) = platform.prepare().await {
        let why = error.to_string();
        eprintln!("{why}");
        return unavailable(&request, &why, &config.settings, platform.now());
    }
    if matches!(request.path.as_str(), "/socket.io" | "/socket.io/") {
        match &config.objects {
            Objects::At(host) => return poll(platform, host, config, request).await,
            Objects::Nowhere => {
                let why = config.settings.without_objects.as_deref().unwrap_or_default();
                return unavailable(&request, why, &config.settings, platform.now());
            }
            Objects::Here => {}
        }
    }
    let (head, is_health) = (head_only(&request), request.path.ends_with("/health"));
    let response = handle(platform, request).await;
    match platform.trouble() {
        Some(trouble) if !is_health && response.status == Failure::new(ErrorCode::NodeUnavailable).status() => {
            unavailable(&head, trouble.sentence(), &config.settings, platform.now())
        }
        _ => response,
    }
}

/// What an error answer needs to know of a request.
fn head_only(request: &CoreRequest) -> CoreRequest {
    let CoreRequest { method, path, headers, .. } = request;
    CoreRequest { method: method.clone(), path: path.clone(), headers: headers.clone(), ..CoreRequest::default() }
}

/// One Engine.IO request, forwarded whole.
async fn poll(platform: &SpinPlatform, host: &RoomHost, config: &Config, request: CoreRequest) -> CoreResponse {
    let header = |name: &str| request.header(name).map(str::to_owned);
    let allowed = cors::listed_origin(request.header("origin"), &config.settings);
    if Query::parse(&request.query).transport == Some("websocket") {
        return response::refused(EngineError::UnknownTransport, &allowed);
    }
    if request.body.len() > MAX_PAYLOAD_BYTES {
        return response::refused(EngineError::TooLarge, &allowed);
    }
    let head = RequestHead {
        method: request.method.clone(),
        path: request.path.clone(),
        query: request.query.clone(),
        origin: header("origin"),
        content_type: header("content-type"),
        address: request.address.clone(),
        upgrades: false,
    };
    let body = Forwarded { head, body: request.body.clone() }.to_bytes();
    match room_host::ask(host, internal::POLLING, body, POLL_WAIT, platform.now()).await {
        Ok(Answer { status, headers, body }) => CoreResponse { status, headers: passed(&headers, body.len()), body },
        Err(trouble) => unavailable(&request, trouble.sentence(), &config.settings, platform.now()),
    }
}

fn passed(headers: &HeaderMap, length: usize) -> Vec<(String, String)> {
    let passed = headers.iter().filter(|(name, _)| !NOT_PASSED.contains(&name.as_str()));
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut passed: Vec<(String, String)> = passed.map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    if length > 0 {
        passed.push(("content-length".to_owned(), length.to_string()));
    }
    passed
}

fn respond(answer: CoreResponse) -> anyhow::Result<Response<Body>> {
    let mut response = Response::new(Body::new(answer.body.into()));
    *response.status_mut() = StatusCode::from_u16(answer.status)?;
    for (name, value) in answer.headers {
        response.headers_mut().append(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(&value)?);
    }
    Ok(response)
}

async fn read(request: Request, address_header: &str) -> anyhow::Result<CoreRequest> {
    let (head, body) = request.into_parts();
    let mut headers: Vec<(String, String)> = Vec::with_capacity(head.headers.len() + 1);
    let mut address = String::new();
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        if name.as_str() == address_header {
            address = value.parse::<SocketAddr>().map_or(value, |with_port| with_port.ip().to_string());
        } else if name != "host" {
            headers.push((name.as_str().to_owned(), value));
        }
    }
    // Hosts of wasi:http carry the Host header as the authority of the URI.
    let host = head.uri.authority().map(|authority| authority.as_str().to_owned());
    let host = host.or_else(|| Some(String::from_utf8_lossy(head.headers.get("host")?.as_bytes()).into_owned()));
    headers.extend(host.map(|host| ("host".to_owned(), host)));

    let announced = head.headers.get("content-length").and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let too_large = announced.is_some_and(|length| length > HTTP_BODY_BYTES as u64);
    // Longer than it may be is all that matters of a body that announces it.
    let mut bytes = if too_large { vec![0; HTTP_BODY_BYTES + 1] } else { Vec::new() };
    let mut chunks = body.stream();
    while !too_large
        && let Some(chunk) = chunks.next().await {
        bytes.extend_from_slice(&chunk?);
        if bytes.len() > HTTP_BODY_BYTES {
            bytes.truncate(HTTP_BODY_BYTES + 1);
            break;
        }
    }
    Ok(CoreRequest {
        method: head.method.as_str().to_owned(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers,
        body: bytes,
        address,
    })
}
