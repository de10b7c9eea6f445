//! Routes, errors, headers, health: what every response has.

use edge_core::platform::StoreError;
use handlers::{RequestExt, World, request};
use serde_json::json;

#[test]
fn unknown_paths_answer_in_the_shape_of_their_prefix() {
    let world = World::new();
    let get = |path: &str| world.handle(request("GET", path));
    let body = get("/api/nope").json();
    assert_eq!((&body["error"], &body["code"], &body["message"]), (&json!("Not found"), &json!("NOT_FOUND"), &json!("Not found")));
    assert_eq!(get("/api/v1/nope").json()["statusCode"], 404);
    assert_eq!(get("/api/messages/nope").json()["success"], false);
    assert_eq!(get("/api/chat/nope").json()["reason"], "NOT_FOUND");
    assert_eq!(get("/api/chats/nope").json()["code"], "NOT_FOUND");
    assert_eq!(get("/socket.io/").status(), 404);
}

#[test]
fn other_methods_are_405_with_allow() {
    let world = World::new();
    let answer = world.handle(request("DELETE", "/api/chats/conversations"));
    assert_eq!((answer.error().1.as_str(), answer.header("allow")), ("METHOD_NOT_ALLOWED", Some("GET, POST, HEAD")));
    assert_eq!(world.handle(request("POST", "/api/info")).json()["code"], 405, "in the shape of its path");
    assert_eq!(world.handle(request("OPTIONS", "/api/info")).status(), 405);
}

#[test]
fn health_tells_strangers_the_status_only() {
    let world = World::new();
    for path in ["/api/health", "/health"] {
        let answer = world.handle(request("GET", path));
        assert_eq!((answer.status(), answer.json()), (200, json!({"status": "ok", "timestamp": "2026-03-01T09:30:00.000Z"})));
    }
    world.broken.set(Some(|| StoreError::ReadOnly));
    let answer = world.handle(request("GET", "/api/health"));
    assert_eq!((answer.status(), answer.json()), (503, json!({"status": "degraded", "reason": "storage_read_only"})));
}

#[test]
fn health_writes_at_most_every_5_seconds() {
    let world = World::new();
    let written = || world.sql("SELECT at FROM rate_limits WHERE key='health'", vec![])[0][0].as_u64();
    let start = world.now.get().0;
    for (after, at) in [(0, start), (4_000, start), (2_000, start + 6_000)] {
        world.pass(after);
        assert_eq!(world.handle(request("GET", "/health")).status(), 200);
        assert_eq!(written(), Some(at));
    }
}

#[test]
fn a_full_disk_refuses_writes_and_reads_on() {
    let world = World::new();
    let ann = world.person("ann");
    world.broken.set(Some(|| StoreError::ReadOnly));
    assert_eq!(world.get("/api/auth/me", &ann).status(), 200);
    assert_eq!(world.get("/api/chats/conversations", &ann).status(), 200);
    let body = json!({"email": ann.email, "password": handlers::PASSWORD});
    let login = world.handle(request("POST", "/api/auth/login").json(&body));
    assert_eq!((login.error().1.as_str(), login.header("retry-after")), ("NODE_UNAVAILABLE", Some("1")));
}

#[test]
fn info_describes_the_service() {
    let info = World::new().handle(request("GET", "/api/info")).json();
    assert_eq!((&info["name"], &info["socketUrl"]), (&json!("ChatCall"), &json!(null)));
    assert_eq!(info["dialects"], json!(["chatcall"]));
    assert!(info["version"].is_string() && info["features"].is_array());
}

#[test]
fn every_other_path_is_the_page() {
    let world = World::new();
    for path in ["/", "/c/42", "/apis"] {
        let answer = world.handle(request("GET", path));
        assert_eq!((answer.status(), answer.header("content-type")), (200, Some("text/html; charset=utf-8")));
        assert!(answer.0.body.starts_with(b"<!doctype html>"));
        let page = String::from_utf8(answer.0.body.clone()).unwrap();
        assert!(!page.contains("<script>") && !page.contains("style="), "the policy forbids inline code");
    }
    assert!(world.handle(request("HEAD", "/")).0.body.is_empty());
}

#[test]
fn json_has_type_length_and_policy() {
    let answer = World::new().handle(request("GET", "/api/info"));
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    assert_eq!(answer.header("content-length"), Some(answer.0.body.len().to_string().as_str()));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
}

#[test]
fn bodies_are_bounded_and_typed() {
    let world = World::new();
    let mut big = request("POST", "/api/auth/login").json(&json!({}));
    big.body = vec![b' '; 256 * 1024 + 1];
    let answer = world.handle(big);
    assert_eq!((answer.error().1.as_str(), &answer.json()["limit"]), ("PAYLOAD_TOO_LARGE", &json!(262_144)));
    let mut text = request("POST", "/api/auth/login").with("content-type", "text/plain");
    text.body = b"{}".to_vec();
    assert_eq!(world.handle(text).error().0, 415);
    let mut broken = request("POST", "/api/auth/login").json(&json!({}));
    for body in [&b"{\"email\":\"\\ud800\"}"[..], b"{", b"\xff", b"[]", b"", &[b'['; 10_000]] {
        broken.body = body.to_vec();
        assert_eq!(world.handle(broken.clone()).error().0, 400);
    }
}

#[test]
fn pages_of_allowed_origins_may_call_and_no_others() {
    let mut world = World::new();
    world.settings.allowed_origins = vec!["https://app.example.com".to_owned()];
    let preflight = |origin: &str| {
        let request = request("OPTIONS", "/api/chats/conversations").with("origin", origin);
        world.handle(request.with("access-control-request-method", "PATCH").with("access-control-request-headers", "authorization"))
    };
    let answer = preflight("https://app.example.com");
    assert_eq!((answer.status(), answer.header("access-control-allow-origin")), (204, Some("https://app.example.com")));
    assert!(answer.header("access-control-allow-methods").unwrap().contains("PATCH"));
    assert!(answer.header("access-control-allow-headers").unwrap().contains("authorization"));
    for foreign in ["https://evil.example", "null", "https://app.example.com.evil.example"] {
        assert_eq!(preflight(foreign).header("access-control-allow-origin"), None);
        let get = world.handle(request("GET", "/api/info").with("origin", foreign));
        assert_eq!((get.status(), get.header("access-control-allow-origin")), (200, None));
    }
    let get = world.handle(request("GET", "/api/info").with("origin", "https://app.example.com"));
    assert_eq!(get.header("access-control-allow-origin"), Some("https://app.example.com"));
    assert_eq!((get.header("vary"), get.header("access-control-expose-headers")), (Some("origin"), Some("x-next-before, retry-after")));
}
