//! R-03, G-01: S1, S2, N10, N11, cookie mode.

#![allow(clippy::unwrap_used)]

use edge_core::http::Request;
use edge_core::object::{CallError, Kind};
use edge_core::objects::Message;
use handlers::{Answer, Person, RequestExt, World, request};
use serde_json::json;

fn exchange(world: &World, token: &str, client: &str) -> Answer {
    world.handle(ask(token).with("x-client-id", client))
}

fn ask(token: &str) -> Request {
    request("POST", "/api/auth/refresh").json(&json!({"refreshToken": token}))
}

fn refresh_token(answer: &Answer) -> String {
    assert_eq!(answer.status(), 200, "{answer:?}");
    answer.json()["refreshToken"].as_str().unwrap().to_owned()
}

fn revocations(world: &World) -> Vec<Message> {
    world.take_asked().into_iter().filter(|(kind, ..)| *kind == Kind::User).map(|(_, _, msg)| msg).collect()
}

#[test]
fn each_exchange_gives_another_token() {
    let world = World::new();
    let ann = world.person("ann");
    let mut token = ann.refresh.clone();
    for _ in 0..3 {
        world.pass(60_000);
        let answer = exchange(&world, &token, "a");
        let next = refresh_token(&answer);
        assert_ne!(next, token);
        token = next;
        let access = answer.json()["accessToken"].as_str().unwrap().to_owned();
        assert_eq!(world.get("/api/auth/me", &Person { access, ..ann.clone() }).status(), 200);
    }
    assert!(world.take_asked().is_empty());
}

#[test]
fn the_same_client_gets_the_same_successor_for_10_seconds() {
    let world = World::new();
    let ann = world.person("ann");
    let first = refresh_token(&exchange(&world, &ann.refresh, "a"));
    world.pass(10_000);
    assert_eq!(refresh_token(&exchange(&world, &ann.refresh, "a")), first);
    world.pass(1);
    assert_eq!(exchange(&world, &ann.refresh, "a").error().1, "REFRESH_REUSED");
    assert_eq!(exchange(&world, &first, "a").error().1, "UNAUTHORIZED", "the successor is dead too");
    assert_eq!(exchange(&world, &ann.refresh, "a").error().1, "REFRESH_REUSED");
    assert_eq!(world.get("/api/auth/me", &ann).status(), 401);
    assert_eq!(revocations(&world).len(), 1, "the User is told once");
}

#[test]
fn another_client_kills_the_family() {
    for (other, why) in [
        (ask as fn(&str) -> Request, "no client id"),
        (|token| ask(token).with("x-client-id", "b"), "another client id"),
    ] {
        let world = World::new();
        let ann = world.person("ann");
        let first = refresh_token(&exchange(&world, &ann.refresh, "a"));
        assert_eq!(world.handle(other(&ann.refresh)).error().1, "REFRESH_REUSED", "{why}");
        assert_eq!(exchange(&world, &first, "a").error().0, 401, "{why}");
        let Some(Message::Revoke { sessions: Some(sessions), reason, .. }) = revocations(&world).pop() else { panic!() };
        assert_eq!((sessions.len(), reason.as_str()), (1, "refresh_reused"));
    }
}

#[test]
fn without_a_client_id_agent_and_address_tell_clients_apart() {
    let world = World::new();
    let ann = world.person("ann");
    let from = |agent: &str, address: &str| ask(&ann.refresh).with("user-agent", agent).from(address);
    let first = refresh_token(&world.handle(from("x", "198.51.100.1")));
    assert_eq!(refresh_token(&world.handle(from("x", "198.51.100.1"))), first);
    assert_eq!(world.handle(from("x", "198.51.100.2")).error().1, "REFRESH_REUSED");
}

#[test]
fn fifty_requests_at_once_make_one_branch() {
    let world = World::new();
    let ann = world.person("ann");
    let successors: Vec<String> = (0..50).map(|_| refresh_token(&exchange(&world, &ann.refresh, "a"))).collect();
    assert!(successors.iter().all(|token| *token == successors[0]));
    assert_eq!(world.sql("SELECT count(*) FROM refresh_tokens", vec![])[0][0].as_i64(), Some(2));
}

#[test]
fn expired_unknown_and_foreign_tokens_are_refused() {
    let world = World::new();
    let ann = world.person("ann");
    for bad in ["", "x", &ann.access, &"A".repeat(43)] {
        assert_eq!(exchange(&world, bad, "a").error().1, "UNAUTHORIZED");
    }
    assert_eq!(world.handle(request("POST", "/api/auth/refresh")).error().1, "UNAUTHORIZED");
    let wrong = world.handle(request("POST", "/api/auth/refresh").json(&json!({"refreshToken": {}})));
    assert_eq!(wrong.error().2.as_deref(), Some("refreshToken"));
    world.pass(world.settings.refresh_ttl_ms);
    assert_eq!(exchange(&world, &ann.refresh, "a").error().1, "UNAUTHORIZED");
}

#[test]
fn refreshes_of_a_user_are_limited_and_use_up_nothing() {
    let world = World::limited();
    let mut token = world.person("ann").refresh;
    for _ in 0..30 {
        token = refresh_token(&exchange(&world, &token, "a"));
    }
    let limited = exchange(&world, &token, "a");
    assert_eq!((limited.error().1.as_str(), limited.header("retry-after")), ("RATE_LIMITED", Some("2")));
    world.pass(2_000);
    refresh_token(&exchange(&world, &token, "a"));
}

#[test]
fn a_disabled_account_refreshes_no_more() {
    let world = World::new();
    let ann = world.person("ann");
    world.sql("UPDATE users SET disabled_at=1", vec![]);
    assert_eq!(exchange(&world, &ann.refresh, "a").error().1, "UNAUTHORIZED");
    world.sql("UPDATE users SET disabled_at=NULL", vec![]);
    refresh_token(&exchange(&world, &ann.refresh, "a"));
}

#[test]
fn logout_ends_this_session_and_tells_the_user() {
    let world = World::new();
    let ann = world.person("ann");
    let login = json!({"email": ann.email, "password": handlers::PASSWORD});
    let other = world.handle(request("POST", "/api/auth/login").json(&login)).person();
    let logout = || world.handle(request("POST", "/api/auth/logout").bearer(&ann.access));
    assert_eq!(logout().status(), 204);
    assert_eq!(world.get("/api/auth/me", &ann).status(), 401);
    assert_eq!(exchange(&world, &ann.refresh, "a").error().1, "UNAUTHORIZED");
    assert_eq!(world.get("/api/auth/me", &other).status(), 200);
    let asked = revocations(&world);
    assert!(matches!(&asked[..], [Message::Revoke { sessions: Some(ids), version: None, .. }] if ids.len() == 1));

    // The answer may have been lost: a repeat finishes what it began.
    assert_eq!(logout().status(), 204);
    assert_eq!(revocations(&world), asked);
}

#[test]
fn logout_may_name_another_session_of_the_same_person() {
    let world = World::new();
    let (ann, eve) = (world.person("ann"), world.person("eve"));
    let login = json!({"email": ann.email, "password": handlers::PASSWORD});
    let other = world.handle(request("POST", "/api/auth/login").json(&login)).person();
    assert_eq!(world.post("/api/auth/logout", &eve, &json!({"refreshToken": other.refresh})).status(), 204);
    assert_eq!(world.get("/api/auth/me", &other).status(), 200, "not a foreign one");
    assert_eq!(world.post("/api/auth/logout", &ann, &json!({"refreshToken": other.refresh})).status(), 204);
    assert_eq!(world.get("/api/auth/me", &other).status(), 401);
}

#[test]
fn logout_all_ends_every_session_and_token() {
    let world = World::new();
    let ann = world.person("ann");
    let login = json!({"email": ann.email, "password": handlers::PASSWORD});
    let other = world.handle(request("POST", "/api/auth/login").json(&login)).person();
    let _ = world.take_asked();
    assert_eq!(world.post("/api/auth/logout-all", &ann, &json!({"refreshToken": 7})).error().2.as_deref(), Some("refreshToken"));
    assert_eq!(world.handle(request("POST", "/api/auth/logout-all").bearer(&ann.access)).status(), 204);
    for person in [&ann, &other] {
        assert_eq!(world.get("/api/auth/me", person).status(), 401);
        assert_eq!(exchange(&world, &person.refresh, "a").error().0, 401);
    }
    let asked = revocations(&world);
    assert!(matches!(&asked[..], [Message::Revoke { sessions: None, version: Some(1), .. }]));
    let again = world.handle(request("POST", "/api/auth/login").json(&login)).person();
    assert_eq!(world.get("/api/auth/me", &again).status(), 200);
}

#[test]
fn an_unreachable_user_is_asked_again_and_then_admitted() {
    let world = World::new();
    let ann = world.person("ann");
    world.answers.borrow_mut().extend([Err(CallError::Lost), Err(CallError::Failed), Ok(Message::Done)]);
    assert_eq!(world.handle(request("POST", "/api/auth/logout").bearer(&ann.access)).status(), 204);
    world.answers.borrow_mut().extend([Err(CallError::Lost), Err(CallError::Lost), Err(CallError::Lost)]);
    let failed = world.handle(request("POST", "/api/auth/logout").bearer(&ann.access));
    assert_eq!((failed.error().0, failed.header("retry-after")), (503, Some("1")));
}

#[test]
fn in_cookie_mode_the_refresh_token_lives_in_a_cookie() {
    let world = World::new();
    let ann = world.person("ann");
    let login = request("POST", "/api/auth/login").json(&json!({"email": ann.email, "password": handlers::PASSWORD}));
    let web = |request: Request| request.with("x-auth-mode", "cookie").with("origin", "https://chat.example.com");
    let answer = world.handle(web(login.clone()));
    assert_eq!(answer.json()["refreshToken"], json!(null));
    let cookie = answer.header("set-cookie").unwrap().to_owned();
    for attribute in ["; Path=/api/auth;", "; HttpOnly;", "; Secure;", "; SameSite=Strict", "; Max-Age=604800;"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    let held = cookie.split(';').next().unwrap().to_owned();
    let refresh = request("POST", "/api/auth/refresh").with("cookie", &format!("theme=dark; {held}"));

    assert_eq!(world.handle(refresh.clone()).error().1, "UNAUTHORIZED", "the cookie counts in cookie mode only");
    let foreign = refresh.clone().with("x-auth-mode", "cookie").with("origin", "https://evil.example");
    assert_eq!(world.handle(foreign).error().1, "PERMISSION_DENIED");
    let answer = world.handle(web(refresh));
    assert_eq!((answer.status(), &answer.json()["refreshToken"]), (200, &json!(null)));
    assert_ne!(answer.header("set-cookie").unwrap(), cookie);

    let access = answer.json()["accessToken"].as_str().unwrap().to_owned();
    let gone = world.handle(web(request("POST", "/api/auth/logout").bearer(&access)));
    assert_eq!(gone.status(), 204);
    assert!(gone.header("set-cookie").unwrap().contains("chatcall_refresh=; ") && gone.header("set-cookie").unwrap().contains("Max-Age=0"));
}
