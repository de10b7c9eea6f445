//! Who may depend on whom (`style.md`, Layout).

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

use crate::tree::{none, root};

/// Our crates, and which of ours each may use in what ships. Crates below `tests/` may use all.
const USES: [(&str, &[&str]); 7] = [
    ("wire", &[]),
    ("edge-core", &["wire"]),
    ("edge-component", &["edge-core", "wire"]),
    ("edge-cloudflare", &["edge-core", "wire"]),
    ("chatcall", &["edge-core", "wire"]),
    ("purity", &["edge-core", "wire"]),
    ("xtask", &[]),
];

/// Crates that stay pure, however far down the dependency stands.
const PURE: [&str; 2] = ["wire", "edge-core"];

/// Sockets, runtimes, hosts, databases, sources of time and of randomness.
const IMPURE: [&str; 27] = [
    "async-std", "bcrypt-pbkdf", "chrono", "futures-executor", "getrandom", "h2", "hyper", "js-sys", "libsql",
    "libsqlite3-sys", "mio", "rand", "reqwest", "rusqlite", "rustls", "smol", "socket2", "spin-sdk", "sqlx", "time",
    "tokio", "tungstenite", "ureq", "wasi", "wasm-bindgen", "wasmtime", "worker",
];

/// Dependencies of others that pure crates need not answer for: who, what, why. Only these steps are free: the same crate
/// reached in another way is refused.
const FREE: [(&str, &str, &str); 2] = [
    ("jsonwebtoken", "js-sys", "named for every wasm32; only the clock of `decode` calls it, which nothing of ours reaches: infra/purity"),
    ("jsonwebtoken", "getrandom", "named for every wasm32 and called by nothing without `rust_crypto`: infra/purity"),
];

/// Bundles of SQLite that do not link beside libsql's.
const OTHER_SQLITES: [&str; 3] = ["libsqlite3-sys", "rusqlite", "sqlx"];

/// What `cargo metadata` says.
struct Graph {
    names: BTreeMap<String, String>,
    /// Package id -> ids it uses in what ships (no dev-dependencies, no build scripts).
    uses: BTreeMap<String, Vec<String>>,
    /// Name and folder of our crates.
    members: Vec<(String, String, String)>,
}

impl Graph {
    /// The graph for `platform`; only packages that were needed to build for it are looked at.
    fn read(platform: &str) -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let output = Command::new(cargo)
            .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", platform])
            .current_dir(root())
            .output()
            .expect("cargo can be started");
        assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata writes JSON");
        let text = |value: &Value| value.as_str().expect("a string").to_owned();
        let list = |value: &Value| value.as_array().expect("a list").clone();

        let members: BTreeSet<String> = list(&metadata["workspace_members"]).iter().map(text).collect();
        let packages = list(&metadata["packages"]);
        let by_id: BTreeMap<String, &Value> = packages.iter().map(|package| (text(&package["id"]), package)).collect();
        let ships = |node: &Value, used: &Value| {
            let kinds = list(&used["dep_kinds"]);
            let name = &by_id[&text(&used["pkg"])]["name"];
            kinds.iter().any(|kind| kind["kind"].is_null()) && turned_on(by_id[&text(&node["id"])], &node["features"], name)
        };
        Self {
            names: by_id.iter().map(|(id, package)| (id.clone(), text(&package["name"]))).collect(),
            members: packages
                .iter()
                .filter(|package| members.contains(&text(&package["id"])))
                .map(|package| (text(&package["id"]), text(&package["name"]), text(&package["manifest_path"])))
                .collect(),
            uses: list(&metadata["resolve"]["nodes"])
                .iter()
                .map(|node| {
                    let used = list(&node["deps"]).iter().filter(|used| ships(node, used)).map(|used| text(&used["pkg"])).collect();
                    (text(&node["id"]), used)
                })
                .collect(),
        }
    }

    fn name(&self, id: &str) -> &str {
        self.names.get(id).expect("metadata names every package of its graph")
    }

    /// Every path `a -> b -> c` from a package, shortest first, one per package reached. Steps that are in `free` are not
    /// taken.
    fn reach(&self, from: &str, free: &[(&str, &str, &str)]) -> BTreeMap<String, String> {
        let mut paths = BTreeMap::from([(from.to_owned(), self.name(from).to_owned())]);
        let mut queue = std::collections::VecDeque::from([from.to_owned()]);
        while let Some(id) = queue.pop_front() {
            for used in self.uses.get(&id).into_iter().flatten() {
                if free.iter().any(|(who, what, _)| *who == self.name(&id) && *what == self.name(used)) {
                    continue;
                }
                if !paths.contains_key(used) {
                    paths.insert(used.clone(), format!("{} -> {}", paths[&id], self.name(used)));
                    queue.push_back(used.clone());
                }
            }
        }
        paths
    }
}

/// Whether `package` with these `features` is built with the dependency `name`. Metadata lists an optional one also for a
/// feature `name?/other`, which turns nothing on; when in doubt, yes.
fn turned_on(package: &Value, features: &Value, name: &Value) -> bool {
    let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
    items(&package["dependencies"]).iter().filter(|declared| declared["name"] == *name).any(|declared| {
        let key = declared["rename"].as_str().or(declared["name"].as_str()).expect("a dependency has a name");
        let (on, through) = (format!("dep:{key}"), format!("{key}/"));
        let turns = |item: &Value| item.as_str().is_some_and(|item| item == on || item.starts_with(&through));
        let enabled = |feature: &Value| feature.as_str().is_some_and(|feature| items(&package["features"][feature]).iter().any(turns));
        declared["optional"] != true || items(features).iter().any(enabled)
    })
}

#[test]
fn an_optional_dependency_counts_once_a_feature_turns_it_on() {
    let package = serde_json::json!({
        "dependencies": [{"name": "random", "rename": null, "optional": true}, {"name": "always", "rename": null, "optional": false}],
        "features": {"std": ["random?/std"], "random": ["dep:random"], "all": ["random/std"]},
    });
    let on = |features: &[&str], name: &str| turned_on(&package, &serde_json::json!(features), &serde_json::json!(name));
    assert!(!on(&["std"], "random") && !on(&[], "random"));
    assert!(on(&["std", "random"], "random") && on(&["all"], "random") && on(&[], "always"));
}

fn graphs() -> Vec<Graph> {
    let rustc = Command::new("rustc").arg("-vV").output().expect("rustc can be started");
    let text = String::from_utf8_lossy(&rustc.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host").to_owned();
    [host.as_str(), "wasm32-wasip2"].map(Graph::read).into()
}

#[test]
fn our_crates_use_only_what_they_may() {
    let mut wrong = BTreeSet::new();
    for graph in graphs() {
        let ours: BTreeSet<&str> = graph.members.iter().map(|(id, _, _)| id.as_str()).collect();
        for (id, name, manifest) in &graph.members {
            let in_tests = manifest.replace('\\', "/").contains("/tests/");
            let allowed = USES.iter().find(|(crate_name, _)| crate_name == name).map(|(_, allowed)| *allowed);
            if allowed.is_none() && !in_tests {
                wrong.insert(format!("{name}: say in USES which of our crates it may use"));
            }
            for used in graph.uses.get(id).into_iter().flatten().filter(|used| ours.contains(used.as_str())) {
                let used = graph.name(used);
                if allowed.is_some_and(|allowed| !allowed.contains(&used)) {
                    wrong.insert(format!("{name} uses {used}"));
                }
            }
        }
    }
    none("dependencies between parts that style.md forbids", &wrong);
}

#[test]
fn pure_crates_reach_no_socket_runtime_clock_or_randomness() {
    let mut wrong = BTreeSet::new();
    for graph in graphs() {
        for (id, _, _) in graph.members.iter().filter(|(_, name, _)| PURE.contains(&name.as_str())) {
            let impure = |id: &String| IMPURE.contains(&graph.name(id));
            wrong.extend(graph.reach(id, &FREE).into_iter().filter(|(id, _)| impure(id)).map(|(_, path)| path));
        }
    }
    none("pure crates that reach something impure", &wrong);
}

#[test]
fn no_second_sqlite_is_linked() {
    let mut wrong = BTreeSet::new();
    for graph in graphs() {
        for (id, _, _) in &graph.members {
            let second = |id: &String| OTHER_SQLITES.contains(&graph.name(id));
            wrong.extend(graph.reach(id, &[]).into_iter().filter(|(id, _)| second(id)).map(|(_, path)| path));
        }
    }
    none("libsql does not link beside another SQLite (duplicate symbols)", &wrong);
}
