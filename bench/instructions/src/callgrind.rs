//! This program again, under callgrind.

use std::path::Path;
use std::process::Command;

use crate::Workload;

/// What a workload took.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// Instructions in its function and what that calls.
    pub instructions: u64,
    /// Units of work done.
    pub units: u64,
}

/// Runs a workload under callgrind; its file stays in `keep`.
pub fn count(workload: &Workload, keep: Option<&Path>) -> Result<Counted, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let file = match keep {
        Some(folder) => {
            std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            folder.join(format!("{}.callgrind", workload.name))
        }
        None => "/dev/null".into(),
    };
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(format!("--toggle-collect=*{}*", workload.function))
        .arg(program)
        .args(["run", workload.name])
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if !output.status.success() {
        return Err(format!("{}: {}\n{err}", workload.name, output.status));
    }
    let units = out.trim().parse().map_err(|_| format!("{}: printed {out:?}", workload.name))?;
    let instructions = collected(&err).filter(|count| *count > 0);
    let instructions =
        instructions.ok_or_else(|| format!("{}: callgrind counted nothing\n{err}", workload.name))?;
    Ok(Counted { instructions, units })
}

/// The figure in callgrind's line `==PID== Collected : N`.
fn collected(report: &str) -> Option<u64> {
    let line = report.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(':').next()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::collected;

    #[test]
    fn the_sum_is_read_from_callgrinds_report() {
        let report = "==7== \n==7== Events    : Ir\n==7== Collected : 123456\n==7== \n";
        assert_eq!(collected(report), Some(123_456));
        assert_eq!(collected("==7== \n"), None);
    }
}
