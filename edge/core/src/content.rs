//! What a person may send (E-004, G-22): the same rules for every socket dialect and for REST.

use serde_json::{Map, Value};
use wire::{ErrorCode, MessageId, MessageKind};

use crate::error::Failure;
use crate::limits::{CLIENT_ID_BYTES, EMOJI_BYTES, METADATA_BYTES};
use crate::objects::{MessageChange, NewMessage};
use crate::settings::Settings;

/// Reads `content`, `type`, `clientId`, `replyTo`, `attachmentIds` and `metadata` of a `chatcall` envelope.
///
/// # Errors
/// As [`check`]; `NOT_FOUND` for a named attachment, because nobody has one to name.
pub fn from_envelope(envelope: &Map<String, Value>, settings: &Settings) -> Result<NewMessage, Failure> {
    match envelope.get("attachmentIds") {
        None | Some(Value::Null) => {}
        Some(Value::Array(ids)) if ids.is_empty() => {}
        Some(Value::Array(ids)) if ids.iter().all(Value::is_string) => {
            return Err(Failure { field: Some("attachmentIds".to_owned()), ..ErrorCode::NotFound.into() });
        }
        Some(_) => return Err(Failure::invalid("attachmentIds", "A list of attachment ids is expected")),
    }
    let field = |name: &str| envelope.get(name);
    check(field("content"), field("type"), field("clientId"), field("replyTo"), field("metadata"), settings)
}

/// Checks what a person sends. A field that is `null` counts as missing; text is kept exactly as it came.
///
/// # Errors
/// `INVALID_DATA` with the first bad `field`.
pub fn check(
    content: Option<&Value>,
    kind: Option<&Value>,
    client_id: Option<&Value>,
    reply_to: Option<&Value>,
    metadata: Option<&Value>,
    settings: &Settings,
) -> Result<NewMessage, Failure> {
    Ok(NewMessage {
        content: content_of(content, settings.max_text_code_points)?,
        kind: kind_of(kind)?,
        client_id: client_id_of(client_id)?,
        reply_to: reply_to_of(reply_to)?,
        metadata: metadata_of(metadata)?,
    })
}

/// Reads the text of an edit.
///
/// # Errors
/// `INVALID_DATA` as for the text of a send.
pub fn edit_of(content: Option<&Value>, settings: &Settings) -> Result<MessageChange, Failure> {
    Ok(MessageChange::Edit { content: content_of(content, settings.max_text_code_points)? })
}

/// Reads a reaction, set or taken back: one emoji.
///
/// # Errors
/// `INVALID_DATA` for anything else.
pub fn reaction_of(emoji: Option<&str>, on: bool) -> Result<MessageChange, Failure> {
    match emoji.filter(|text| text.len() <= EMOJI_BYTES && is_one_emoji(text)) {
        Some(emoji) => Ok(MessageChange::React { emoji: emoji.to_owned(), on }),
        None => Err(Failure::invalid("emoji", "One emoji is expected")),
    }
}

/// Emoji sequences of UTS #51, with whole blocks for the characters: a key, a flag, or pictographs joined by U+200D, each
/// with a variation selector, a skin tone or tags.
fn is_one_emoji(text: &str) -> bool {
    let symbols: Vec<char> = text.chars().collect();
    if let ['0'..='9' | '#' | '*', rest @ ..] = &symbols[..] {
        return matches!(rest, ['\u{20e3}'] | ['\u{fe0f}', '\u{20e3}']);
    }
    if let [first, second] = &symbols[..]
        && is_regional(*first)
    {
        return is_regional(*second);
    }
    symbols.split(|symbol| *symbol == '\u{200d}').all(|part| match part {
        [first, rest @ ..] if is_pictograph(*first) => {
            let (looks, tags) = rest.split_at(rest.iter().take_while(|symbol| is_look(**symbol)).count());
            looks.len() <= 1 && tags.iter().all(|symbol| matches!(symbol, '\u{e0020}'..='\u{e007f}'))
        }
        _ => false,
    })
}

fn is_regional(symbol: char) -> bool {
    matches!(symbol, '\u{1f1e6}'..='\u{1f1ff}')
}

fn is_look(symbol: char) -> bool {
    matches!(symbol, '\u{fe0e}' | '\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}')
}

fn is_pictograph(symbol: char) -> bool {
    matches!(symbol,
        '\u{a9}' | '\u{ae}' | '\u{203c}' | '\u{2049}' | '\u{2122}' | '\u{2139}' | '\u{2194}'..='\u{21aa}'
        | '\u{231a}'..='\u{23ff}' | '\u{24c2}' | '\u{25aa}'..='\u{25fe}' | '\u{2600}'..='\u{27bf}'
        | '\u{2934}' | '\u{2935}' | '\u{2b05}'..='\u{2b55}' | '\u{3030}' | '\u{303d}' | '\u{3297}' | '\u{3299}'
        | '\u{1f000}'..='\u{1faff}') && !is_regional(symbol)
}

fn content_of(content: Option<&Value>, most: usize) -> Result<String, Failure> {
    let Some(Value::String(text)) = content else {
        return Err(Failure::invalid("content", "A text is expected"));
    };
    let mut length = 0;
    for symbol in text.chars() {
        length += 1;
        if length > most {
            return Err(Failure::invalid("content", &format!("At most {most} characters are allowed")));
        }
        if symbol < ' ' && symbol != '\t' && symbol != '\n' {
            return Err(Failure::invalid("content", "Control characters are not allowed"));
        }
    }
    if length == 0 {
        return Err(Failure::invalid("content", "The text is empty"));
    }
    Ok(text.clone())
}

fn kind_of(kind: Option<&Value>) -> Result<MessageKind, Failure> {
    match kind {
        None | Some(Value::Null) => Ok(MessageKind::Text),
        Some(Value::String(word)) => match word.as_str() {
            "text" => Ok(MessageKind::Text),
            "image" => Ok(MessageKind::Image),
            "file" => Ok(MessageKind::File),
            "voice" | "audio" => Ok(MessageKind::Voice),
            _ => Err(Failure::invalid("type", "One of text, image, file, voice is expected")),
        },
        Some(_) => Err(Failure::invalid("type", "One of text, image, file, voice is expected")),
    }
}

fn client_id_of(client_id: Option<&Value>) -> Result<Option<String>, Failure> {
    match client_id {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(id))
            if (1..=CLIENT_ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| (b' '..=b'~').contains(&byte)) =>
        {
            Ok(Some(id.clone()))
        }
        Some(_) => Err(Failure::invalid("clientId", "1 to 64 printable ASCII characters are expected")),
    }
}

fn reply_to_of(reply_to: Option<&Value>) -> Result<Option<MessageId>, Failure> {
    match reply_to {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_str()
            .and_then(MessageId::parse)
            .map(Some)
            .ok_or_else(|| Failure::invalid("replyTo", "A message id is expected")),
    }
}

fn metadata_of(metadata: Option<&Value>) -> Result<Option<Value>, Failure> {
    match metadata {
        None | Some(Value::Null) => Ok(None),
        Some(value @ Value::Object(_)) if value.to_string().len() <= METADATA_BYTES => Ok(Some(value.clone())),
        Some(Value::Object(_)) => {
            Err(Failure::invalid("metadata", &format!("At most {METADATA_BYTES} bytes of JSON are allowed")))
        }
        Some(_) => Err(Failure::invalid("metadata", "An object is expected")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(envelope: Value) -> Result<NewMessage, Failure> {
        from_envelope(envelope.as_object().unwrap(), &Settings::default())
    }

    fn bad_field(envelope: Value) -> Option<String> {
        read(envelope).unwrap_err().field
    }

    #[test]
    fn text_is_kept_exactly_as_sent() {
        let text = "  <img src=x onerror=1>\t\n\u{202e}@ann  ";
        assert_eq!(read(json!({"content": text})).unwrap().content, text);
    }

    #[test]
    fn length_counts_code_points() {
        assert!(read(json!({"content": "😀".repeat(2_000)})).is_ok());
        assert_eq!(bad_field(json!({"content": "a".repeat(2_001)})).as_deref(), Some("content"));
        assert_eq!(bad_field(json!({"content": ""})).as_deref(), Some("content"));
        assert_eq!(bad_field(json!({})).as_deref(), Some("content"));
    }

    #[test]
    fn control_characters_are_refused() {
        for bad in ["a\u{0}", "\u{1b}[1m", "a\rb", "\u{1f}"] {
            assert_eq!(bad_field(json!({"content": bad})).as_deref(), Some("content"), "{bad:?}");
        }
    }

    #[test]
    fn a_reaction_is_one_emoji() {
        let accepted = |text: &str| reaction_of(Some(text), true).is_ok();
        for one in ["👍", "❤", "❤\u{fe0f}", "👍🏽", "👩\u{200d}💻", "👨\u{200d}👩\u{200d}👧\u{200d}👦", "🇮🇳", "1\u{fe0f}\u{20e3}", "#\u{20e3}",
            "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}", "🏳\u{fe0f}\u{200d}🌈", "🧑🏿\u{200d}🚀", "©", "🫡"] {
            assert!(accepted(one), "{one}");
        }
        for other in ["", "a", "1", "👍👍", "🇮", "🇮🇳🇮", "👍 ", "\u{200d}", "👍\u{200d}", "\u{fe0f}", "ab", "é", "👍\u{301}", "❤\u{fe0f}\u{fe0f}",
            "<b>", "👩\u{200d}a", &"👩\u{200d}".repeat(20)] {
            assert!(!accepted(other), "{other}");
        }
        assert!(reaction_of(None, false).is_err());
    }

    #[test]
    fn only_the_server_writes_system_messages() {
        assert_eq!(bad_field(json!({"content": "x", "type": "system"})).as_deref(), Some("type"));
        assert_eq!(read(json!({"content": "x", "type": "audio"})).unwrap().kind, MessageKind::Voice);
        assert_eq!(read(json!({"content": "x"})).unwrap().kind, MessageKind::Text);
    }

    #[test]
    fn wrong_types_name_their_field() {
        for (field, value) in [
            ("content", json!({"$gt": ""})),
            ("type", json!(1)),
            ("clientId", json!("")),
            ("clientId", json!("x".repeat(65))),
            ("clientId", json!("ä")),
            ("clientId", json!(7)),
            ("replyTo", json!("1 OR 1=1")),
            ("metadata", json!([])),
            ("metadata", json!({"a": "x".repeat(METADATA_BYTES)})),
            ("attachmentIds", json!("x")),
            ("attachmentIds", json!(["x"])),
        ] {
            let mut envelope = json!({"content": "x"});
            envelope[field] = value;
            assert_eq!(bad_field(envelope).as_deref(), Some(field));
        }
    }
}
