//! Whom a message mentions: `@name`, `@all`, `@here`, as whole words in any case.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire::{RoomId, UserId};

use super::{Ready, Stored};
use crate::effects::Effects;
use crate::limits;
use crate::sql::projection;

/// As it stands in `metadata.mentions`.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Mentions {
    users: Vec<UserId>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    all: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    here: bool,
}

impl Ready {
    /// Whom of the members `content` mentions: JSON, unless nobody.
    pub(super) fn mentioned(&self, content: &str) -> Option<String> {
        if !content.contains('@') {
            return None;
        }
        let names = self.members().map(|(user, seat)| (seat.username.to_ascii_lowercase(), *user)).collect();
        let found = resolve(content, &names);
        if found == Mentions::default() { None } else { serde_json::to_string(&found).ok() }
    }

    /// Counts the message for those whom it mentions, or no longer for anybody.
    pub(super) fn project_mentions(&self, fx: &mut Effects, room: RoomId, row: &Stored) {
        let found: Mentions =
            row.mentions.as_deref().and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        let users = serde_json::to_string(&found.users).unwrap_or_default();
        let statement = projection::mention(room, row.nth, row.sender, found.all || found.here, users);
        fx.project(format!("mention:{room}:{}", row.nth), self.head, statement, false);
    }

    /// Repeats what a crash may have lost: everything in memory above the newest that is known.
    pub(super) fn repair_mentions(&self, fx: &mut Effects, room: RoomId, known_nth: u64) {
        for row in self.recent.iter().filter(|row| row.nth > known_nth && row.mentions.is_some()) {
            self.project_mentions(fx, room, row);
        }
    }
}

fn resolve(content: &str, names: &BTreeMap<String, UserId>) -> Mentions {
    let mut found = Mentions::default();
    for (at, _) in content.match_indices('@') {
        let before = content.get(..at).and_then(|text| text.chars().next_back());
        let rest = content.get(at + 1..).unwrap_or_default();
        let length = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(byte)).count();
        let (word, behind) = rest.split_at_checked(length).unwrap_or_default();
        let joined = |symbol: char| symbol.is_alphanumeric() || symbol == '_' || symbol == '@';
        if before.is_some_and(joined) || behind.chars().next().is_some_and(joined) {
            continue;
        }
        // A name may end in what also ends sentences.
        let mut word = word.to_ascii_lowercase();
        while !word.is_empty() && !found.take(&word, names) && word.ends_with(['.', '-', '_']) {
            word.pop();
        }
    }
    found
}

impl Mentions {
    /// Whether the word means somebody.
    fn take(&mut self, word: &str, names: &BTreeMap<String, UserId>) -> bool {
        match word {
            "all" => self.all = true,
            "here" => self.here = true,
            _ => {
                let Some(user) = names.get(word) else { return false };
                if self.users.len() < limits::MENTIONED_USERS && !self.users.contains(user) {
                    self.users.push(*user);
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(n: u64) -> UserId {
        UserId(wire::uuid_v7(1, 0, n))
    }

    fn found(content: &str) -> Mentions {
        let names = [("ann", 1), ("bob", 2), ("bob.b", 3), ("x-", 4)].map(|(name, n)| (name.to_owned(), user(n)));
        resolve(content, &names.into())
    }

    #[test]
    fn names_are_whole_words_in_any_case() {
        for (content, users) in [
            ("@ann", vec![1]),
            ("hi @Ann, @BOB!", vec![1, 2]),
            ("(@ann)", vec![1]),
            ("@bob.", vec![2]),
            ("@bob.b...", vec![3]),
            ("@bob.b", vec![3]),
            ("@x-", vec![4]),
            ("@ann@bob", vec![]),
            ("mail@ann", vec![]),
            ("mail@bob.b", vec![]),
            ("@anna @annä @an @", vec![]),
            ("@@ann", vec![]),
            ("@ann @ann", vec![1]),
            ("ü@ann .@ann", vec![1]),
        ] {
            let users: Vec<UserId> = users.into_iter().map(user).collect();
            assert_eq!(found(content), Mentions { users, ..Mentions::default() }, "{content}");
        }
    }

    #[test]
    fn all_and_here_are_words_of_their_own() {
        assert_eq!(found("@All: @here."), Mentions { all: true, here: true, users: vec![] });
        assert_eq!(found("@allies @hereby"), Mentions::default());
    }

    #[test]
    fn at_most_fifty_are_mentioned() {
        let names: BTreeMap<String, UserId> = (0..60).map(|n| (format!("u{n}"), user(n))).collect();
        let content: String = (0..60).map(|n| format!("@u{n} ")).collect();
        assert_eq!(resolve(&content, &names).users.len(), 50);
    }
}
