//! Answers to polling requests, with their headers.

use std::rc::Rc;

use crate::error::{EngineError, polling_status};
use crate::object::Response;

/// The allowed foreign origin a request came from; `None` for the same origin and for those not allowed.
pub type Cors = Option<Rc<str>>;

/// 200 with packets, as text.
#[must_use]
pub fn packets(body: Vec<u8>, cors: &Cors) -> Response {
    answer(polling_status(true), "text/plain; charset=UTF-8", body, cors)
}

/// 200 `ok`, the success of a POST.
#[must_use]
pub fn ok(cors: &Cors) -> Response {
    answer(polling_status(true), "text/html", b"ok".to_vec(), cors)
}

/// A refusal as JSON `{"code","message"}`.
#[must_use]
pub fn refused(error: EngineError, cors: &Cors) -> Response {
    let mut response = answer(error.status(), "application/json", error.body().as_bytes().to_vec(), cors);
    if matches!(error, EngineError::TooMany | EngineError::Unavailable) {
        response.headers.push(("Retry-After".into(), "5".into()));
    }
    response
}

/// The answer to `OPTIONS`: what a foreign origin may send, when it is allowed at all.
#[must_use]
pub fn preflight(cors: &Cors) -> Response {
    let mut response = Response { status: polling_status(false), headers: Vec::new(), body: Vec::new() };
    cross_origin(&mut response, cors);
    if cors.is_some() {
        for (name, value) in [
            ("Access-Control-Allow-Methods", "GET, POST, OPTIONS"),
            ("Access-Control-Allow-Headers", "Content-Type"),
            ("Access-Control-Max-Age", "600"),
        ] {
            response.headers.push((name.into(), value.into()));
        }
    }
    response
}

fn answer(status: u16, content_type: &str, body: Vec<u8>, cors: &Cors) -> Response {
    let headers = vec![
        ("Content-Type".to_owned(), content_type.to_owned()),
        ("Cache-Control".to_owned(), "no-store".to_owned()),
        ("X-Content-Type-Options".to_owned(), "nosniff".to_owned()),
    ];
    let mut response = Response { status, headers, body };
    cross_origin(&mut response, cors);
    response
}

fn cross_origin(response: &mut Response, cors: &Cors) {
    response.headers.push(("Vary".into(), "Origin".into()));
    let Some(origin) = cors else { return };
    response.headers.push(("Access-Control-Allow-Origin".into(), origin.to_string()));
    if &**origin != "*" {
        response.headers.push(("Access-Control-Allow-Credentials".into(), "true".into()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
        response.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn only_an_allowed_origin_is_named() {
        let allowed = ok(&Some("https://chat.example.com".into()));
        assert_eq!(header(&allowed, "Access-Control-Allow-Origin"), Some("https://chat.example.com"));
        assert_eq!(header(&allowed, "Vary"), Some("Origin"));
        assert_eq!(header(&ok(&None), "Access-Control-Allow-Origin"), None);
        assert_eq!(header(&preflight(&None), "Access-Control-Allow-Methods"), None);
    }

    #[test]
    fn refusals_are_json_with_the_code_of_the_protocol() {
        for (error, status, code) in [
            (EngineError::UnknownTransport, 400, 0),
            (EngineError::UnknownSid, 400, 1),
            (EngineError::BadHandshakeMethod, 400, 2),
            (EngineError::BadRequest, 400, 3),
            (EngineError::Forbidden, 403, 4),
            (EngineError::UnsupportedVersion, 400, 5),
            (EngineError::TooLarge, 413, 3),
        ] {
            let response = refused(error, &None);
            let body: serde_json::Value = serde_json::from_slice(&response.body).expect("JSON");
            assert_eq!((response.status, body["code"].as_u64()), (status, Some(code)), "{error:?}");
        }
    }
}
