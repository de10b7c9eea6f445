//! The search of messages.

use edge_core::search::{expression, fold, snippet};

/// A question and a message, separated by 0xff: whatever is asked is text, and a snippet is a piece of the message.
pub(super) fn search_query(input: &[u8]) -> bool {
    let mut parts = input.split(|byte| *byte == 0xff).map(String::from_utf8_lossy);
    let (question, content) = (fold(&parts.next().unwrap_or_default()), parts.next().unwrap_or_default());
    let folded = fold(&content);
    assert_eq!(folded.chars().count(), content.chars().count());
    if let Some(expression) = expression(std::slice::from_ref(&question)).filter(|_| !question.contains([' ', '"'])) {
        // Quoted groups of three and nothing else.
        for group in expression.split(" AND ") {
            let inside = group.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).expect("quoted");
            assert_eq!(inside.chars().count(), 3, "{expression}");
        }
    }
    if question.is_empty() {
        return false;
    }
    match snippet(&content, std::slice::from_ref(&question)) {
        None => {
            assert!(!folded.contains(&question));
            false
        }
        Some(shown) => {
            assert!(folded.contains(&question));
            let plain = shown.replace("<mark>", "").replace("</mark>", "");
            assert!(!plain.contains(['<', '>']));
            let plain = plain.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
            assert!(content.contains(plain.trim_matches('…')), "{shown}");
            true
        }
    }
}
