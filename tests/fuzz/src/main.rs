//! Long runs by hand: `cargo run -p fuzz --release -- --seconds 3600 [target…]`, every target without names, one after the
//! other. Seeds follow the clock. An input that breaks a rule is left in `target/fuzz/`, and
//! `cargo run -p fuzz -- --input FILE target` repeats it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use fuzz::gateway;
use fuzz::mutate::Run;
use fuzz::targets::{TARGETS, Target, named};

/// The whole gateway, which takes no bytes.
const GATEWAY: &str = "gateway";
/// Inputs between two looks at the clock.
const AT_ONCE: usize = 64;

/// What is being checked, for the panic hook.
static CURRENT: Mutex<Option<(&str, Vec<u8>)>> = Mutex::new(None);

struct Arguments {
    seconds: u64,
    input: Option<PathBuf>,
    names: Vec<String>,
}

fn arguments() -> Result<Arguments, String> {
    let mut arguments = Arguments { seconds: 60, input: None, names: Vec::new() };
    let mut given = std::env::args().skip(1);
    while let Some(word) = given.next() {
        let mut value = || given.next().ok_or(format!("{word} takes a value"));
        match word.as_str() {
            "--seconds" => arguments.seconds = value()?.parse().map_err(|_| "--seconds takes a number".to_owned())?,
            "--input" => arguments.input = Some(value()?.into()),
            name if name == GATEWAY || named(name).is_some() => arguments.names.push(word),
            _ => return Err(format!("there is no target `{word}`; there are {GATEWAY}, {}", names().join(", "))),
        }
    }
    Ok(arguments)
}

fn names() -> Vec<&'static str> {
    TARGETS.iter().map(|target| target.name).collect()
}

fn main() -> ExitCode {
    match arguments().and_then(|arguments| work(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("error: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn work(arguments: &Arguments) -> Result<(), String> {
    if let Some(path) = &arguments.input {
        let target = arguments.names.first().and_then(|name| named(name)).ok_or("--input needs the name of a target")?;
        let input = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("{}: {}", target.name, if (target.check)(&input) { "taken" } else { "refused" });
        return Ok(());
    }
    keep_what_breaks();
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_err(|error| error.to_string())?.as_secs();
    let names: Vec<&str> = if arguments.names.is_empty() {
        names().into_iter().chain([GATEWAY]).collect()
    } else {
        arguments.names.iter().map(String::as_str).collect()
    };
    let each = Duration::from_secs(arguments.seconds) / u32::try_from(names.len()).unwrap_or(1);
    for name in names {
        match named(name) {
            Some(target) => run(target, seed, each),
            None => storms(seed, each),
        }
    }
    Ok(())
}

fn run(target: &'static Target, seed: u64, time: Duration) {
    let (start, mut run) = (Instant::now(), Run::new(target, seed));
    let (mut inputs, mut taken, mut slowest) = (0_u64, 0_u64, Duration::ZERO);
    while start.elapsed() < time {
        for _ in 0..AT_ONCE {
            taken += u64::from(run.one(|input| {
                *CURRENT.lock().expect("no panic holds it") = Some((target.name, input.to_vec()));
                let began = Instant::now();
                let taken = (target.check)(input);
                slowest = slowest.max(began.elapsed());
                taken
            }));
            inputs += 1;
        }
    }
    println!("{}: {inputs} inputs, {taken} taken, the slowest {slowest:?} (seed {seed})", target.name);
}

fn storms(seed: u64, time: Duration) {
    let (start, mut storms) = (Instant::now(), 0);
    while start.elapsed() < time {
        println!("{GATEWAY}: seed {}", seed + storms);
        let _ = gateway::storm(seed + storms, 3_000);
        storms += 1;
    }
}

/// Writes the input that is being checked to a file when a rule is broken.
fn keep_what_breaks() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        let Some((name, input)) = CURRENT.try_lock().ok().and_then(|mut current| current.take()) else { return };
        let folder = PathBuf::from(std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into())).join("fuzz");
        let path = folder.join(name);
        match std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, &input)) {
            Ok(()) => eprintln!("{name}: the input is {} ({} bytes)", path.display(), input.len()),
            Err(error) => eprintln!("{name}: {error}; the input is {}", input.escape_ascii()),
        }
    }));
}
