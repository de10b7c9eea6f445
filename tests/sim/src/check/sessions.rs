//! N47: what a session is recovered by is one person's. Whoever else shows it begins a session of his own.

use std::collections::HashMap;

use super::{Log, Report, Rule};
use crate::history::{Id, What};

pub(super) fn check(log: &Log<'_>, report: &mut Report) {
    let mut owners: HashMap<&Id, &Id> = HashMap::new();
    for (at, what) in log.iter() {
        let What::Connect { conn, user, session: Some(session), .. } = what else { continue };
        let owner = *owners.entry(session).or_insert(user);
        if owner != user {
            report.add(Rule::N47, "session_of_another", at, format!("{conn}: {session} of {owner} went to {user}"));
        }
    }
}
