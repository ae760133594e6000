//! `cargo xtask bench chain`: the highest rate of transactions that a devnet sustains, and what stops it there.
//!
//! Each trial is one `weir devnet --json` of the release build. The rate grows by half until a trial misses a target, then
//! the gap is halved. Other programs on the machine make it lower; the load before each trial is printed.

use serde_json::Value;

use crate::repo::Repo;
use crate::run::{self, Error};

/// Nodes where nothing was said.
const NODES: u32 = 7;
/// The first rate tried, transactions a second.
const FIRST: u32 = 500;
/// The most that devnet takes.
const LAST: u32 = 100_000;
/// The search ends where the gap is this part of the rate.
const PRECISION: u32 = 10;
/// The time of a trial, in seconds, about.
const SECONDS: u32 = 15;
/// Transactions a second above which devnet makes blocks more often than each second, so that they have room.
const OFTEN: u32 = 1_300;
/// A rate counts as reached from this part on.
const REACHED: f64 = 0.95;
/// Busy from this part of all processors on.
const BUSY: f64 = 0.9;

/// A figure of the report that may not be above this, and what that means.
struct Target {
    figure: &'static str,
    most_ms: f64,
    otherwise: &'static str,
}

const TARGETS: [Target; 2] = [
    Target { figure: "header_latency_ms", most_ms: 50.0, otherwise: "headers are late" },
    Target { figure: "body_latency_ms", most_ms: 500.0, otherwise: "blocks are executed late" },
];

/// A transaction waits for the next block, and where that was full for one more.
const COMMIT_BLOCKS: f64 = 2.5;

/// Runs the search.
pub(crate) fn bench(repo: &Repo, arguments: &[String]) -> Result<bool, Error> {
    let nodes = match arguments {
        [] => NODES,
        [flag, nodes] if flag == "--nodes" => nodes.parse().map_err(|_| usage())?,
        _ => return Err(usage()),
    };
    let mut build = run::cargo(repo);
    if !run::succeeds(build.args(["build", "--release", "--quiet", "--package", "weir-cli"]))? {
        return Ok(false);
    }
    println!("{nodes} nodes, about {SECONDS} s a trial, {} processors\n", processors());
    println!(
        "  asked  reached  committed  block each  header p95  executed p95  commit p95   CPU  load before"
    );
    let found = search(|rate| trial(repo, nodes, rate))?;
    match found.best {
        Some(best) => println!("\n{best} transactions a second are sustained"),
        None => println!("\nno rate from {FIRST} transactions a second on is sustained"),
    }
    match found.limit {
        Some(limit) => println!("at {} they are not: {}", found.above, limit),
        None => println!("devnet takes no more"),
    }
    Ok(found.best.is_some())
}

fn usage() -> Error {
    Error::Usage("cargo xtask bench chain [--nodes N]".into())
}

/// What the search came to.
struct Found {
    best: Option<u32>,
    above: u32,
    limit: Option<String>,
}

/// Grows, then halves the gap. `trial` returns what a rate fails of.
fn search(mut trial: impl FnMut(u32) -> Result<Option<String>, Error>) -> Result<Found, Error> {
    let (mut best, mut rate) = (None, FIRST);
    let (mut above, mut limit) = loop {
        match trial(rate)? {
            Some(reason) => break (rate, reason),
            None if rate == LAST => return Ok(Found { best: Some(rate), above: rate, limit: None }),
            None => best = Some(rate),
        }
        rate = (rate + rate / 2).min(LAST);
    };
    while let Some(low) = best
        && above - low > low / PRECISION
    {
        let middle = low + (above - low) / 2;
        match trial(middle)? {
            Some(reason) => (above, limit) = (middle, reason),
            None => best = Some(middle),
        }
    }
    Ok(Found { best, above, limit: Some(limit) })
}

fn trial(repo: &Repo, nodes: u32, rate: u32) -> Result<Option<String>, Error> {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("-").to_owned();
    let mut command = run::cargo(repo);
    command.args(["run", "--release", "--quiet", "--package", "weir-cli", "--", "devnet", "--json"]);
    let blocks = SECONDS * rate.max(OFTEN) / OFTEN;
    command.args([
        "--nodes",
        &nodes.to_string(),
        "--rate",
        &rate.to_string(),
        "--blocks",
        &blocks.to_string(),
    ]);
    let text = run::output_whatever(&mut command)?;
    let report: Value = serde_json::from_str(text.trim())
        .map_err(|error| Error::Usage(format!("devnet printed no object: {error}")))?;
    let p95 = |figure: &str| report[figure]["p95"].as_f64();
    let shown = |value: Option<f64>| value.map_or_else(|| "-".into(), |value| format!("{value:.0}"));
    println!(
        "{rate:>7} {:>8} {:>10} {:>8} ms {:>8} ms {:>10} ms {:>8} ms {:>4}%  {load}",
        shown(report["rate_reached"].as_f64()),
        shown(report["committed_per_s"].as_f64()),
        shown(report["options"]["block_ms"].as_f64()),
        shown(p95("header_latency_ms")),
        shown(p95("body_latency_ms")),
        shown(p95("tx_commit_ms")),
        shown(busy(&report).map(|part| part * 100.0)),
    );
    Ok(missed(&report))
}

/// What the trial fails of, and whether the processors were busy.
fn missed(report: &Value) -> Option<String> {
    let mut missed: Vec<String> = Vec::new();
    if report["ok"] != true {
        missed.push(report["error"].as_str().unwrap_or("it failed").to_owned());
    }
    if let (Some(asked), Some(reached)) = (report["rate_asked"].as_f64(), report["rate_reached"].as_f64())
        && reached < asked * REACHED
    {
        missed.push(format!("nodes accept {reached:.0} a second"));
    }
    for target in &TARGETS {
        if let Some(p95) = report[target.figure]["p95"].as_f64()
            && p95 > target.most_ms
        {
            missed.push(format!("{} (p95 {p95:.0} ms, at most {} ms)", target.otherwise, target.most_ms));
        }
    }
    if let (Some(p95), Some(block_ms)) =
        (report["tx_commit_ms"]["p95"].as_f64(), report["options"]["block_ms"].as_f64())
        && p95 > COMMIT_BLOCKS * block_ms
    {
        missed.push(format!(
            "transactions wait for more than two blocks: blocks are full, or the pools are behind (p95 {p95:.0} ms, at \
             most {:.0} ms)",
            COMMIT_BLOCKS * block_ms
        ));
    }
    if missed.is_empty() {
        return None;
    }
    if let Some(part) = busy(report) {
        let limit = if part > BUSY { ", which limits it" } else { "" };
        missed.push(format!("the run took {:.0} % of the processors' time{limit}", part * 100.0));
    }
    Some(missed.join("; "))
}

/// Part of all processors that the run kept busy.
fn busy(report: &Value) -> Option<f64> {
    Some(report["cpu_s"].as_f64()? / report["wall_s"].as_f64()? / f64::from(processors()))
}

fn processors() -> u32 {
    std::thread::available_parallelism().ok().and_then(|count| u32::try_from(count.get()).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_highest_rate_that_holds_is_found_within_a_tenth() {
        for real in [500, 777, 1_234, 9_999] {
            let mut tried = 0;
            let trial = |rate| {
                tried += 1;
                Ok((rate > real).then(|| format!("{rate} is too much")))
            };
            let found = search(trial).unwrap();
            let best = found.best.unwrap();
            assert!(best <= real && real - best <= real / 8, "{real}: {best}");
            assert_eq!(found.limit.unwrap(), format!("{} is too much", found.above));
            assert!(tried < 16);
        }
        assert_eq!(search(|_| Ok(Some("no".into()))).unwrap().best, None);
        assert_eq!(search(|_| Ok(None)).unwrap().best, Some(LAST));
    }

    #[test]
    fn each_target_that_is_missed_is_named() {
        let good = json!({"ok": true, "rate_asked": 100, "rate_reached": 99.0, "cpu_s": 1.0, "wall_s": 10.0,
            "header_latency_ms": {"p95": 50.0}, "body_latency_ms": {"p95": 1.0}, "tx_commit_ms": null,
            "options": {"block_ms": 200}});
        assert_eq!(missed(&good), None);
        for (field, value, said) in [
            ("ok", json!(false), "failed"),
            ("rate_reached", json!(90.0), "accept 90"),
            ("header_latency_ms", json!({"p95": 51.0}), "headers"),
            ("body_latency_ms", json!({"p95": 501.0}), "executed"),
            ("tx_commit_ms", json!({"p95": 501.0}), "full"),
        ] {
            let mut bad = good.clone();
            bad[field] = value;
            assert!(missed(&bad).unwrap().contains(said), "{field}");
        }
    }
}
