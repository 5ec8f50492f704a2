//! The example of a store of one's own, as a server: over a restart, by several processes, and when its file is broken.

use std::{fs, path::Path, process::Command};

use ratelimit_tests::http::Server;
use ratelimit_tests::process::Process;
use ratelimit_tests::wait;

use crate::alone;
use crate::artifacts::example;
use crate::examples::wait_for_the_middle_of_a_minute;

fn start(counters: &Path) -> Process {
    let mut command = Command::new(example("file_store"));
    command.env("PORT", "0").env("COUNTERS", counters);
    Process::start(&mut command)
}

fn remaining(server: &Process) -> u64 {
    server.get_with("/quote", &[]).x_headers().1
}

#[test]
fn file_store_keeps_its_counters_over_a_restart_and_for_several_processes() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let counters = folder.path().join("counters");
    wait_for_the_middle_of_a_minute();
    assert_eq!(remaining(&start(&counters)), 9);
    let both = [(); 2].map(|()| start(&counters));
    assert_eq!([remaining(&both[0]), remaining(&both[1]), remaining(&both[0])], [8, 7, 6]);
}

#[test]
fn a_store_that_fails_is_logged_once_and_so_is_its_return() {
    let _alone = alone();
    let folder = tempfile::tempdir().expect("a folder");
    let counters = folder.path().join("counters");
    let server = start(&counters);
    wait_for_the_middle_of_a_minute();
    assert_eq!(remaining(&server), 9);
    let good = fs::read(&counters).expect("a file of counters");
    fs::write(&counters, "something else\r\n\u{1b}[31m").expect("a file");
    for left in (0..9).rev() {
        assert_eq!(remaining(&server), left, "the process counts on by itself");
    }
    let told = ["ERROR", "FileStore", "is no file of counters", "(RL022)"];
    wait::until("the log tells", || server.lines_with(&told) == 1);
    fs::write(&counters, good).expect("a file");
    wait::until("the log tells of the return", || {
        server.get_with("/quote", &[]);
        server.lines_with(&["WARN", "FileStore", "is back after"]) == 1
    });
    assert_eq!(server.lines_with(&["RL022"]), 1, "{:#?}", server.output());
}
