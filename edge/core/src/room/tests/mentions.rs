//! Mentions in messages: what is stored, what is shown, and that keys of repeated sends do not see them.

use serde_json::{Value, json};
use wire::{ConversationType, ErrorCode};

use super::{Host, actor, code, text, user};
use crate::object::Output;
use crate::objects::{Message, MessageChange, NewMessage};

fn send(host: &mut Host, content: &str, metadata: Option<Value>) -> Message {
    host.ask(Message::Send { from: actor(1), message: NewMessage { metadata, ..text(content, Some("key")) } })
}

fn shown(answer: &Message) -> Option<Value> {
    let Message::Sent { message, .. } = answer else { panic!("refused") };
    message.metadata.clone()
}

fn group() -> Host {
    let mut host = Host::new(true);
    host.create_as(ConversationType::Group, &[1, 2, 3]);
    host
}

#[test]
fn members_are_mentioned_and_nobody_else() {
    let answer = send(&mut group(), "@User2 @user9 @here", Some(json!({"x": 1})));
    assert_eq!(shown(&answer), Some(json!({"x": 1, "mentions": {"users": [user(2)], "here": true}})));
}

#[test]
fn what_a_client_says_under_mentions_is_not_believed() {
    let claimed = json!({"x": 1, "mentions": {"users": [user(3)], "all": true}});
    assert_eq!(shown(&send(&mut group(), "nobody", Some(claimed.clone()))), Some(json!({"x": 1})));
    assert_eq!(shown(&send(&mut group(), "@user2", Some(claimed))), Some(json!({"x": 1, "mentions": {"users": [user(2)]}})));
    assert_eq!(shown(&send(&mut group(), "nobody", None)), None);
}

#[test]
fn metadata_that_is_no_object_gives_way_to_mentions() {
    for odd in [json!("x"), json!([1]), json!(7)] {
        let mentions = json!({"mentions": {"users": [user(2)]}});
        assert_eq!(shown(&send(&mut group(), "@user2", Some(odd.clone()))), Some(mentions));
        assert_eq!(shown(&send(&mut group(), "nobody", Some(odd.clone()))), Some(odd));
    }
}

#[test]
fn the_same_send_again_is_the_same_whatever_was_resolved() {
    for metadata in [None, Some(json!({})), Some(json!({"x": 1})), Some(json!({"mentions": 7}))] {
        let mut host = group();
        let first = send(&mut host, "@user2", metadata.clone());
        let Message::Sent { message: again, repeated: true } = send(&mut host, "@user2", metadata.clone()) else {
            panic!("a repeat of {metadata:?}")
        };
        assert_eq!(Some(shown(&first)), Some(again.metadata));
        let other = json!({"other": true});
        assert_eq!(code(&send(&mut host, "@user2", Some(other))), Some(ErrorCode::Conflict));
    }
}

#[test]
fn an_edit_mentions_others_and_a_deletion_nobody() {
    let mut host = group();
    let Message::Sent { message, .. } = send(&mut host, "@user2", Some(json!({"x": 1}))) else { panic!("refused") };
    let mut change = |change| match host.ask(Message::Change { user: user(1), message: message.id, change }) {
        Message::Changed { message } => message.metadata,
        other => panic!("{other:?}"),
    };
    let edited = change(MessageChange::Edit { content: "@user3".to_owned() });
    assert_eq!(edited, Some(json!({"x": 1, "mentions": {"users": [user(3)]}})));
    assert_eq!(change(MessageChange::Delete), None);
    assert!(host.seen.iter().any(|out| matches!(out, Output::Project { key, .. } if key.starts_with("mention:"))));
}

#[test]
fn one_row_counts_a_mention_for_everybody() {
    let mut host = group();
    let rows = |host: &Host| host.seen.iter().filter(|out| matches!(out, Output::Project { key, .. } if key.starts_with("mention:"))).count();
    send(&mut host, "@user2 @user3 @all", None);
    assert_eq!(rows(&host), 1);
    host.send(1, "nobody", None);
    assert_eq!(rows(&host), 0, "others cost nothing");
}
