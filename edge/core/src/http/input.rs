//! What clients send: JSON bodies, query strings, path parameters, cookies. Bounded, and every wrong type names its field.

use serde_json::{Map, Value};
use wire::{ErrorCode, RoomId, UserId};

use super::Request;
use crate::error::Failure;
use crate::limits::{JSON_DEPTH, MAX_ACK_ID};

/// The JSON object of a body. Unknown fields are ignored.
#[derive(Debug)]
pub(super) struct Fields(pub(super) Map<String, Value>);

impl Fields {
    /// Reads the body of a request that must have one.
    pub(super) fn read(request: &Request) -> Result<Self, Failure> {
        let media = request.header("content-type").and_then(|value| value.split(';').next()).unwrap_or_default();
        if !media.trim().eq_ignore_ascii_case("application/json") {
            return Err(Failure::from(ErrorCode::UnsupportedMediaType).saying("The body must be application/json"));
        }
        if deeper_than(&request.body, JSON_DEPTH) {
            return Err(Failure::from(ErrorCode::InvalidData).saying("The JSON is nested too deeply"));
        }
        match serde_json::from_slice(&request.body) {
            Ok(Value::Object(map)) => Ok(Self(map)),
            _ => Err(Failure::from(ErrorCode::InvalidData).saying("The body must be a JSON object")),
        }
    }

    /// Reads the body of a request that may come without one.
    pub(super) fn read_optional(request: &Request) -> Result<Self, Failure> {
        if request.body.is_empty() { Ok(Self(Map::new())) } else { Self::read(request) }
    }

    /// A text that must be there.
    pub(super) fn text(&self, name: &str) -> Result<&str, Failure> {
        self.optional_text(name)?.ok_or_else(|| Failure::invalid(name, "A text is expected"))
    }

    /// A text, or nothing (`null` counts as nothing).
    pub(super) fn optional_text(&self, name: &str) -> Result<Option<&str>, Failure> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Failure::invalid(name, "A text is expected")),
        }
    }

    /// A list of texts that must be there.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<&str>, Failure> {
        let list = self.0.get(name).and_then(Value::as_array);
        list.and_then(|list| list.iter().map(Value::as_str).collect())
            .ok_or_else(|| Failure::invalid(name, "A list of texts is expected"))
    }
}

/// Whether arrays and objects are nested deeper than `most`, without recursion and before anything is built.
fn deeper_than(json: &[u8], most: usize) -> bool {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'{' | b'[' if !in_text => {
                depth += 1;
                if depth > most {
                    return true;
                }
            }
            b'}' | b']' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// A query parameter, decoded. It comes once, as UTF-8 without broken escapes: nobody should have to guess what was meant.
pub(super) fn query(request: &Request, name: &str) -> Result<Option<String>, Failure> {
    let mut values = request.query.split('&').filter_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (percent_decode(key, true) == name).then_some(value)
    });
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Failure::invalid(name, "This parameter is expected once"));
    }
    let (bytes, broken) = unescape(value, true);
    match String::from_utf8(bytes) {
        Ok(text) if !broken => Ok(Some(text)),
        _ => Err(Failure::invalid(name, "Percent-encoded UTF-8 is expected")),
    }
}

/// A query parameter that is a whole number which JavaScript can hold.
pub(super) fn number(request: &Request, name: &str) -> Result<Option<u64>, Failure> {
    let Some(text) = query(request, name)? else { return Ok(None) };
    match whole(&text) {
        Some(number) if number <= MAX_ACK_ID => Ok(Some(number)),
        _ => Err(Failure::invalid(name, "A whole number is expected")),
    }
}

/// `limit`: at least 1, cut to `most`, however large it is.
pub(super) fn limit(request: &Request, default: u64, most: u64) -> Result<u64, Failure> {
    match query(request, "limit")?.map(|text| whole(&text)) {
        None => Ok(default),
        Some(Some(limit)) if limit > 0 => Ok(limit.min(most)),
        Some(_) => Err(Failure::invalid("limit", "A whole number of at least 1 is expected")),
    }
}

/// The number that digits write; what is larger than any is the largest.
fn whole(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

/// The conversation of a path; what is no id is as invisible as a foreign one.
pub(super) fn room_param(params: &[String]) -> Result<RoomId, Failure> {
    params.first().and_then(|text| RoomId::parse(text)).ok_or_else(|| ErrorCode::NotFound.into())
}

/// The person of a path.
pub(super) fn user_param(params: &[String]) -> Result<UserId, Failure> {
    params.first().and_then(|text| UserId::parse(text)).ok_or_else(|| ErrorCode::UserNotFound.into())
}

/// Whether a text to search by asks for everything (N31).
pub(super) fn only_wildcards(text: &str) -> bool {
    text.chars().all(|symbol| "%_*?".contains(symbol) || symbol.is_whitespace())
}

/// A cookie of the request.
pub(super) fn cookie<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    let all = request.headers.iter().filter(|(header, _)| header == "cookie").flat_map(|(_, value)| value.split(';'));
    all.filter_map(|pair| pair.trim().split_once('=')).find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// Decodes `%41`, and `+` as a space in queries. What is no escape stays as it is; what is no UTF-8 is replaced.
pub(super) fn percent_decode(text: &str, plus: bool) -> String {
    String::from_utf8(unescape(text, plus).0).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// The bytes, and whether there was a `%` that is no escape.
fn unescape(text: &str, plus: bool) -> (Vec<u8>, bool) {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let (mut at, mut broken) = (0, false);
    while let Some(byte) = bytes.get(at) {
        let digit = |offset: usize| bytes.get(at + offset).and_then(|byte| char::from(*byte).to_digit(16));
        match (byte, digit(1), digit(2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high << 4 | low).unwrap_or(b'?'));
                at += 3;
                continue;
            }
            (b'+', ..) if plus => out.push(b' '),
            _ => {
                broken |= *byte == b'%';
                out.push(*byte);
            }
        }
        at += 1;
    }
    (out, broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(media: &str, body: &str) -> Request {
        Request {
            headers: vec![("content-type".to_owned(), media.to_owned())],
            body: body.as_bytes().to_vec(),
            ..Request::default()
        }
    }

    fn get(query: &str) -> Request {
        Request { query: query.to_owned(), ..Request::default() }
    }

    #[test]
    fn bodies_must_be_json_objects_of_limited_depth() {
        assert!(Fields::read(&post("application/json; charset=utf-8", "{}")).is_ok());
        assert_eq!(Fields::read(&post("text/plain", "{}")).unwrap_err().code, ErrorCode::UnsupportedMediaType);
        let deep = |n: usize| format!("{{\"a\":{}{}}}", "[".repeat(n), "]".repeat(n));
        assert!(Fields::read(&post("application/json", &deep(31))).is_ok());
        for bad in ["", "[]", "1", "{", "{\"a\":\"\\ud800\"}", "\u{feff}{}", &deep(32), &deep(10_000)] {
            let failure = Fields::read(&post("application/json", bad)).unwrap_err();
            assert_eq!(failure.code, ErrorCode::InvalidData);
        }
    }

    #[test]
    fn brackets_in_texts_do_not_count() {
        assert!(!deeper_than(br#"{"a":"[[[[\"[[[[\\","b":[1]}"#, 2));
        assert!(deeper_than(br#"{"a":[[1]]}"#, 2));
    }

    #[test]
    fn wrong_types_name_their_field() {
        let fields = Fields::read(&post("application/json", r#"{"email":{"$gt":""},"ids":[1],"n":null}"#)).unwrap();
        assert_eq!(fields.text("email").unwrap_err().field.as_deref(), Some("email"));
        assert_eq!(fields.texts("ids").unwrap_err().field.as_deref(), Some("ids"));
        assert_eq!(fields.texts("missing").unwrap_err().field.as_deref(), Some("missing"));
        assert_eq!(fields.optional_text("n").unwrap(), None);
    }

    #[test]
    fn limits_are_whole_numbers_from_1_and_cut() {
        assert_eq!(limit(&get(""), 50, 200), Ok(50));
        assert_eq!(limit(&get("limit=7"), 50, 200), Ok(7));
        for large in ["limit=9999999999", "limit=99999999999999999999"] {
            assert_eq!(limit(&get(large), 50, 200), Ok(200));
        }
        for bad in ["limit=0", "limit=-1", "limit=1.5", "limit=x", "limit=", "limit", "limit=+5", "limit=5&limit=5", "limit=5%"] {
            assert_eq!(limit(&get(bad), 50, 200).unwrap_err().field.as_deref(), Some("limit"), "{bad}");
        }
    }

    #[test]
    fn numbers_are_those_of_javascript() {
        assert_eq!(number(&get("after=9007199254740991"), "after"), Ok(Some(MAX_ACK_ID)));
        for bad in ["after=9007199254740992", "after=99999999999999999999", "after=-1", "after=1e3", "after="] {
            assert_eq!(number(&get(bad), "after").unwrap_err().field.as_deref(), Some("after"), "{bad}");
        }
    }

    #[test]
    fn a_parameter_comes_once_and_whole() {
        for bad in ["q=a&q=a", "q=a&%71=b", "q&q=", "q=%", "q=%4", "q=%zz", "q=100%", "q=%ff", "q=%f0%28%8c%28"] {
            assert_eq!(query(&get(bad), "q").unwrap_err().field.as_deref(), Some("q"), "{bad}");
        }
        // What nobody asks for is ignored.
        assert_eq!(query(&get("q=a&x=%zz&x=1"), "q"), Ok(Some("a".to_owned())));
    }

    #[test]
    fn queries_and_paths_are_decoded() {
        let found = query(&get("a=1&before=2026-03-01T09%3A30+x&b"), "before");
        assert_eq!(found, Ok(Some("2026-03-01T09:30 x".to_owned())));
        assert_eq!(percent_decode("a+%2", false), "a+%2");
        assert_eq!(percent_decode("%ff%é", false), "\u{fffd}%é");
    }

    #[test]
    fn cookies_are_found_among_others() {
        let request = Request { headers: vec![("cookie".to_owned(), "a=1; b=2;c=3".to_owned())], ..Request::default() };
        assert_eq!(cookie(&request, "b"), Some("2"));
        assert_eq!(cookie(&request, "c"), Some("3"));
        assert_eq!(cookie(&request, "d"), None);
    }
}
