//! Everything a host calls in edge-core, reachable from `main`. Built for a target without any system, where a call to a
//! clock, to randomness or to JavaScript would stand in the import section; `cargo xtask test wasm` reads that section.
//! It is linked, never run.

#[cfg(target_arch = "wasm32")]
mod reach;

fn main() {
    #[cfg(target_arch = "wasm32")]
    reach::everything();
}
