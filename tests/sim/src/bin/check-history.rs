//! Reads a history as JSON lines from standard input and prints the verdict. Exit status 0 when every promise held,
//! 1 when one was broken, 2 when the input cannot be read.

use std::process::ExitCode;

fn main() -> ExitCode {
    let events = match sim::history::from_json_lines(std::io::stdin().lock()) {
        Ok(events) => events,
        Err(error) => {
            eprintln!("The history cannot be read: {error}");
            return ExitCode::from(2);
        }
    };
    let verdict = sim::check::check(&events);
    println!("{verdict}");
    if verdict.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
