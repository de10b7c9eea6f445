//! What Spin 4 offers to a component.

/// Interfaces by their whole name; WASI 0.2 and 0.3 by their package, any interface and patch of it.
pub const INTERFACES: [&str; 4] =
    ["spin:key-value/key-value@3.0.0", "spin:redis/redis@3.0.0", "spin:sqlite/sqlite@3.1.0", "spin:variables/variables@3.0.0"];

/// Packages of WASI, with the line of versions.
pub const PACKAGES: [(&str, &str); 11] = [
    ("wasi:cli", "0.2."),
    ("wasi:clocks", "0.2."),
    ("wasi:filesystem", "0.2."),
    ("wasi:io", "0.2."),
    ("wasi:random", "0.2."),
    ("wasi:sockets", "0.2."),
    ("wasi:cli", "0.3."),
    ("wasi:clocks", "0.3."),
    ("wasi:http", "0.3."),
    ("wasi:random", "0.3."),
    ("wasi:filesystem", "0.3."),
];

/// Whether Spin has an interface of this name.
#[must_use]
pub fn offered(import: &str) -> bool {
    let package = |(package, line): &(&str, &str)| {
        let rest = import.strip_prefix(package).and_then(|rest| rest.strip_prefix('/'));
        rest.and_then(|rest| rest.split_once('@')).is_some_and(|(_, version)| version.starts_with(line))
    };
    INTERFACES.contains(&import) || PACKAGES.iter().any(package)
}
