//! The `privet` command: parse, build, run, exit code.

use std::process::ExitCode;

use clap::Parser;
use privet::cli::{
    dev::{self, Dev},
    terminal::Terminal,
};

#[derive(Parser)]
enum Command {
    Dev(Dev),
}

fn main() -> ExitCode {
    let Command::Dev(args) = Command::parse();
    let runtime = tokio::runtime::Runtime::new();
    let terminal = Terminal::of_process(false, false);
    match runtime.map(|runtime| runtime.block_on(dev::run(args, &terminal))) {
        Ok(Ok(exit)) => exit.into(),
        Ok(Err(error)) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
        Err(_) => ExitCode::from(3),
    }
}
