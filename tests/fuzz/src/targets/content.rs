//! What a person may send.

use edge_core::content;
use edge_core::limits;
use edge_core::objects::{Message, MessageChange};
use edge_core::settings::Settings;
use serde_json::{Value, json};
use wire::ErrorCode;

use super::objects::{Conversation, user};

/// The envelope of a message: in bounds, exactly as it came, and accepted again as it stands then.
pub(super) fn message_content(input: &[u8]) -> bool {
    let Ok(Value::Object(envelope)) = serde_json::from_slice(input) else { return false };
    let settings = Settings { max_text_code_points: 40, ..Settings::default() };
    let is_edit = content::edit_of(envelope.get("content"), &settings).is_ok();
    let message = match content::from_envelope(&envelope, &settings) {
        Ok(message) => message,
        Err(failure) => {
            let field = failure.field.as_deref().expect("a field");
            assert!(["content", "type", "clientId", "replyTo", "metadata", "attachmentIds"].contains(&field));
            assert!(failure.code == ErrorCode::InvalidData || (failure.code == ErrorCode::NotFound && field == "attachmentIds"));
            assert!(is_edit || field == "content" || field == "attachmentIds");
            return false;
        }
    };
    assert!(is_edit && envelope["content"] == message.content.as_str());
    assert!((1..=40).contains(&message.content.chars().count()));
    assert!(message.content.chars().all(|symbol| symbol >= ' ' || symbol == '\t' || symbol == '\n'));
    let id = message.client_id.as_deref();
    assert!(id.is_none_or(|id| (1..=limits::CLIENT_ID_BYTES).contains(&id.len())));
    assert!(id.is_none_or(|id| id.bytes().all(|byte| (32..127).contains(&byte))));
    let metadata = message.metadata.as_ref();
    assert!(metadata.is_none_or(|data| data.is_object() && data.to_string().len() <= limits::METADATA_BYTES));
    assert_eq!(metadata, envelope.get("metadata").filter(|data| !data.is_null()));

    let again = json!({
        "content": message.content, "type": message.kind, "clientId": message.client_id, "replyTo": message.reply_to,
        "metadata": message.metadata,
    });
    let again = content::from_envelope(again.as_object().expect("an object"), &settings);
    assert_eq!(again, Ok(message));
    true
}

/// An emoji: nothing that is read as text or as markup, and one of them only.
pub(super) fn reaction(input: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(input) else { return false };
    let Ok(change) = content::reaction_of(Some(text), true) else { return false };
    assert_eq!(change, MessageChange::React { emoji: text.to_owned(), on: true });
    assert!((2..=limits::EMOJI_BYTES).contains(&text.len()));
    let blank = |symbol: char| symbol.is_whitespace() || symbol.is_control() || "<>&'\"@/\\".contains(symbol);
    // Signs made of letters count as letters.
    let letter = |symbol: char| symbol.is_alphabetic() && !"ℹⓂ".contains(symbol) && u32::from(symbol) < 0x1_f000;
    assert!(!text.chars().any(|symbol| blank(symbol) || letter(symbol)), "{text:?}");
    // A skin tone belongs to whatever stands before it.
    let toned = text.starts_with(['🏻', '🏼', '🏽', '🏾', '🏿']);
    assert!(toned || content::reaction_of(Some(&text.repeat(2)), true).is_err(), "two of {text:?} are one");
    true
}

/// The text of a message in a Room: whoever is mentioned is a member whose name stands behind an `@`, and a name between
/// spaces is a mention.
pub(super) fn mentions(input: &[u8]) -> bool {
    let text = String::from_utf8_lossy(input);
    let settings = Settings::default();
    if content::edit_of(Some(&Value::String(text.to_string())), &settings).is_err() {
        return false;
    }
    let mut room = Conversation::new(&settings);
    let Message::Sent { message, .. } = room.send(1, &text) else { panic!("it was not sent") };
    assert_eq!(message.content, text);
    let found = message.metadata.map(|data| data["mentions"].clone()).unwrap_or_default();
    let listed: Vec<&str> = found["users"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let lower = text.to_ascii_lowercase();
    for (at, name) in Conversation::NAMES.iter().enumerate() {
        let id = user(at + 1).to_string();
        let times = listed.iter().filter(|known| **known == id).count();
        assert!(times <= 1 && (times == 0 || lower.contains(&format!("@{name}"))), "{name}");
        let alone = lower.split([' ', '\n', '\t']).any(|word| word == format!("@{name}"));
        assert!(times == 1 || !alone, "{name} is not mentioned");
    }
    for word in ["all", "here"] {
        assert!(found[word] != true || lower.contains(&format!("@{word}")), "{word}");
    }
    assert!(listed.len() <= Conversation::NAMES.len());
    !found.is_null()
}
