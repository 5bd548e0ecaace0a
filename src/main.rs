//! `privet`: parses the command line, runs it, and exits with its code.

use std::process::ExitCode;

use privet::cli::{Cli, failure::Exit};

fn main() -> ExitCode {
    run().unwrap_or_else(|exit| exit).into()
}

fn run() -> Result<Exit, Exit> {
    let cli = Cli::from_args(std::env::args_os())?;
    // A core dump would hold plaintext and keys; where the limit can't be set, it is as the user left it.
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
        eprintln!("error: no runtime: {error}");
        Exit::Unavailable
    })?;
    let exit = runtime.block_on(cli.run());
    // A thread may still wait for standard input; nobody needs it any more.
    runtime.shutdown_background();
    Ok(exit)
}
