//! `spin-stand-in`: `spin up`, as far as tests need it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use chatcall::clock::Clock;
use chatcall::guest::Guest;
use clap::Parser;
use spin_stand_in::manifest::Manifest;
use spin_stand_in::server;
use spin_stand_in::services::SpinServices;
use tokio::net::TcpListener;

#[derive(Debug, Parser)]
#[command(about = "Runs the component of a spin.toml as Spin would; variables come from SPIN_VARIABLE_*")]
struct Args {
    /// The manifest
    #[arg(long, value_name = "FILE")]
    manifest: PathBuf,
    /// The component, instead of the manifest's
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
    /// Where to listen; port 0 picks a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Folder of the databases
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Folder of compiled components
    #[arg(long, value_name = "DIR", env = "CHATCALL_CACHE")]
    cache: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let manifest = Manifest::read(&args.manifest)?;
    let given = manifest.given(|name| std::env::var(format!("SPIN_VARIABLE_{}", name.to_ascii_uppercase())).ok())?;
    let source = PathBuf::from(&manifest.only_component()?.source);
    let source = args.component.unwrap_or_else(|| args.manifest.with_file_name("").join(source));
    let component = std::fs::read(&source).with_context(|| format!("reading {}: build it with `cargo xtask spin-build`", source.display()))?;
    // The linker refuses what nobody offers.
    let guest = Guest::load(&component, &args.cache, Arc::new(Clock::default()))?;
    let listener = TcpListener::bind(args.listen).await.with_context(|| format!("listening on {}", args.listen))?;
    println!("Serving http://{}", listener.local_addr()?);
    server::serve(listener, guest, Arc::new(SpinServices::new(given, &args.data))).await
}
