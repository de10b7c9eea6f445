//! `wasi:http` to `edge_core::http` and back.

use std::net::SocketAddr;

use edge_core::http::Request as CoreRequest;
use edge_core::limits::HTTP_BODY_BYTES;
use futures::StreamExt;
use spin_sdk::http::body::IncomingBodyExt;
use spin_sdk::http::{FullBody, Request, Response, StatusCode};
use spin_sdk::http_service;

use crate::platform::SpinPlatform;

type Body = FullBody<bytes::Bytes>;

#[http_service]
async fn handle(request: Request) -> anyhow::Result<Response<Body>> {
    let platform = match SpinPlatform::load().await {
        Ok(platform) => platform,
        Err(reason) => {
            eprintln!("settings: {reason}");
            return Ok(plain(StatusCode::SERVICE_UNAVAILABLE));
        }
    };
    let Ok(request) = read(request, platform.address_header()).await else {
        // The body broke off: nobody waits for an answer.
        return Ok(plain(StatusCode::BAD_REQUEST));
    };
    let answer = edge_core::http::handle(&platform, request).await;
    let mut response = plain(StatusCode::from_u16(answer.status)?);
    for (name, value) in answer.headers {
        response.headers_mut().append(
            spin_sdk::http::HeaderName::from_bytes(name.as_bytes())?,
            spin_sdk::http::HeaderValue::from_str(&value)?,
        );
    }
    *response.body_mut() = Body::new(answer.body.into());
    Ok(response)
}

fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = status;
    response
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

    let mut bytes = Vec::new();
    let mut chunks = body.stream();
    while let Some(chunk) = chunks.next().await {
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
