//! Names and values of the environment, with a `.env` file behind it.

use std::collections::BTreeMap;
use std::path::Path;

use edge_core::settings::Variables;

use super::Wrong;

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

    pub(super) fn names_with_prefix(&self, prefix: &str) -> Vec<&str> {
        self.0.keys().map(String::as_str).filter(|name| name.starts_with(prefix) && self.get(name).is_some()).collect()
    }
}

impl Variables for Environment {
    fn raw(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }
}
