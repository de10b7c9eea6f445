//! What the parts of a deployment say to each other.

use std::fmt::Debug;

use edge_core::auth::internal::{sign, verify};
use edge_core::internal::{Batch, CallFailed, Forwarded, OBJECTS, StoreAnswer, callable};
use edge_core::json;
use edge_core::limits::INTERNAL_REQUEST_MS;
use edge_core::objects::Message;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wire::Timestamp;

const NOW: Timestamp = Timestamp(1_772_357_400_000);

/// A message between objects: what is understood is written and read again as the same, and never more generously than
/// derived code reads it.
pub(super) fn object_message(input: &[u8]) -> bool {
    let message = Message::from_bytes(input);
    if message == Message::Unknown {
        return false;
    }
    let again = Message::from_bytes(&message.to_bytes());
    assert!(again == message || is_close(&again, &message), "{again:?} was {message:?}");
    assert_eq!(serde_json::from_slice::<Message>(input).expect("derived code reads it too"), message);
    true
}

/// A polling request on its way to a gateway.
pub(super) fn forwarded_request(input: &[u8]) -> bool {
    let Some(request) = Forwarded::from_bytes(input) else { return false };
    assert!(!request.head.upgrades && input.ends_with(&request.body));
    assert_eq!(Forwarded::from_bytes(&request.to_bytes()), Some(request));
    true
}

/// `METHOD path time signature` and a body behind a line break; `<sign>` is the signature that we would send. What is
/// accepted is what we would have sent, in its time.
pub(super) fn internal_signature(input: &[u8]) -> bool {
    const KEY: &[u8] = b"0123456789abcdefghijklmnopqrstuv";
    let at = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (line, body) = input.split_at(at);
    let Ok(line) = std::str::from_utf8(line) else { return false };
    let mut words = line.split(' ');
    let mut word = || words.next().unwrap_or_default();
    let (method, path, time, tag) = (word(), word(), word(), word());
    let Ok(time) = time.parse().map(Timestamp) else { return false };
    let right = sign(KEY, method, path, body, time);
    assert!(right.len() == 64 && !verify(b"", method, path, body, time, &right, NOW));
    let tag = tag.replace("<sign>", &right);
    let fresh = time.since(NOW).max(NOW.since(time)) <= INTERNAL_REQUEST_MS;
    let accepted = verify(KEY, method, path, body, time, &tag, NOW);
    assert_eq!(accepted, fresh && tag.eq_ignore_ascii_case(&right), "{line}");
    if let Some(object) = callable(path) {
        let (kind, name) = object.split_once('/').expect("a kind and a name");
        assert!(["room", "user"].contains(&kind) && !name.is_empty() && !name.contains('/'));
        assert_eq!(format!("{OBJECTS}{object}"), path);
    }
    accepted
}

/// Statements for a people database elsewhere, and its answers.
pub(super) fn store_answer(input: &[u8]) -> bool {
    same::<Batch>(input) | same::<StoreAnswer>(input) | same::<CallFailed>(input)
}

/// Whether it is one; then it is written and read again as the same.
fn same<T: Serialize + DeserializeOwned + PartialEq + Debug>(input: &[u8]) -> bool {
    let Ok(value) = json::read::<T>(input) else { return false };
    let bytes = serde_json::to_vec(&value).expect("our own types have a JSON form");
    let again = json::read::<T>(&bytes).expect("what we write can be read");
    assert!(again == value || is_close(&again, &value), "{again:?} was {value:?}");
    assert_eq!(serde_json::from_slice::<T>(input).expect("derived code reads it too"), value);
    true
}

/// Whether nothing differs but the last digit of fractions: JSON is read quickly here, not to the last bit.
fn is_close(one: &impl Serialize, other: &impl Serialize) -> bool {
    fn close(one: &Value, other: &Value) -> bool {
        match (one, other) {
            (Value::Number(one), Value::Number(other)) if one.is_f64() && other.is_f64() => {
                one.as_f64().zip(other.as_f64()).is_some_and(|(one, other)| (one - other).abs() <= one.abs() * 1e-15)
            }
            (Value::Array(one), Value::Array(other)) => {
                one.len() == other.len() && one.iter().zip(other).all(|(one, other)| close(one, other))
            }
            (Value::Object(one), Value::Object(other)) => {
                let there = |(name, value): (&String, &Value)| other.get(name).is_some_and(|other| close(value, other));
                one.len() == other.len() && one.iter().all(there)
            }
            _ => one == other,
        }
    }
    close(&serde_json::to_value(one).unwrap_or_default(), &serde_json::to_value(other).unwrap_or_default())
}
