//! G-02, G-03, G-19, G-20.

use edge_core::object::{CallError, Kind};
use edge_core::objects::{ContactAnswer, ContactStatus, Message};
use edge_core::sql::projection;
use handlers::{PASSWORD, Person, RequestExt, World, request};
use serde_json::{Value, json};
use wire::{Timestamp, UserId};

fn search(world: &World, who: &Person, query: &str) -> handlers::Answer {
    world.get(&format!("/api/users/search?q={query}"), who)
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().filter_map(|row| row["username"].as_str()).collect()
}

fn change(world: &World, who: &Person, target: &str, body: &Value) -> handlers::Answer {
    world.handle(request("PATCH", target).bearer(&who.access).json(body))
}

fn contact(world: &World, of: &Person, other: &Person, status: &str) {
    world.run(projection::contact(of.id, other.id, 1, status, Timestamp(1_772_357_400_123)));
}

#[test]
fn a_search_finds_prefixes_first_and_never_oneself() {
    let world = World::new();
    let ann = world.person("ann");
    for name in ["anna", "Anne", "joanna", "zoe"] {
        world.person(name);
    }
    change(&world, &world.person("zed"), "/api/users/me", &json!({"display_name": "Annabel Z"}));
    let found = search(&world, &ann, "ANN");
    assert_eq!(found.status(), 200);
    assert_eq!(names(&found.json()), ["anna", "Anne", "zed", "joanna"]);
    let row = found.json()[0].clone();
    let keys: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["avatar_url", "id", "status", "username"]);
    assert_eq!(names(&search(&world, &ann, "example").json()), [""; 0], "no e-mail");
}

#[test]
fn a_search_takes_its_text_literally() {
    let world = World::new();
    let ann = world.person("ann");
    world.person("a_b");
    world.person("axb");
    assert_eq!(names(&search(&world, &ann, "a_").json()), ["a_b"]);
    assert_eq!(names(&search(&world, &ann, "_b").json()), ["a_b"]);
    for nothing in ["%25b", "a%25", "*b", "a?b", "%5c%5c", "x'%20OR%201=1", "%22%22"] {
        assert_eq!(search(&world, &ann, nothing).json(), json!([]), "{nothing}");
    }
    for bad in ["", "a", "%25", "%20a%20", &"x".repeat(51), "a%00b", "%25%25", "__", "%25_", "*?", "%20_%20%25%20"] {
        assert_eq!(search(&world, &ann, bad).error(), (400, "INVALID_DATA".into(), Some("q".into())), "{bad}");
    }
    assert_eq!(world.get("/api/users/search", &ann).error().0, 400);
}

#[test]
fn whoever_blocked_one_is_not_found_and_looks_deactivated() {
    let world = World::new();
    let (ann, ben, cem) = (world.person("ann"), world.person("ben"), world.person("cem"));
    world.sql("UPDATE users SET avatar_url='/x', status_text='hi'", vec![]);
    world.sql("UPDATE users SET disabled_at=1 WHERE username='cem'", vec![]);
    let show = |of: &Person| world.get(&format!("/api/users/{}", of.id), &ann).json();
    assert_eq!(show(&ben), json!({"id": ben.id, "username": "ben", "display_name": "ben", "avatar_url": "/x", "status": "hi"}));
    contact(&world, &ben, &ann, "blocked");
    assert_eq!(show(&ben), json!({"id": ben.id, "username": "ben", "display_name": "ben", "avatar_url": null, "status": ""}));
    assert_eq!(show(&cem), json!({"id": cem.id, "username": "cem", "display_name": "cem", "avatar_url": null, "status": ""}));
    assert_eq!(search(&world, &ann, "be").json(), json!([]));
    assert_eq!(search(&world, &ann, "ce").json(), json!([]));
}

#[test]
fn nobody_is_the_same_404_whatever_the_id() {
    let world = World::new();
    let ann = world.person("ann");
    let missing = world.get("/api/users/0195f0a0-6c3e-7b1a-9d52-0d6f0a1b2c3d", &ann);
    assert_eq!(missing.error().1, "USER_NOT_FOUND");
    for id in ["x", "Me", "1%20OR%201=1"] {
        assert_eq!(world.get(&format!("/api/users/{id}"), &ann).0, missing.0, "{id}");
    }
    // A path of its own, without this method.
    assert_eq!(world.get("/api/users/me", &ann).error().1, "METHOD_NOT_ALLOWED");
}

#[test]
fn contacts_are_listed_with_presence() {
    let world = World::new();
    let (ann, ben, cem, dan) = (world.person("ann"), world.person("ben"), world.person("cem"), world.person("dan"));
    for (other, status) in [(&ben, "accepted"), (&cem, "accepted"), (&dan, "in")] {
        contact(&world, &ann, other, status);
    }
    let presence = |online| Message::Presence { user: UserId(ben.id.0), epoch: 1, version: 1, online, audience: None, shown: None };
    world.answers.borrow_mut().extend([Ok(presence(true)), Err(CallError::Lost)]);
    let row = |of: &Person, name: &str, presence: &str| {
        json!({"id": of.id, "username": name, "avatar_url": null, "status": "", "display_name": name, "presence": presence})
    };
    let list = world.get("/api/users/contacts", &ann);
    assert_eq!((list.status(), list.json()), (200, json!([row(&ben, "ben", "online"), row(&cem, "cem", "offline")])));
    assert!(world.take_asked().iter().all(|(kind, _, msg)| *kind == Kind::User && *msg == Message::AskPresence { by: ann.id }));

    let pending = json!([{"id": dan.id, "username": "dan", "avatar_url": null, "created_at": "2026-03-01T09:30:00.123Z"}]);
    for query in ["", "?direction=in"] {
        assert_eq!(world.get(&format!("/api/users/contacts/pending{query}"), &ann).json(), pending);
    }
    assert_eq!(world.get("/api/users/contacts/pending?direction=out", &ann).json(), json!([]));
    assert_eq!(world.get("/api/users/contacts/pending?direction=up", &ann).error().2.as_deref(), Some("direction"));
    contact(&world, &ann, &dan, "blocked");
    assert_eq!(world.get("/api/users/contacts/blocked", &ann).json(), pending);
}

#[test]
fn removing_is_done_by_the_user_object_and_never_fails_for_nobody() {
    let world = World::new();
    let (ann, ben) = (world.person("ann"), world.person("ben"));
    let remove = |id: &str| world.handle(request("DELETE", &format!("/api/users/contacts/{id}")).bearer(&ann.access));
    world.answer(Message::ContactIs { status: ContactStatus::None, fresh: true });
    assert_eq!(remove(&ben.id.to_string()).status(), 204);
    let (_, name, msg) = world.take_asked().remove(0);
    assert_eq!(name, ann.id.to_string());
    assert!(matches!(msg, Message::ContactAnswer { other, answer: ContactAnswer::Removed, .. } if other == ben.id));
    for nobody in ["x", &ann.id.to_string()] {
        assert_eq!(remove(nobody).status(), 204);
    }
    assert!(world.take_asked().is_empty());
    world.answer(Message::Refused { failure: wire::ErrorCode::NodeUnavailable.into() });
    assert_eq!(remove(&ben.id.to_string()).status(), 503);
}

#[test]
fn a_profile_changes_what_it_names_and_the_user_object_hears_of_it() {
    let world = World::new();
    let ann = world.person("ann");
    let body = json!({"username": "Anna", "status": "at lunch", "bio": "two\nlines", "profile": {"mobile": "1", "x": 2},
        "role": "admin", "id": "x", "password_hash": "y", "token_version": 7});
    world.sql("UPDATE users SET role='user'", vec![]);
    let answer = change(&world, &ann, "/api/users/me", &body);
    assert_eq!(answer.status(), 200, "{answer:?}");
    let own = answer.json();
    for (name, value) in [("username", "Anna"), ("display_name", "Anna"), ("status", "at lunch"), ("bio", "two\nlines"), ("role", "user")] {
        assert_eq!(own[name], value, "{name}");
    }
    assert_eq!(own["id"], json!(ann.id));
    assert_eq!(world.get("/api/auth/me", &ann).json(), own);
    assert_eq!(world.take_asked(), [(Kind::User, ann.id.to_string(), Message::PersonChanged)]);
    let profile = world.sql("SELECT profile, token_version FROM users", vec![]);
    assert_eq!(profile[0][0].as_str(), Some("{\"mobile\":\"1\"}"));
    assert_eq!(profile[0][1].as_i64(), Some(0));

    let own = change(&world, &ann, "/api/users/me", &json!({"display_name": "Ann A.", "status": ""})).json();
    assert_eq!((own["display_name"].as_str(), own["status"].as_str()), (Some("Ann A."), Some("")));
    assert_eq!(change(&world, &ann, "/api/users/me", &json!({"username": "ann"})).json()["display_name"], "Ann A.");
    assert_eq!(change(&world, &ann, "/api/users/me", &json!({})).json()["username"], "ann");
}

#[test]
fn a_profile_names_what_it_refuses() {
    let world = World::new();
    let ann = world.person("ann");
    world.person("ben");
    for (body, field) in [
        (json!({"username": "a b"}), "username"),
        (json!({"username": {"$gt": ""}}), "username"),
        (json!({"display_name": " "}), "display_name"),
        (json!({"display_name": "x".repeat(51)}), "display_name"),
        (json!({"status": "x".repeat(201)}), "status"),
        (json!({"status": "a\u{7}"}), "status"),
        (json!({"status": 1}), "status"),
        (json!({"bio": "x".repeat(1_001)}), "bio"),
        (json!({"email": "nobody"}), "email"),
        (json!({"status": "x", "currentPassword": 7}), "currentPassword"),
        (json!({"status": "x", "currentPassword": "nul\u{0}"}), "currentPassword"),
        (json!({"profile": "x"}), "profile"),
        (json!({"profile": {"gender": 1}}), "profile.gender"),
    ] {
        assert_eq!(change(&world, &ann, "/api/users/me", &body).error(), (400, "INVALID_DATA".into(), Some(field.into())), "{body}");
    }
    let taken = (409, "CONFLICT".to_owned(), Some("username".to_owned()));
    assert_eq!(change(&world, &ann, "/api/users/me", &json!({"username": "BEN", "status": "new"})).error(), taken);
    assert_eq!(world.get("/api/auth/me", &ann).json()["status"], "", "all or nothing");
    assert_eq!(change(&world, &ann, "/api/users/me", &json!({"username": "ANN"})).status(), 200, "one's own name");
}

#[test]
fn an_address_changes_with_the_password_only() {
    let world = World::new();
    let ann = world.person("ann");
    world.person("ben");
    let to = |email: &str, secret: Value| {
        change(&world, &ann, "/api/users/me", &json!({"email": email, "currentPassword": secret, "status": "x"}))
    };
    for wrong in [json!(null), json!("not the password")] {
        assert_eq!(to("new@example.com", wrong).error().1, "REAUTH_REQUIRED");
    }
    assert_eq!(to("new@example.com", json!("nul\u{0}")).error().2.as_deref(), Some("currentPassword"));
    assert_eq!(world.get("/api/auth/me", &ann).json()["status"], "");
    assert_eq!(to("BEN@example.com", json!(PASSWORD)).error(), (409, "CONFLICT".into(), Some("email".into())));
    assert_eq!(to("New@Example.com", json!(PASSWORD)).json()["email"], "new@example.com");
    let login = json!({"email": "new@example.com", "password": PASSWORD});
    assert_eq!(world.handle(request("POST", "/api/auth/login").json(&login)).status(), 200);
}

#[test]
fn settings_are_complete_merged_and_checked() {
    let world = World::new();
    let ann = world.person("ann");
    let defaults = json!({"quietHours": null, "sounds": true, "locale": null, "theme": "system", "readReceipts": true});
    assert_eq!(world.get("/api/users/me/settings", &ann).json(), defaults);
    let patch = |body: Value| change(&world, &ann, "/api/users/me/settings", &body);
    let hours = json!({"from": "22:00", "to": "07:00", "timezone": "Europe/Berlin"});
    let answer = patch(json!({"quietHours": hours, "theme": "dark"}));
    assert_eq!(answer.json(), json!({"quietHours": hours, "sounds": true, "locale": null, "theme": "dark", "readReceipts": true}));
    assert!(world.take_asked().is_empty());
    let answer = patch(json!({"quietHours": {"from": "23:00", "to": "06:00"}, "theme": null, "readReceipts": false}));
    assert_eq!(answer.json()["quietHours"], json!({"from": "23:00", "to": "06:00"}));
    assert_eq!((&answer.json()["theme"], &answer.json()["readReceipts"]), (&json!("system"), &json!(false)));
    assert_eq!(world.take_asked(), [(Kind::User, ann.id.to_string(), Message::PersonChanged)]);
    assert_eq!(world.sql("SELECT read_receipts FROM users", vec![])[0][0].as_i64(), Some(0));
    assert_eq!(world.get("/api/users/me/settings", &ann).json(), answer.json());
    for (body, field) in [(json!({"role": 1}), "role"), (json!({"theme": "pink"}), "theme"), (json!({"sounds": "x", "theme": "dark"}), "sounds")] {
        assert_eq!(patch(body).error(), (400, "INVALID_DATA".into(), Some(field.into())));
    }
    patch(json!({"readReceipts": null}));
    assert_eq!(world.sql("SELECT read_receipts FROM users", vec![])[0][0].as_i64(), Some(1));
}

#[test]
fn searches_and_requests_have_their_rates() {
    let world = World::limited();
    let ann = world.person("ann");
    for _ in 0..30 {
        assert_eq!(search(&world, &ann, "be").status(), 200);
        assert_eq!(world.handle(request("POST", "/api/users/contacts/0195f0a0-6c3e-7b1a-9d52-0d6f0a1b2c3d").bearer(&ann.access)).status(), 404);
    }
    assert_eq!(search(&world, &ann, "be").error().1, "RATE_LIMITED");
    let ask = world.handle(request("POST", "/api/users/contacts/0195f0a0-6c3e-7b1a-9d52-0d6f0a1b2c3d").bearer(&ann.access));
    assert_eq!(ask.error().1, "RATE_LIMITED");
    assert!(ask.header("retry-after").is_some());
    world.pass(2_000);
    assert_eq!(search(&world, &ann, "be").status(), 200);
}
