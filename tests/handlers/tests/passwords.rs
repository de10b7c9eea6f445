//! G-15, G-16.

use edge_core::http::reset_token;
use edge_core::object::Kind;
use edge_core::objects::Message;
use edge_core::sql::people;
use handlers::{Answer, PASSWORD, Person, RequestExt, World, request};
use serde_json::{Value, json};

const NEW: &str = "other words in a row";

fn login(world: &World, email: &str, password: &str) -> Answer {
    world.handle(request("POST", "/api/auth/login").with("user-agent", "Test").json(&json!({"email": email, "password": password})))
}

fn sessions(world: &World, who: &Person) -> Vec<Value> {
    world.get("/api/auth/sessions", who).json().as_array().cloned().expect("a list")
}

fn change(world: &World, who: &Person, current: Value, new: &str) -> Answer {
    world.post("/api/auth/password", who, &json!({"currentPassword": current, "newPassword": new}))
}

fn forgot(world: &World, email: &str) -> Answer {
    world.handle(request("POST", "/api/auth/reset/request").json(&json!({"email": email})))
}

fn reset(world: &World, token: &str, new: &str) -> Answer {
    world.handle(request("POST", "/api/auth/reset").json(&json!({"token": token, "newPassword": new})))
}

/// Tokens in the mail that waits.
fn tokens(world: &World) -> Vec<String> {
    let due = world.run(people::due_mail(world.now.get()));
    due.iter().map(|row| reset_token(&world.settings.refresh_secret, row[0].as_str().unwrap())).collect()
}

#[test]
fn sessions_are_listed_to_their_owner() {
    let world = World::new();
    let ann = world.person("ann");
    world.person("ben");
    world.pass(1_000);
    let second = login(&world, &ann.email, PASSWORD).person();
    let list = sessions(&world, &second);
    assert_eq!(list.len(), 2);
    assert_eq!(list[0]["device"], "Test");
    assert_eq!((&list[0]["current"], &list[1]["current"]), (&json!(true), &json!(false)));
    for (name, value) in [("ip", "198.51.100.7"), ("dialect", "chatcall"), ("created_at", "2026-03-01T09:30:01.000Z")] {
        assert_eq!(list[0][name], value);
    }
    assert_eq!(list[0].as_object().unwrap().len(), 7);
    world.pass(world.settings.refresh_ttl_ms - 500);
    let third = login(&world, &ann.email, PASSWORD).person();
    assert_eq!(sessions(&world, &third).len(), 2, "one is too old to be refreshed");
}

#[test]
fn one_ends_ones_own_sessions_only() {
    let world = World::new();
    let (ann, ben) = (world.person("ann"), world.person("ben"));
    let second = login(&world, &ann.email, PASSWORD).person();
    let id = sessions(&world, &second).iter().find(|one| one["current"] == false).unwrap()["id"].as_str().unwrap().to_owned();
    let end = |who: &Person, id: &str| world.handle(request("DELETE", &format!("/api/auth/sessions/{id}")).bearer(&who.access));
    let missing = end(&ben, "0195f0a0-6c3e-7b1a-9d52-0d6f0a1b2c3d");
    assert_eq!(missing.error().1, "NOT_FOUND");
    assert_eq!(end(&ben, &id).0, missing.0);
    assert_eq!(end(&ben, "x").0, missing.0);
    for _ in 0..2 {
        assert_eq!(end(&second, &id).status(), 204);
        let (_, name, msg) = world.take_asked().remove(0);
        assert_eq!(name, ann.id.to_string());
        assert!(matches!(msg, Message::Revoke { sessions: Some(ended), .. } if ended.len() == 1 && ended[0].to_string() == id));
    }
    assert_eq!(world.get("/api/auth/me", &ann).status(), 401);
    assert_eq!(world.get("/api/auth/me", &second).status(), 200);
    assert_eq!(sessions(&world, &second).len(), 1);
}

#[test]
fn a_changed_password_ends_the_other_sessions() {
    let world = World::new();
    let ann = world.person("ann");
    let second = login(&world, &ann.email, PASSWORD).person();
    for (current, new, wanted) in [
        (json!("wrong"), NEW, (403, "REAUTH_REQUIRED", None)),
        (json!(null), NEW, (403, "REAUTH_REQUIRED", None)),
        (json!(1), NEW, (400, "INVALID_DATA", Some("currentPassword"))),
        (json!(PASSWORD), "7 chars", (400, "INVALID_DATA", Some("newPassword"))),
        (json!(PASSWORD), "password", (400, "PASSWORD_TOO_COMMON", Some("newPassword"))),
        (json!(PASSWORD), &"x".repeat(73), (400, "PASSWORD_TOO_LONG", Some("newPassword"))),
        (json!(PASSWORD), "nul\u{0}in the middle", (400, "INVALID_DATA", Some("newPassword"))),
    ] {
        let (status, code, field) = wanted;
        assert_eq!(change(&world, &second, current, new).error(), (status, code.to_owned(), field.map(str::to_owned)), "{new}");
    }
    assert!(world.take_asked().is_empty());
    assert_eq!(change(&world, &second, json!(PASSWORD), NEW).status(), 204);
    assert!(matches!(&world.take_asked()[..], [(Kind::User, _, Message::Revoke { sessions: Some(ended), version: None, .. })] if ended.len() == 1));
    assert_eq!(world.get("/api/auth/me", &second).status(), 200);
    assert_eq!(world.get("/api/auth/me", &ann).status(), 401);
    assert_eq!((login(&world, &ann.email, PASSWORD).status(), login(&world, &ann.email, NEW).status()), (401, 200));
}

#[test]
fn wrong_current_passwords_are_counted() {
    let world = World::limited();
    let ann = world.person("ann");
    for _ in 0..5 {
        assert_eq!(change(&world, &ann, json!("wrong"), NEW).error().1, "REAUTH_REQUIRED");
    }
    assert_eq!(change(&world, &ann, json!(PASSWORD), NEW).error().1, "RATE_LIMITED");
    world.pass(15 * 60_000);
    assert_eq!(change(&world, &ann, json!(PASSWORD), NEW).status(), 204);
}

#[test]
fn a_link_works_once_and_ends_every_session() {
    let world = World::new();
    let ann = world.person("ann");
    assert_eq!(forgot(&world, "Ann@Example.com").status(), 202);
    assert_eq!(forgot(&world, "ann@example.com").status(), 202);
    let links = tokens(&world);
    assert_eq!(links.len(), 2);
    assert_eq!(reset(&world, &links[0], "7 chars").error().2.as_deref(), Some("newPassword"));
    assert_eq!(reset(&world, &links[0], NEW).status(), 204);
    assert!(matches!(&world.take_asked()[..], [(Kind::User, _, Message::Revoke { sessions: None, version: Some(1), .. })]));
    assert_eq!(world.get("/api/auth/me", &ann).status(), 401);
    assert_eq!((login(&world, &ann.email, PASSWORD).status(), login(&world, &ann.email, NEW).status()), (401, 200));
    for over in [&links[0], &links[1], "", "x"] {
        assert_eq!(reset(&world, over, NEW).error(), (400, "INVALID_DATA".to_owned(), Some("token".to_owned())));
    }
    assert!(tokens(&world).is_empty(), "no mail with a dead link");
}

#[test]
fn links_die_after_half_an_hour_and_with_what_they_are_for() {
    let world = World::new();
    let ann = world.person("ann");
    let link = || {
        forgot(&world, "ann@example.com");
        tokens(&world).remove(0)
    };
    let first = link();
    world.pass(30 * 60_000);
    assert_eq!(reset(&world, &first, NEW).status(), 400);
    let second = link();
    assert_eq!(change(&world, &login(&world, &ann.email, PASSWORD).person(), json!(PASSWORD), NEW).status(), 204);
    assert_eq!(reset(&world, &second, PASSWORD).status(), 400);
    let third = link();
    world.sql("UPDATE users SET disabled_at=1", vec![]);
    assert_eq!(reset(&world, &third, PASSWORD).status(), 400);
    forgot(&world, "ann@example.com");
    assert!(tokens(&world).is_empty(), "none for a deactivated account");
}

#[test]
fn unknown_addresses_are_answered_alike_and_stored_nowhere() {
    let world = World::new();
    world.person("ann");
    let (known, unknown) = (forgot(&world, "ann@example.com"), forgot(&world, "nobody@example.com"));
    assert_eq!((known.status(), &known.0), (202, &unknown.0));
    assert_eq!(tokens(&world).len(), 1);
    let stored = world.sql("SELECT (SELECT group_concat(id) FROM mail)||(SELECT group_concat(hash) FROM password_resets)", vec![]);
    assert!(!stored[0][0].as_str().unwrap().contains(&tokens(&world)[0]), "the token itself is stored nowhere");
    for bad in [json!({}), json!({"email": {"$gt": ""}}), json!({"email": 1})] {
        assert_eq!(world.handle(request("POST", "/api/auth/reset/request").json(&bad)).error().2.as_deref(), Some("email"));
    }
}

#[test]
fn an_account_gets_three_links_an_hour_and_so_does_nobody() {
    let world = World::limited();
    world.person("ann");
    for email in ["ann@example.com", "nobody@example.com"] {
        let answers: Vec<u16> = (0..4).map(|_| forgot(&world, email).status()).collect();
        assert_eq!(answers, [202, 202, 202, 429], "{email}");
    }
}

#[test]
fn mail_is_claimed_by_one_sender_at_a_time() {
    let world = World::new();
    world.person("ann");
    forgot(&world, "ann@example.com");
    let now = world.now.get();
    let due = world.run(people::due_mail(now));
    let row = &due[0];
    assert_eq!((row[1].as_str(), row[2].as_str()), (Some("reset"), Some("ann@example.com")));
    let id = row[0].as_str().unwrap();
    assert_eq!(world.run(people::claim_mail(id, now, now.plus_ms(60_000))).len(), 1);
    assert!(world.run(people::claim_mail(id, now, now.plus_ms(60_000))).is_empty());
    assert!(world.run(people::due_mail(now)).is_empty());
    assert_eq!(world.run(people::due_mail(now.plus_ms(60_000))).len(), 1, "it was not sent");
    world.run(people::delete_mail(id));
    assert!(world.run(people::due_mail(now.plus_ms(60_000))).is_empty());
}
