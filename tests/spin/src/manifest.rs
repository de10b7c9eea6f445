//! The parts of `spin.toml` that decide what a component sees.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

/// `spin.toml`, as far as it is read here.
#[derive(Debug, Deserialize)]
pub struct Manifest {
    #[serde(default)]
    pub variables: BTreeMap<String, Variable>,
    pub component: BTreeMap<String, Component>,
}

/// A variable of the application.
#[derive(Debug, Deserialize)]
pub struct Variable {
    #[serde(default)]
    pub required: bool,
    pub default: Option<String>,
    #[serde(default)]
    pub secret: bool,
}

/// A component.
#[derive(Debug, Deserialize)]
pub struct Component {
    pub source: String,
    #[serde(default)]
    pub sqlite_databases: Vec<String>,
    #[serde(default)]
    pub allowed_outbound_hosts: Vec<String>,
    #[serde(default)]
    pub variables: BTreeMap<String, String>,
}

/// What one component may see and reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    pub variables: BTreeMap<String, String>,
    /// `scheme://host[:port]`.
    pub allowed_hosts: Vec<String>,
    pub databases: Vec<String>,
}

impl Manifest {
    /// Reads the file.
    ///
    /// # Errors
    /// It is not there, or not what Spin takes.
    pub fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        toml::from_str(&text).with_context(|| format!("reading {}", file.display()))
    }

    /// The component of a manifest that has one.
    ///
    /// # Errors
    /// It has none or several.
    pub fn only_component(&self) -> Result<&Component> {
        let mut all = self.component.values();
        match (all.next(), all.next()) {
            (Some(component), None) => Ok(component),
            _ => bail!("the manifest should have one component"),
        }
    }

    /// Fills in the values of variables. `set` knows what was set from outside, by the name in `spin.toml`.
    ///
    /// # Errors
    /// A variable that is required or named in a template has no value.
    pub fn given(&self, set: impl Fn(&str) -> Option<String>) -> Result<Given> {
        let component = self.only_component()?;
        let mut values = BTreeMap::new();
        for (name, variable) in &self.variables {
            ensure!(variable.required != variable.default.is_some(), "variable {name}: either required or a default");
            let value = set(name).or_else(|| variable.default.clone());
            values.insert(name.as_str(), value.with_context(|| format!("no value for the variable {name}"))?);
        }
        let fill = |template: &str| fill(template, &values);
        let variables: Result<_> = component.variables.iter().map(|(name, template)| Ok((name.clone(), fill(template)?))).collect();
        let allowed_hosts: Result<_> = component.allowed_outbound_hosts.iter().map(|template| fill(template)).collect();
        Ok(Given { variables: variables?, allowed_hosts: allowed_hosts?, databases: component.sqlite_databases.clone() })
    }
}

/// Replaces `{{ name }}`.
fn fill(template: &str, values: &BTreeMap<&str, String>) -> Result<String> {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, behind)) = rest.split_once("{{") {
        let (name, after) = behind.split_once("}}").context("a template without end")?;
        let name = name.trim();
        filled.push_str(before);
        filled.push_str(values.get(name).with_context(|| format!("the template names `{name}`, which is no variable"))?);
        rest = after;
    }
    Ok(filled + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        [variables]
        a = { default = "1" }
        b = { required = true }
        [component.x]
        source = "x.wasm"
        allowed_outbound_hosts = ["http://{{ b }}:80"]
        variables = { seen = "{{a}}-{{ b }}" }
    "#;

    #[test]
    fn templates_are_filled_from_outside_or_by_default() {
        let manifest: Manifest = toml::from_str(TEXT).unwrap();
        let given = manifest.given(|name| (name == "b").then(|| "host".to_owned())).unwrap();
        assert_eq!(given.variables["seen"], "1-host");
        assert_eq!(given.allowed_hosts, ["http://host:80"]);
        assert!(manifest.given(|_| None).is_err());
    }
}
