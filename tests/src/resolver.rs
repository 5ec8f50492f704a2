//! A resolver that hangs, fails and changes its answer. It replaces the C library's own in a process that preloads it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// The resolver's answers about the hosts under `.test`.
#[derive(Debug)]
pub struct Resolver {
    folder: TempDir,
}

impl Resolver {
    /// Builds one that answers `127.0.0.1`.
    pub fn new() -> Self {
        let resolver = Self { folder: TempDir::new().expect("a temporary folder") };
        resolver.say("127.0.0.1");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/resolver.c");
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-o"]).arg(resolver.library()).arg(source).arg("-ldl");
        let built = compiler.output().expect("a C compiler, which tests/run.sh installs");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        resolver
    }

    /// Makes a process use it.
    pub fn preload<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("LD_PRELOAD", self.library()).env("RESOLVER", self.folder.path())
    }

    /// The address of all hosts from now on.
    pub fn say(&self, address: &str) {
        let (new, path) = (self.file("address.new"), self.file("address"));
        fs::write(&new, address).expect("a file that can be written");
        fs::rename(new, path).expect("a file that can be replaced");
    }

    /// Sets whether lookups hang. Hanging lookups continue when this is cleared.
    pub fn hang(&self, hangs: bool) {
        switch(&self.file("hang"), hangs);
    }

    /// Sets whether lookups fail.
    pub fn fail(&self, fails: bool) {
        switch(&self.file("fail"), fails);
    }

    /// The hosts that were looked up so far.
    pub fn lookups(&self) -> Vec<String> {
        let log = fs::read_to_string(self.file("log")).unwrap_or_default();
        log.lines().map(str::to_owned).collect()
    }

    fn library(&self) -> PathBuf {
        self.file("resolver.so")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Default for Resolver {
    fn default() -> Self {
        Self::new()
    }
}

fn switch(path: &Path, on: bool) {
    if on {
        fs::write(path, "").expect("a file that can be written");
    } else {
        fs::remove_file(path).expect("a file that can be removed");
    }
}
