//! The command-line client of a database, to look into tables, to change them, and to hold locks.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

/// How to start the client: it reads SQL from its input, and writes rows without decoration.
#[derive(Clone, Debug)]
pub struct SqlClient {
    program: String,
    arguments: Vec<String>,
}

/// A client that stays connected until this is dropped.
#[derive(Debug)]
pub struct SqlSession(Child);

impl SqlClient {
    pub(crate) fn new(program: impl Into<String>, arguments: &[&str]) -> Self {
        Self { program: program.into(), arguments: arguments.iter().map(ToString::to_string).collect() }
    }

    /// The client of PostgreSQL.
    #[cfg(feature = "postgres")]
    pub(crate) fn psql(port: u16, user: &str) -> Self {
        let port = port.to_string();
        let options = ["-XAtq", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", &port, "-U", user, "postgres"];
        Self::new("psql", &options)
    }

    /// Carries out statements, and returns the rows that they show.
    pub fn ask(&self, sql: &str) -> String {
        let mut process = self.spawn();
        let mut input = process.stdin.take().expect("an input");
        input.write_all(sql.as_bytes()).expect("the client reads");
        drop(input);
        let output = process.wait_with_output().expect("the client ends");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && errors.is_empty(), "{sql}: {errors}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Carries out statements again and again, until they fail.
    pub fn fill(&self, sql: &str) {
        let statements = format!("{sql};\n").repeat(200);
        crate::wait::until("the disk is full", || {
            let mut process = self.spawn();
            // The client ends at the first error, and reads no more.
            let _ = process.stdin.take().map(|mut input| input.write_all(statements.as_bytes()));
            !process.wait_with_output().expect("the client ends").status.success()
        });
    }

    /// Whether the database answers.
    pub fn is_served(&self) -> bool {
        let mut process = self.spawn();
        let written = process.stdin.take().is_some_and(|mut input| input.write_all(b"SELECT 1;").is_ok());
        written && process.wait_with_output().is_ok_and(|output| output.status.success())
    }

    /// Carries out statements, and stays connected: a transaction that they have begun stays open.
    pub fn hold(&self, sql: &str) -> SqlSession {
        let mut process = self.spawn();
        let input = process.stdin.as_mut().expect("an input");
        write!(input, "{sql};\nSELECT 'done';\n").and_then(|()| input.flush()).expect("the client reads");
        let output = BufReader::new(process.stdout.take().expect("an output"));
        let is_done = output.lines().map_while(Result::ok).any(|line| line == "done");
        assert!(is_done, "{sql}");
        SqlSession(process)
    }

    fn spawn(&self) -> Child {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap_or_else(|error| {
            panic!("{} does not start ({error}); tests/run.sh installs it", self.program);
        })
    }
}

impl Drop for SqlSession {
    fn drop(&mut self) {
        // On an error, the client has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
