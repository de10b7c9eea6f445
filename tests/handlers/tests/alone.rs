//! A host without objects: accounts only, and words for whoever asks for more.

use edge_core::http::unavailable;
use edge_core::settings::Settings;
use handlers::{Answer, RequestExt as _, World, request};
use serde_json::{Value, json};

const WHY: &str = "there is no room host: room_host_key is not set";

fn alone() -> World {
    let settings = World::new().settings;
    World::with(Settings { without_objects: Some(WHY.into()), upgrades: vec![], ..settings })
}

#[test]
fn accounts_work_without_objects() {
    let world = alone();
    let ann = world.person("ann");
    assert_eq!(world.get("/api/auth/me", &ann).status(), 200);
    assert_eq!(world.post("/api/auth/logout", &ann, &json!({})).status(), 204);
    assert_eq!(world.get("/api/auth/me", &ann).status(), 401);
    assert!(world.take_asked().is_empty(), "nobody was asked");
}

#[test]
fn conversations_and_contacts_name_what_is_missing() {
    let world = alone();
    let ann = world.person("ann");
    let id = ann.id;
    for answer in [
        world.get("/api/chats/conversations", &ann),
        world.post("/api/chats/conversations", &ann, &json!({"type": "direct", "memberIds": [id]})),
        world.get(&format!("/api/chats/conversations/{id}/messages"), &ann),
        world.post(&format!("/api/users/contacts/{id}"), &ann, &json!({})),
    ] {
        assert_eq!(answer.error(), (503, "NODE_UNAVAILABLE".into(), None));
        assert_eq!(answer.json()["error"], WHY);
    }
    assert_eq!(world.get("/api/health", &ann).status(), 200);
    assert_eq!(world.get("/api/info", &ann).json()["features"], json!([]));
}

#[test]
fn a_host_that_cannot_work_says_why_in_the_shape_of_the_path() {
    let world = World::new();
    let of = |path: &str| Answer(unavailable(&request("GET", path), WHY, &world.settings, world.now.get()));
    assert_eq!(of("/api/health").json()["error"], WHY);
    assert_eq!(of("/").json()["message"], WHY);
    assert_eq!(of("/api/info").json()["reason"], "NODE_UNAVAILABLE");
    assert_eq!(of("/api/messages/x").json()["error"]["message"], WHY);
    let answer = of("/api/health");
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.header("content-length"), Some(answer.0.body.len().to_string().as_str()));
    let head = Answer(unavailable(&request("HEAD", "/").with("origin", "null"), WHY, &world.settings, world.now.get()));
    assert_eq!(head.json(), Value::Null);
}
