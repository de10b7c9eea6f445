//! Embeds the edge component and the migrations.
//!
//! The component is `CHATCALL_COMPONENT`, or what the wasm build left in the target directory. Without either the host
//! is built without one and says at start how to get it.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    component(&out);
    migrations(&out);
}

fn component(out: &Path) {
    println!("cargo:rerun-if-env-changed=CHATCALL_COMPONENT");
    // <target>/<profile>/build/<package>/out
    let target = out.ancestors().nth(4).expect("cargo nests OUT_DIR four deep");
    let file = env::var_os("CHATCALL_COMPONENT")
        .map_or_else(|| target.join("wasm32-wasip2/edge/edge_component.wasm"), PathBuf::from);
    println!("cargo:rerun-if-changed={}", file.display());
    let text = if file.is_file() {
        let copy = out.join("edge_component.wasm");
        fs::copy(&file, &copy).expect("the component can be copied to OUT_DIR");
        "Some(include_bytes!(concat!(env!(\"OUT_DIR\"), \"/edge_component.wasm\")))"
    } else {
        "None"
    };
    fs::write(out.join("component.rs"), text).expect("OUT_DIR is writable");
}

fn migrations(out: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schema/migrations");
    let mut text = String::from("&[\n");
    // Gateways store nothing here: only where they sleep.
    for set in ["people", "room", "user"] {
        let directory = root.join(set);
        println!("cargo:rerun-if-changed={}", directory.display());
        let mut files: Vec<PathBuf> = fs::read_dir(&directory)
            .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
            .unwrap_or_default();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "sql"));
        files.sort();
        for file in files {
            let name = file.file_stem().and_then(|stem| stem.to_str()).expect("migrations have ASCII names").to_owned();
            let file = file.canonicalize().expect("the file was just listed");
            text.push_str(&format!(
                "    Migration {{ set: {set:?}, name: {name:?}, sql: include_str!({:?}) }},\n",
                file.display().to_string()
            ));
        }
    }
    text.push_str("]\n");
    fs::write(out.join("migrations.rs"), text).expect("OUT_DIR is writable");
}
