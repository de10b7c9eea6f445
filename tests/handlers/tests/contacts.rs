//!

use edge_core::error::Failure;
use edge_core::object::Kind;
use edge_core::objects::{ContactAnswer, ContactStatus, Message};
use handlers::{RequestExt, World, request};
use serde_json::json;
use wire::ErrorCode;

#[test]
fn requests_go_to_the_callers_user_object() {
    let world = World::new();
    let (ann, ben) = (world.person("ann"), world.person("ben"));
    let path = format!("/api/users/contacts/{}", ben.id);
    let ask = || world.handle(request("POST", &path).bearer(&ann.access));
    world.answer(Message::ContactIs { status: ContactStatus::Out, fresh: true });
    let answer = ask();
    assert_eq!((answer.status(), answer.json()), (201, json!({"message": "Contact request sent"})));
    world.answer(Message::ContactIs { status: ContactStatus::Out, fresh: false });
    let again = ask();
    assert_eq!((again.status(), again.json()), (200, answer.json()));
    world.answer(Message::Refused { failure: ErrorCode::Blocked.into() });
    assert_eq!(ask().error().1, "BLOCKED");
    let (kind, name, msg) = world.take_asked().remove(0);
    assert_eq!((kind, name), (Kind::User, ann.id.to_string()));
    assert!(matches!(msg, Message::ContactRequest { me, other, profile: Some(profile) } if me.id == ann.id && profile.username == "ann" && other == ben.id));
}

#[test]
fn oneself_and_nobody_are_refused() {
    let world = World::new();
    let ann = world.person("ann");
    let ask = |id: &str| world.handle(request("POST", &format!("/api/users/contacts/{id}")).bearer(&ann.access));
    assert_eq!(ask(&ann.id.to_string()).error(), (400, "INVALID_DATA".to_owned(), Some("contactId".to_owned())));
    let missing = ask("0195f0a0-6c3e-7b1a-9d52-0d6f0a1b2c3d");
    assert_eq!(missing.error().1, "USER_NOT_FOUND");
    assert_eq!(ask("1%20OR%201=1").0, missing.0, "byte-identical");
    assert!(world.take_asked().is_empty());
}

#[test]
fn answers_name_their_effect() {
    let world = World::new();
    let (ann, ben) = (world.person("ann"), world.person("ben"));
    let answer = |id: &str, status: serde_json::Value| {
        let body = json!({"status": status});
        world.handle(request("PATCH", &format!("/api/users/contacts/{id}")).bearer(&ann.access).json(&body))
    };
    let ben = ben.id.to_string();
    for (word, wanted, said) in [
        ("accepted", ContactAnswer::Accepted, "Contact accepted"),
        ("declined", ContactAnswer::Declined, "Contact declined"),
        ("blocked", ContactAnswer::Blocked, "Contact blocked"),
    ] {
        world.answer(Message::ContactIs { status: ContactStatus::None, fresh: true });
        let answer = answer(&ben, json!(word));
        assert_eq!((answer.status(), answer.json()), (200, json!({"message": said})));
        let (_, _, msg) = world.take_asked().remove(0);
        assert!(matches!(msg, Message::ContactAnswer { answer, .. } if answer == wanted));
    }
    for bad in [json!("maybe"), json!(1), json!(null)] {
        assert_eq!(answer(&ben, bad).error().2.as_deref(), Some("status"));
    }
    world.answer(Message::Refused { failure: Failure::new(ErrorCode::NotFound) });
    assert_eq!(answer(&ben, json!("accepted")).error().0, 404);
    assert_eq!(answer(&ann.id.to_string(), json!("accepted")).error().0, 404, "one's own");
    assert_eq!(answer("0195f0a0-6c3e-7b1a-9d52-0d6f0a1b2c3d", json!("blocked")).error().0, 404);
}
