//! Ids, names of objects, and times.

use edge_core::object::{Kind, ObjectId};
use edge_core::objects::{PresenceState, gateway_of_sid};
use wire::{MessageId, RoomId, SessionId, Timestamp, UserId};

/// What names something: whatever is read is written the same again.
pub(super) fn ids(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let mut known = false;
    if let Some(id) = RoomId::parse(text) {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
        assert_eq!(UserId::parse(text).map(|id| id.0), Some(id.0));
        assert_eq!(MessageId::parse(text).map(|id| id.0), Some(id.0));
        assert_eq!(SessionId::parse(text).map(|id| id.0), Some(id.0));
        known = true;
    }
    if let Some(id) = ObjectId::parse(text) {
        assert_eq!(id.to_string(), text);
        assert_eq!(Kind::parse(id.kind.as_str()), Some(id.kind));
        known = true;
    }
    if let Some(gateway) = gateway_of_sid(text) {
        let index = gateway.name.strip_prefix("gw-").expect("a gateway's name");
        assert!(gateway.kind == Kind::Gateway && text.starts_with(&format!("{index}.")));
        assert!(index.parse::<u32>().is_ok_and(|index| index <= 99_999));
        known = true;
    }
    if let Some(state) = PresenceState::from_word(text) {
        assert_eq!(state.word(), text);
        known = true;
    }
    known
}

/// A time: what we write of it is read as the same time, by us and by everybody else.
pub(super) fn time(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let Some(time) = Timestamp::from_iso(text) else { return false };
    let written = time.to_iso();
    assert_eq!(Timestamp::from_iso(&written), Some(time), "{text} is {written}");
    assert!(written.len() == 24 && text.is_ascii(), "{text} is {written}");
    true
}
