//! A part of a test that runs in a process of its own, so that it can be killed or run under a shim: the test binary starts
//! itself again with one ignored test and some environment. What the child wants to say it says with [`say`].

use std::{
    env,
    ffi::OsStr,
    io::{BufRead, BufReader, Write},
    process::{Child as Process, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

/// A running child. Dropping it kills it.
pub struct Child {
    process: Process,
    said: Receiver<String>,
}

impl Child {
    /// Starts the ignored test `name` (its whole path) alone in a new process.
    pub fn start<'a>(name: &str, environment: impl IntoIterator<Item = (&'a str, &'a OsStr)>) -> Self {
        Self::start_with(name, environment, Stdio::inherit())
    }

    /// The same, with its standard error going elsewhere.
    pub fn start_with<'a>(
        name: &str,
        environment: impl IntoIterator<Item = (&'a str, &'a OsStr)>,
        errors: Stdio,
    ) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["--exact", name, "--ignored", "--nocapture", "--test-threads=1"])
            .envs(environment)
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        let (sender, said) = mpsc::channel();
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some(said) = line.strip_prefix(MARK) {
                    let _gone = sender.send(said.to_owned());
                }
            }
        });
        Self { process, said }
    }

    /// The next thing that the child says; `None` once it has ended and everything was heard.
    ///
    /// # Panics
    /// If nothing comes for a minute.
    pub fn next_said(&self) -> Option<String> {
        match self.said.recv_timeout(SILENCE_MAX) {
            Ok(said) => Some(said),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("the child says nothing for {SILENCE_MAX:?}"),
        }
    }

    /// Ends the child with SIGKILL, and gives what it had said and nobody heard yet.
    pub fn kill(mut self) -> Vec<String> {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        std::iter::from_fn(|| self.next_said()).collect()
    }

    /// Asks the child to end, as a service manager does.
    pub fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Waits until the child ends, and gives how and what it said.
    ///
    /// # Panics
    /// If it does not end in time.
    pub fn wait(mut self, within: Duration) -> (ExitStatus, Vec<String>) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return (status, std::iter::from_fn(|| self.next_said()).collect());
            }
            assert!(start.elapsed() < within, "the child does not end within {within:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _ended = self.process.wait();
    }
}

/// In the child: says something to the parent. Once this returns, the parent gets it even if the child is killed.
pub fn say(what: &str) {
    let mut output = std::io::stdout().lock();
    writeln!(output, "\n{MARK}{what}").unwrap();
    output.flush().unwrap();
}

const MARK: &str = "@ ";
const SILENCE_MAX: Duration = Duration::from_secs(60);
