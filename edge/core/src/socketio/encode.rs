//! Packets of the server as whole Engine.IO text packets (with the `4` of a message).

use serde_json::Value;

use super::packet::ROOT;

fn head(kind: &str, namespace: &str) -> String {
    let mut text = String::with_capacity(64);
    text.push_str(kind);
    if namespace != ROOT {
        text.push_str(namespace);
        text.push(',');
    }
    text
}

/// `40{"sid":…}`, with the `pid` of a session that can be recovered. Nothing else of the namespace may be sent before it.
#[must_use]
pub fn connected(namespace: &str, sid: &str, pid: Option<&str>) -> String {
    let mut text = head("40", namespace);
    text.push_str("{\"sid\":\"");
    text.push_str(sid);
    if let Some(pid) = pid {
        text.push_str("\",\"pid\":\"");
        text.push_str(pid);
    }
    text.push_str("\"}");
    text
}

/// Makes `offset` the last argument of an event.
pub fn append_offset(event: &mut String, offset: u64) {
    use std::fmt::Write;
    event.pop();
    // A string takes every text.
    let _ = write!(event, ",\"{offset:x}\"]");
}

/// The event as it was before [`append_offset`].
#[must_use]
pub fn without_offset(event: &str) -> Option<String> {
    let (before, _) = event.rsplit_once(",\"")?;
    Some([before, "]"].concat())
}

/// `44{"message":…}`, the object form always.
#[must_use]
pub fn connect_error(namespace: &str, body: &Value) -> String {
    let mut text = head("44", namespace);
    text.push_str(&body.to_string());
    text
}

/// `42["name",args]`; `args` is JSON, comma-separated, empty for none. The name is one of ours: it needs no escape.
#[must_use]
pub fn event(namespace: &str, name: &str, args: &str) -> String {
    let mut text = head("42", namespace);
    text.reserve(name.len() + args.len() + 28); // also for an offset
    text.push_str("[\"");
    text.push_str(name);
    text.push('"');
    if !args.is_empty() {
        text.push(',');
        text.push_str(args);
    }
    text.push(']');
    text
}

/// `43<id>[args]`.
#[must_use]
pub fn ack(namespace: &str, id: u64, args: &str) -> String {
    let mut text = head("43", namespace);
    text.push_str(&id.to_string());
    text.push('[');
    text.push_str(args);
    text.push(']');
    text
}

/// Header of a binary event: its `attachments` frames follow.
#[must_use]
pub fn binary_event(namespace: &str, attachments: usize, name: &str, args: &str) -> String {
    let rest = event(namespace, name, args);
    format!("45{attachments}-{}", rest.get(2..).unwrap_or_default())
}

/// Header of a binary acknowledgement: its `attachments` frames follow.
#[must_use]
pub fn binary_ack(namespace: &str, attachments: usize, id: u64, args: &str) -> String {
    let rest = ack(namespace, id, args);
    format!("46{attachments}-{}", rest.get(2..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_default_namespace_is_not_written() {
        assert_eq!(connected("/", "abc", None), r#"40{"sid":"abc"}"#);
        assert_eq!(connected("/custom", "abc", None), r#"40/custom,{"sid":"abc"}"#);
        assert_eq!(event("/", "hb", ""), r#"42["hb"]"#);
        assert_eq!(event("/custom", "auth", "{}"), r#"42/custom,["auth",{}]"#);
        assert_eq!(ack("/", 0, "{}"), "430[{}]");
        assert_eq!(connect_error("/admin", &json!({"message": "Invalid namespace"})), r#"44/admin,{"message":"Invalid namespace"}"#);
        assert_eq!(binary_event("/", 2, "e", "1"), r#"452-["e",1]"#);
        assert_eq!(binary_ack("/x", 1, 7, "1"), "461-/x,7[1]");
    }

    #[test]
    fn the_offset_is_the_last_argument() {
        assert_eq!(connected("/", "abc", Some("0.x")), r#"40{"sid":"abc","pid":"0.x"}"#);
        let plain = event("/", "e", r#"{"a":",\"b"}"#);
        let mut text = plain.clone();
        append_offset(&mut text, 0x1f4a);
        assert_eq!(text, r#"42["e",{"a":",\"b"},"1f4a"]"#);
        assert_eq!(without_offset(&text), Some(plain));
    }
}
