//! The headers of every response (guarantees 9).

use super::reply::{Body, Reply};
use super::{Request, Response, cors};
use crate::settings::Settings;

/// For everything that is no page: nothing may be loaded or framed.
const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// Turns a reply into a response. A full body always has its length: without it some hosts send it in two segments.
pub(super) fn finish(reply: Reply, request: &Request, settings: &Settings) -> Response {
    let (media, body, policy, cache) = match reply.body {
        Body::Empty => (None, Vec::new(), DATA_POLICY.to_owned(), "no-store"),
        Body::Json(body) => (Some("application/json; charset=utf-8"), body, DATA_POLICY.to_owned(), "no-store"),
        Body::Html(page) => {
            (Some("text/html; charset=utf-8"), page.as_bytes().to_vec(), page_policy(settings), "no-cache")
        }
    };
    let is_head = request.method == "HEAD";
    let mut headers: Vec<(&'static str, String)> = Vec::with_capacity(16);
    if let Some(media) = media {
        headers.push(("content-type", media.to_owned()));
    }
    if !is_head && reply.status != 204 {
        headers.push(("content-length", body.len().to_string()));
    }
    headers.extend(reply.headers);
    headers.extend([
        ("cache-control", cache.to_owned()),
        ("content-security-policy", policy),
        ("strict-transport-security", "max-age=31536000; includeSubDomains".to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
        ("x-frame-options", "DENY".to_owned()),
        ("referrer-policy", "no-referrer".to_owned()),
    ]);
    headers.extend(cors::headers(request, settings));
    Response {
        status: reply.status,
        headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        body: if is_head { Vec::new() } else { body },
    }
}

/// The web client loads only its own files, and talks to this host and to the one that holds the sockets.
fn page_policy(settings: &Settings) -> String {
    let sockets = settings.socket_url.as_deref().filter(|url| !url.contains([';', ',', ' ', '\r', '\n']));
    let sockets = sockets.map(|url| format!(" {url} {}", url.replacen("http", "ws", 1))).unwrap_or_default();
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data: blob:; \
         media-src 'self' blob:; connect-src 'self'{sockets}; manifest-src 'self'; worker-src 'self'; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
        response.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn every_response_is_protected_and_measured() {
        let settings = Settings::default();
        let get = Request { method: "GET".to_owned(), ..Request::default() };
        for reply in [Reply::json(200, &[1, 2]), Reply::html("<p>"), Reply::empty(404)] {
            let response = finish(reply, &get, &settings);
            for name in ["strict-transport-security", "content-security-policy", "referrer-policy"] {
                assert!(named(&response, name).is_some(), "{name}");
            }
            assert_eq!(named(&response, "x-content-type-options"), Some("nosniff"));
            assert_eq!(named(&response, "content-length"), Some(response.body.len().to_string().as_str()));
            let policy = named(&response, "content-security-policy").unwrap();
            assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe-inline"));
        }
    }

    #[test]
    fn head_and_204_have_no_body_and_no_length() {
        let settings = Settings::default();
        let head = Request { method: "HEAD".to_owned(), ..Request::default() };
        let response = finish(Reply::json(200, &[1, 2]), &head, &settings);
        assert!(response.body.is_empty() && named(&response, "content-length").is_none());
        let response = finish(Reply::empty(204), &Request::default(), &settings);
        assert!(response.body.is_empty() && named(&response, "content-length").is_none());
    }

    #[test]
    fn the_page_may_reach_the_host_of_the_sockets() {
        let settings = Settings { socket_url: Some("https://rooms.example.com".to_owned()), ..Settings::default() };
        assert!(page_policy(&settings).contains("connect-src 'self' https://rooms.example.com wss://rooms.example.com;"));
        let settings = Settings { socket_url: Some("https://x; script-src *".to_owned()), ..Settings::default() };
        assert!(page_policy(&settings).contains("connect-src 'self';"));
    }
}
