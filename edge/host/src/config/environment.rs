//! Names and values of the environment, with a `.env` file behind it.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Wrong, wrong};

/// The variables of this process. An empty value counts as unset.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The process environment, completed from the file `dotenv` where it exists.
    ///
    /// # Errors
    /// The file exists and cannot be read.
    pub fn read(dotenv: &Path) -> Result<Self, Wrong> {
        let mut values = BTreeMap::new();
        if dotenv.is_file() {
            // The parser's own words would repeat the line, which may hold a secret.
            let unreadable = || Wrong(format!("{} is not a list of NAME=value lines", dotenv.display()));
            for pair in dotenvy::from_path_iter(dotenv).map_err(|_| unreadable())? {
                let (name, value) = pair.map_err(|_| unreadable())?;
                values.insert(name, value);
            }
        }
        values.extend(std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))));
        Ok(Self(values))
    }

    /// Given pairs only.
    #[must_use]
    pub fn of(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    /// The value, unless empty.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// The value as it stands, empty included.
    #[must_use]
    pub fn raw(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn names_with_prefix(&self, prefix: &str) -> Vec<&str> {
        self.0.keys().map(String::as_str).filter(|name| name.starts_with(prefix) && self.get(name).is_some()).collect()
    }

    pub(super) fn number(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, Wrong> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match value.parse::<u64>() {
            Ok(n) if (least..=most).contains(&n) => Ok(Some(n)),
            _ => wrong(format!("{name} is `{value}`: it takes a number from {least} to {most}")),
        }
    }

    pub(super) fn word(&self, name: &str, words: &[&'static str]) -> Result<Option<&'static str>, Wrong> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match words.iter().find(|word| **word == value) {
            Some(word) => Ok(Some(word)),
            None => wrong(format!("{name} is `{value}`: it takes {}", words.join(" or "))),
        }
    }

    /// `90s`, `15m`, `12h`, `7d`.
    pub(super) fn duration_ms(&self, name: &str) -> Result<Option<u64>, Wrong> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let unit = match value.chars().last() {
            Some('s') => 1_000,
            Some('m') => 60_000,
            Some('h') => 3_600_000,
            Some('d') => 86_400_000,
            _ => 0,
        };
        let number = value.get(..value.len() - 1).and_then(|digits| digits.parse::<u64>().ok());
        match number.and_then(|n| n.checked_mul(unit)) {
            Some(ms) if ms > 0 && ms <= 3_650 * 86_400_000 => Ok(Some(ms)),
            _ => wrong(format!("{name} is `{value}`: it takes a time like 90s, 15m, 12h or 7d")),
        }
    }
}
