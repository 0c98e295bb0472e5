//! Measures system-semaphore beside what else there is, all in one interleaved run. `bench/run` builds and starts it.

mod contestant;
mod machine;
mod plot;
mod process;
mod report;
mod samples;
mod settings;
mod shapes;
mod targets;
mod usage;
mod worker;

use std::error::Error;
use std::process::ExitCode;

use settings::{Command, Settings};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let done = match Command::from_arguments() {
        Ok(Command::Worker(contestant)) => {
            worker::serve(&contestant);
            Ok(true)
        }
        Ok(Command::Measure(settings)) => measure(&settings),
        Ok(Command::Write) => report::write().map(|()| true),
        Err(error) => Err(error),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(settings: &Settings) -> Result<bool> {
    let (run, count) = shapes::run(settings)?;
    print!("{}", report::tables(&run));
    if settings.is_for_documents() {
        run.save()?;
        report::write()?;
    }
    println!("{} passed, {} failed", count.passed, count.failed);
    Ok(count.failed == 0)
}
