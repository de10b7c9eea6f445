//!

use handlers::{PASSWORD, RequestExt, World, request};
use serde_json::json;
use edge_core::settings::Registration;

fn register(world: &World, username: &str, email: &str, password: &str) -> handlers::Answer {
    let body = json!({"username": username, "email": email, "password": password});
    world.handle(request("POST", "/api/auth/register").json(&body))
}

fn login(world: &World, email: &str, password: &str, address: &str) -> handlers::Answer {
    world.handle(request("POST", "/api/auth/login").json(&json!({"email": email, "password": password})).from(address))
}

#[test]
fn the_first_account_administrates_and_the_next_does_not() {
    let world = World::new();
    let answer = register(&world, "Ann", "Ann@Example.com", PASSWORD);
    assert_eq!(answer.status(), 201);
    let user = &answer.json()["user"];
    assert_eq!(user["role"], "admin");
    assert_eq!(user["username"], "Ann");
    assert_eq!(user["display_name"], "Ann");
    assert_eq!(user["email"], "ann@example.com");
    assert_eq!(user["avatar_url"], json!(null));
    assert_eq!(user["status"], "");
    assert_eq!(user["created_at"], "2026-03-01T09:30:00.000Z");
    assert_eq!(register(&world, "ben", "ben@example.com", PASSWORD).json()["user"]["role"], "user");
    let me = world.get("/api/auth/me", &answer.person());
    assert_eq!(&me.json(), user);
    let oid = world.sql("SELECT oid FROM users WHERE username='ann'", vec![]);
    assert_eq!(oid[0][0].as_str().unwrap(), &answer.person().id.to_string().replace('-', "")[..24]);
}

#[test]
fn names_and_addresses_are_unique_without_regard_to_case() {
    let world = World::new();
    register(&world, "Ann", "ann@example.com", PASSWORD);
    let conflict = |field: &str| (409, "CONFLICT".to_owned(), Some(field.to_owned()));
    assert_eq!(register(&world, "aNN", "other@example.com", PASSWORD).error(), conflict("username"));
    assert_eq!(register(&world, "other", "ANN@example.COM", PASSWORD).error(), conflict("email"));
}

#[test]
fn bad_fields_are_named() {
    let world = World::new();
    let bad = |body: serde_json::Value| world.handle(request("POST", "/api/auth/register").json(&body)).error();
    let good = json!({"username": "ann", "email": "ann@example.com", "password": PASSWORD});
    for (field, value) in [
        ("username", json!("a b")),
        ("username", json!(["ann"])),
        ("email", json!({"$gt": ""})),
        ("email", json!("ann")),
        ("password", json!("7 chars")),
        ("password", json!(12345678)),
        ("password", json!("nul\u{0}in the middle")),
        ("password", json!(null)),
    ] {
        let mut body = good.clone();
        body[field] = value;
        assert_eq!(bad(body), (400, "INVALID_DATA".to_owned(), Some(field.to_owned())));
    }
}

#[test]
fn passwords_obey_the_rules_of_production() {
    let world = World::new();
    let code = |password: &str| register(&world, "ann", "ann@example.com", password).error().1;
    assert_eq!(code(&"é".repeat(37)), "PASSWORD_TOO_LONG");
    assert_eq!(code("Password123"), "PASSWORD_TOO_COMMON");
    assert_eq!(register(&world, "ann", "ann@example.com", &"é".repeat(36)).status(), 201);
    assert_eq!(login(&world, "ann@example.com", &"é".repeat(36), "a").status(), 200);
    assert_eq!(login(&world, "ann@example.com", &format!("{}x", "é".repeat(36)), "a").status(), 401);
}

#[test]
fn what_only_the_server_decides_is_ignored() {
    let world = World::new();
    world.person("ann");
    let body = json!({"username": "eve", "email": "eve@example.com", "password": PASSWORD, "role": "admin",
        "id": "0195f0a0-6c3e-7b1a-9d52-0d6f0a1b2c3d", "password_hash": "x", "token_version": 9});
    let answer = world.handle(request("POST", "/api/auth/register").json(&body));
    assert_eq!(answer.json()["user"]["role"], "user");
    assert_ne!(answer.json()["user"]["id"], body["id"]);
    assert_eq!(world.get("/api/auth/me", &answer.person()).status(), 200);
}

#[test]
fn registration_may_be_closed() {
    for registration in [Registration::Closed, Registration::Invite] {
        let mut world = World::new();
        world.settings.registration = registration;
        assert_eq!(register(&world, "ann", "ann@example.com", PASSWORD).error().1, "PERMISSION_DENIED");
    }
}

#[test]
fn a_failed_login_says_the_same_for_every_cause() {
    let world = World::new();
    let ann = world.person("ann");
    let wrong = login(&world, &ann.email, "not her password", "a");
    assert_eq!((wrong.status(), wrong.header("www-authenticate")), (401, Some("Bearer")));
    let unknown = login(&world, "nobody@example.com", PASSWORD, "a");
    world.sql("UPDATE users SET disabled_at=1 WHERE username='ann'", vec![]);
    let disabled = login(&world, &ann.email, PASSWORD, "a");
    world.sql("UPDATE users SET disabled_at=NULL, password_hash=NULL", vec![]);
    let external = login(&world, &ann.email, PASSWORD, "a");
    for answer in [unknown, disabled, external] {
        assert_eq!(answer.0, wrong.0);
    }
}

#[test]
fn login_opens_another_session() {
    let world = World::new();
    let ann = world.person("ann");
    let answer = login(&world, "ANN@example.com", PASSWORD, "a");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.json()["user"]["role"], "admin");
    let again = answer.person();
    assert!(again.refresh != ann.refresh && again.access != ann.access && again.id == ann.id);
    assert_eq!(world.get("/api/auth/me", &ann).status(), 200);
    assert_eq!(world.get("/api/auth/me", &again).status(), 200);
}

#[test]
fn wrong_logins_are_limited_per_account_and_address_only() {
    let world = World::limited();
    let ann = world.person("ann");
    for _ in 0..20 {
        assert_eq!(login(&world, &ann.email, PASSWORD, "198.51.100.1").status(), 200, "right ones do not count");
    }
    for _ in 0..5 {
        assert_eq!(login(&world, &ann.email, "wrong", "198.51.100.1").status(), 401);
    }
    let limited = login(&world, &ann.email, PASSWORD, "198.51.100.1");
    assert_eq!((limited.error().1.as_str(), limited.header("retry-after")), ("RATE_LIMITED", Some("180")));
    assert_eq!(limited.json()["retryAfter"], 180);
    assert_eq!(login(&world, &ann.email, PASSWORD, "198.51.100.2").status(), 200, "a stranger locks nobody out");
    world.pass(180_000);
    assert_eq!(login(&world, &ann.email, PASSWORD, "198.51.100.1").status(), 200);
}

#[test]
fn guesses_over_many_accounts_are_limited_per_address() {
    let world = World::limited();
    let guess = |n: u32, address: &str| login(&world, &format!("user{n}@example.com"), "wrong", address).status();
    for n in 0..50 {
        assert_eq!(guess(n, "2001:db8::1"), 401);
    }
    assert_eq!(guess(50, "2001:db8::1"), 429);
    assert_eq!(guess(51, "2001:db8::ffff"), 429, "the same network");
    assert_eq!(guess(51, "2001:db8:1::1"), 401);
}

#[test]
fn registrations_are_limited_per_address() {
    let world = World::limited();
    for n in 0..5 {
        assert_eq!(register(&world, &format!("user{n}"), &format!("user{n}@example.com"), PASSWORD).status(), 201);
    }
    assert_eq!(register(&world, "user5", "user5@example.com", PASSWORD).error().1, "RATE_LIMITED");
    world.pass(3_600_000 / 5);
    assert_eq!(register(&world, "user5", "user5@example.com", PASSWORD).status(), 201);
}

#[test]
fn addresses_are_not_stored_with_rates() {
    let world = World::limited();
    world.person("ann");
    let _ = login(&world, "ann@example.com", "wrong", "198.51.100.1");
    for row in world.sql("SELECT key FROM rate_limits", vec![]) {
        let key = row[0].as_str().unwrap();
        assert!(!key.contains("ann") && !key.contains("198.51"), "{key}");
    }
}

#[test]
fn only_a_good_token_in_the_header_opens() {
    let world = World::new();
    let ann = world.person("ann");
    let me = |header: &str| world.handle(request("GET", "/api/auth/me").with("authorization", header)).error().1;
    assert_eq!(me(""), "UNAUTHORIZED");
    assert_eq!(me(&format!("Basic {}", ann.access)), "UNAUTHORIZED");
    assert_eq!(me(&format!("Bearer {}", ann.refresh)), "UNAUTHORIZED");
    assert_eq!(me("Bearer x.y.z"), "UNAUTHORIZED");
    let query = request("GET", &format!("/api/auth/me?token={0}&access_token={0}", ann.access));
    assert_eq!(world.handle(query).error().0, 401);
    assert_eq!(world.handle(request("GET", "/api/auth/me").with("authorization", &format!("bearer {}", ann.access))).status(), 200);
    world.pass(15 * 60_000 + 61_000);
    assert_eq!(world.get("/api/auth/me", &ann).error().1, "TOKEN_EXPIRED");
}

#[test]
fn disabled_accounts_and_old_versions_are_refused_at_once() {
    let world = World::new();
    let ann = world.person("ann");
    world.sql("UPDATE users SET token_version=1", vec![]);
    assert_eq!(world.get("/api/auth/me", &ann).error().1, "UNAUTHORIZED");
    world.sql("UPDATE users SET token_version=0, disabled_at=1", vec![]);
    assert_eq!(world.get("/api/auth/me", &ann).error().1, "UNAUTHORIZED");
    world.sql("UPDATE users SET disabled_at=NULL", vec![]);
    assert_eq!(world.get("/api/auth/me", &ann).status(), 200);
}
