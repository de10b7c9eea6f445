//! What searching compares (G-07): text in lower case, character by character, so that places in it are places in the
//! original; groups of three characters for the index; and the piece of a message that shows a hit.

/// Characters of a message shown around its first hit.
const SNIPPET_CHARS: usize = 160;
/// Of them before the hit.
const SNIPPET_BEFORE: usize = 40;

/// The text as it is indexed and looked for: as many characters as it had.
#[must_use]
pub fn fold(text: &str) -> String {
    text.chars().map(fold_char).collect()
}

fn fold_char(symbol: char) -> char {
    let mut lower = symbol.to_lowercase();
    match (lower.next(), lower.next()) {
        // The Greek final form is the same letter.
        (Some('ς'), None) => 'σ',
        (Some(one), None) => one,
        _ => symbol,
    }
}

/// An expression for the full text that every message with all of these texts matches; `None` when none of them has three
/// characters.
#[must_use]
pub fn expression(texts: &[String]) -> Option<String> {
    let mut all = String::new();
    for text in texts {
        let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        let groups = starts.len().saturating_sub(3);
        // Every third group, and the last one, cover the text.
        for at in (0..groups).filter(|at| at % 3 == 0 || at + 1 == groups) {
            let group = starts.get(at).zip(starts.get(at + 3)).and_then(|(from, to)| text.get(*from..*to)).unwrap_or_default();
            if !all.is_empty() {
                all.push_str(" AND ");
            }
            all.push('"');
            for symbol in group.chars() {
                all.push(symbol);
                if symbol == '"' {
                    all.push('"');
                }
            }
            all.push('"');
        }
    }
    (!all.is_empty()).then_some(all)
}

/// The part of `content` around the first of `needles` (folded), hits between `<mark>` and `</mark>`, everything else safe
/// to put into a page. `None` when there is no hit.
#[must_use]
pub fn snippet(content: &str, needles: &[String]) -> Option<String> {
    let text: Vec<char> = content.chars().collect();
    let folded: Vec<char> = text.iter().copied().map(fold_char).collect();
    let needles: Vec<Vec<char>> = needles.iter().map(|needle| needle.chars().collect()).collect();
    let hit = |at: usize| {
        let rest = folded.get(at..).unwrap_or_default();
        needles.iter().filter(|needle| rest.starts_with(needle)).map(Vec::len).max()
    };
    let first = (0..text.len()).find(|at| hit(*at).is_some())?;
    let start = first.saturating_sub(SNIPPET_BEFORE);
    let end = text.len().min((start + SNIPPET_CHARS).max(first + hit(first)?));
    let mut out = String::new();
    if start > 0 {
        out.push('…');
    }
    let mut at = start;
    while at < end {
        let marked = hit(at).filter(|length| at + length <= end);
        let to = at + marked.unwrap_or(1);
        if marked.is_some() {
            out.push_str("<mark>");
        }
        text.get(at..to).unwrap_or_default().iter().for_each(|symbol| push_escaped(&mut out, *symbol));
        if marked.is_some() {
            out.push_str("</mark>");
        }
        at = to;
    }
    if end < text.len() {
        out.push('…');
    }
    Some(out)
}

fn push_escaped(out: &mut String, symbol: char) {
    match symbol {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        symbol => out.push(symbol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn folding_keeps_every_place() {
        for (text, folded) in [("HeLLo Wörld", "hello wörld"), ("ÄÖÜ Straße", "äöü straße"), ("ΟΔΟΣ ς", "οδοσ σ"), ("İx會", "İx會"), ("👍🏽A", "👍🏽a")] {
            assert_eq!(fold(text), folded);
            assert_eq!(fold(text).chars().count(), text.chars().count());
        }
    }

    #[test]
    fn expressions_cover_each_text_and_take_it_literally() {
        assert_eq!(expression(&texts(&["hello"])).as_deref(), Some("\"hel\" AND \"llo\""));
        assert_eq!(expression(&texts(&["abc", "to", "wxyz"])).as_deref(), Some("\"abc\" AND \"wxy\" AND \"xyz\""));
        assert_eq!(expression(&texts(&["a\"b"])).as_deref(), Some("\"a\"\"b\""));
        assert_eq!(expression(&texts(&["會議記"])).as_deref(), Some("\"會議記\""));
        assert_eq!(expression(&texts(&["會議", "", "x"])), None);
    }

    #[test]
    fn snippets_mark_hits_and_escape_the_rest() {
        let shown = |content: &str, needles: &[&str]| snippet(content, &texts(needles));
        assert_eq!(shown("Say Hello", &["hello"]).as_deref(), Some("Say <mark>Hello</mark>"));
        assert_eq!(shown("<b>&x</b>", &["b>"]).as_deref(), Some("&lt;<mark>b&gt;</mark>&amp;x&lt;/<mark>b&gt;</mark>"));
        assert_eq!(shown("aaa", &["aa"]).as_deref(), Some("<mark>aa</mark>a"));
        assert_eq!(shown("one two", &["two", "on"]).as_deref(), Some("<mark>on</mark>e <mark>two</mark>"));
        assert_eq!(shown("nothing", &["x"]), None);
    }

    #[test]
    fn snippets_of_long_messages_are_short() {
        let content = "é".repeat(900) + "needle" + &"&".repeat(900);
        let found = snippet(&content, &texts(&["needle"])).unwrap();
        assert!(found.starts_with("…éé") && found.contains("<mark>needle</mark>&amp;") && found.ends_with('…'));
        assert_eq!(found.replace("&amp;", "&").replace("<mark>", "").replace("</mark>", "").chars().count(), SNIPPET_CHARS + 2);
        let long = "x".repeat(300);
        assert_eq!(snippet(&long, &texts(&[&"x".repeat(200)])).unwrap().matches('x').count(), 200);
    }
}
