//! The processor time of processes, as Linux counts it.

use std::{fs, time::Duration};

use anyhow::{Context, Result};

/// The processor time of the process since its start, over all threads.
///
/// # Errors
/// There is no such process.
pub fn of_process(pid: u32) -> Result<Duration> {
    // utime and stime are the fields 14 and 15 of proc_pid_stat(5).
    fields(&pid.to_string(), 14)
}

/// The processor time of the ended children of this process.
///
/// # Errors
/// This system is not Linux.
pub fn of_ended_children() -> Result<Duration> {
    // cutime and cstime
    fields("self", 16)
}

/// The sum of two adjacent fields of a process's `stat`, beginning with the field of this number.
fn fields(process: &str, first: usize) -> Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The second field is the program's name in parentheses, which may have spaces in it.
    let (_, after_name) = stat.rsplit_once(')').with_context(|| format!("{path} has no program name"))?;
    let ticks: u64 =
        after_name.split_whitespace().skip(first - 3).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}
