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
        let symbols: Vec<char> = text.chars().collect();
        let groups = symbols.len().saturating_sub(2);
        // Every third group, and the last one, cover the text.
        for (_, group) in symbols.windows(3).enumerate().filter(|(at, _)| at % 3 == 0 || at + 1 == groups) {
            if !all.is_empty() {
                all.push_str(" AND ");
            }
            quote(&mut all, group.iter().copied());
        }
    }
    (!all.is_empty()).then_some(all)
}

/// An expression that messages with any of these groups match; without groups, one that no message matches.
#[must_use]
pub fn any_of<'a>(groups: impl Iterator<Item = &'a str>) -> String {
    let mut any = String::new();
    for group in groups {
        if !any.is_empty() {
            any.push_str(" OR ");
        }
        quote(&mut any, group.chars());
    }
    if any.is_empty() { "\"\u{1}\u{1}\u{1}\"".to_owned() } else { any }
}

fn quote(all: &mut String, group: impl Iterator<Item = char>) {
    all.push('"');
    for symbol in group {
        all.push(symbol);
        if symbol == '"' {
            all.push('"');
        }
    }
    all.push('"');
}

/// The part of `content` around the first of `needles` (folded), hits between `<mark>` and `</mark>`, everything else safe
/// to put into a page. `None` when there is no hit.
#[must_use]
pub fn snippet(content: &str, needles: &[String]) -> Option<String> {
    let text: Vec<char> = content.chars().collect();
    let folded: Vec<char> = text.iter().copied().map(fold_char).collect();
    let first = (0..text.len()).find(|at| hit(&folded, *at, needles) > 0)?;
    let start = first.saturating_sub(SNIPPET_BEFORE);
    let end = text.len().min((start + SNIPPET_CHARS).max(first + hit(&folded, first, needles)));
    let mut out = String::new();
    if start > 0 {
        out.push('…');
    }
    let mut at = start;
    while at < end {
        let length = hit(&folded, at, needles);
        let marked = length > 0 && at + length <= end;
        let to = at + if marked { length } else { 1 };
        if marked {
            out.push_str("<mark>");
        }
        for symbol in text.get(at..to).unwrap_or_default() {
            match symbol {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                symbol => out.push(*symbol),
            }
        }
        if marked {
            out.push_str("</mark>");
        }
        at = to;
    }
    if end < text.len() {
        out.push('…');
    }
    Some(out)
}

/// Characters of the longest of `needles` that stands at a place; 0 when none does.
fn hit(folded: &[char], at: usize, needles: &[String]) -> usize {
    let mut longest = 0;
    for needle in needles {
        let mut here = folded.iter().skip(at);
        let length = needle.chars().count();
        if length > longest && needle.chars().all(|symbol| here.next() == Some(&symbol)) {
            longest = length;
        }
    }
    longest
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
    fn any_of_no_groups_is_nothing() {
        assert_eq!(any_of(["abc", "a\"b"].into_iter()), "\"abc\" OR \"a\"\"b\"");
        assert_eq!(any_of([].into_iter()), "\"\u{1}\u{1}\u{1}\"");
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
