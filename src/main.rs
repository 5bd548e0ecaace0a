//! `privet`: parses the command line, runs it, and exits with its code.

use std::process::ExitCode;

use privet::{
    cli::{Cli, failure::Exit},
    server::shutdown::harden,
};

fn main() -> ExitCode {
    run().unwrap_or_else(|exit| exit).into()
}

fn run() -> Result<Exit, Exit> {
    let cli = Cli::from_args(std::env::args_os())?;
    // Clients hold plaintext too: whatever runs here leaves no core dump, and no file that others can read.
    harden().map_err(|error| {
        eprintln!("error: the process can't be shut off from others: {error}");
        Exit::Unavailable
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
        eprintln!("error: no runtime: {error}");
        Exit::Unavailable
    })?;
    let exit = runtime.block_on(cli.run());
    // A thread may still wait for standard input; nobody needs it any more.
    runtime.shutdown_background();
    Ok(exit)
}
