//! The component and `spin.toml` as they are, against what Spin gives and takes.

use std::path::{Path, PathBuf};

use edge_core::settings::NAMES;
use spin_stand_in::imports::offered;
use spin_stand_in::manifest::Manifest;
use wasmtime::component::Component;
use wasmtime::{Config, Engine, OptLevel};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn manifest() -> Manifest {
    Manifest::read(&root().join("spin.toml")).expect("spin.toml is readable")
}

/// What the last WASM build left in the target folder of this test.
fn component() -> Vec<u8> {
    let exe = std::env::current_exe().expect("the path of this test");
    let file = exe.ancestors().nth(3).expect("<target>/<profile>/deps/").join("wasm32-wasip2/edge/edge_component.wasm");
    std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}; build it with `cargo xtask spin-build`", file.display()))
}

#[test]
fn the_component_imports_nothing_that_spin_lacks() {
    let mut config = Config::new();
    config.wasm_component_model_async(true).cranelift_opt_level(OptLevel::None);
    let engine = Engine::new(&config).unwrap();
    let component = Component::from_binary(&engine, &component()).unwrap();
    let imports: Vec<String> = component.component_type().imports(&engine).map(|(name, _)| name.to_owned()).collect();
    assert!(imports.iter().any(|name| name.starts_with("spin:sqlite/")), "{imports:?}");
    let lacking: Vec<&String> = imports.iter().filter(|name| !offered(name)).collect();
    assert!(lacking.is_empty(), "Spin offers none of {lacking:?}");
}

#[test]
fn what_spin_lacks_is_named() {
    for known in ["wasi:http/client@0.3.0", "wasi:io/streams@0.2.12", "spin:sqlite/sqlite@3.1.0"] {
        assert!(offered(known), "{known}");
    }
    for unknown in ["wasi:http/client@0.4.0", "spin:sqlite/sqlite@4.0.0", "chatcall:rooms/push@0.1.0", "wasi:nn/graph@0.2.0"] {
        assert!(!offered(unknown), "{unknown}");
    }
}

#[test]
fn every_setting_is_a_variable_of_the_application_and_of_the_component() {
    let manifest = manifest();
    let component = manifest.only_component().unwrap();
    // An alias that nobody sets on Spin.
    for name in NAMES.into_iter().filter(|name| *name != "NODE_ENV") {
        let name = name.to_ascii_lowercase();
        let variable = manifest.variables.get(&name).unwrap_or_else(|| panic!("spin.toml has no variable {name}"));
        assert!(!variable.required && variable.default.is_some(), "{name} should have a default");
        let secret = name.ends_with("_secret") || name.ends_with("_key");
        assert_eq!(variable.secret, secret, "{name}");
        assert_eq!(component.variables.get(&name), Some(&format!("{{{{ {name} }}}}")), "{name}");
    }
    assert_eq!(component.variables.len(), NAMES.len() - 1, "a variable that nobody reads");
}

#[test]
fn only_the_room_host_is_reachable() {
    let given = manifest().given(|_| None).unwrap();
    assert_eq!(given.allowed_hosts, [given.variables["room_host_url"].clone()]);
    assert_eq!(given.databases, ["default"]);
}
