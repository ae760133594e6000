//! The figures of a run, how they are judged, and how they are printed.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::Arguments;
use crate::attacks::{Arrangement, Attack};
use crate::honest::Served;

type Any = Box<dyn std::error::Error + Send + Sync>;

/// What the victim may hold: the documented budgets (receive 64, send 64, calls 32, pool 64 MiB) and 64 MiB beside them.
pub(crate) const RSS_LIMIT: u64 = (64 + 64 + 32 + 64 + 64) << 20;

/// Below this a p99 in milliseconds says more about two cores shared by victim, attackers and honest pair than about the victim.
const NOISE_MS: f64 = 25.0;

/// Faults of one address prefix, *misbehaved* and of other peers each, after which it is banned: more than it needs (`peers.md`).
const PREFIX_FAULTS: u64 = 8;

/// Links of the honest pair, with one more for each where both sides have dialled, and those of newcomers that are just leaving.
const HONEST_LINKS: u64 = 4 + 6;

/// The least part of its demand, or of its share if that is less, that an honest link must get.
const SHARE: f64 = 0.9;

/// The figures of one attempt at a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) attack: Attack,
    pub(crate) arrangement: Arrangement,
    pub(crate) handling_us: u64,
    pub(crate) attackers: u32,
    pub(crate) seconds: f64,
    pub(crate) calls_failed: BTreeMap<String, u64>,
    pub(crate) asked_items_per_s: u32,
    pub(crate) asked_calls_per_s: u32,
    pub(crate) share_per_s: Option<f64>,
    pub(crate) before: Served,
    /// While the same attack goes to another node of this machine: what sharing its processors costs. Not with `--bounds`.
    pub(crate) elsewhere: Option<Served>,
    pub(crate) during: Served,
    pub(crate) after: Served,
    pub(crate) newcomers_in: Option<String>,
    /// Handshakes of attackers that the victim answered, and may answer, where the attack is one of handshakes.
    pub(crate) handshakes: Option<Handshakes>,
    /// Bytes that the victim held at most, and that it may hold.
    pub(crate) rss_peak: u64,
    pub(crate) rss_limit: u64,
    pub(crate) cpu_share: f64,
    pub(crate) faults: BTreeMap<String, u64>,
    /// Links of the victim at the end of the attack.
    pub(crate) links: u64,
    pub(crate) prefixes_banned: u64,
    pub(crate) honest_blamed: bool,
    pub(crate) longest_ban_s: u64,
    /// The longest interruption of one of this machine's processors during the attack's window, in milliseconds. `null`: it cannot be measured
    /// here.
    pub(crate) away_ms: Option<f64>,
    /// Bounds that did not hold, on whatever machine.
    pub(crate) broken: Vec<String>,
    /// Rates and latencies beyond their targets: on a machine that does something else besides they say little.
    pub(crate) slow: Vec<String>,
    /// The number of this attempt, from 1.
    pub(crate) attempt: u32,
    /// The run is measured again, and this attempt does not count: see [`measured`](Self::measured).
    pub(crate) again: bool,
    /// Nothing is broken, and nothing slow.
    pub(crate) within_targets: bool,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Handshakes {
    pub(crate) answered: u64,
    pub(crate) most: u64,
}

impl Report {
    /// Judges the figures of an attempt. Newcomers: how many of six got in.
    ///
    /// A run has one attempt by default. With `--attempts` it is measured again where a latency is the only miss, and the latency less the longest
    /// interruption by the host would be within its target. Each attempt has the same targets, and the last one counts.
    pub(crate) fn measured(mut self, attempt: u32, attempts: u32, newcomers: Option<u32>) -> Self {
        self.broken = broken(&self, newcomers);
        self.slow = slow(&self, 0.0);
        self.within_targets = self.broken.is_empty() && self.slow.is_empty();
        let is_disturbed = self.broken.is_empty()
            && !self.slow.is_empty()
            && self.away_ms.is_some_and(|away| slow(&self, away).is_empty());
        self.attempt = attempt;
        self.again = is_disturbed && attempt < attempts;
        self
    }

    /// Whether it is as promised. With `--bounds` rates and latencies decide nothing.
    pub(crate) fn is_fine(&self, arguments: &Arguments) -> bool {
        self.broken.is_empty() && (arguments.bounds || self.slow.is_empty())
    }
}

/// What §7 leaves an honest link of the application's time: half of it where the victim dialled the pair (two links), else what
/// its group, and in it its peer, gets among those that want as much as they can have. `None`: the application takes no time.
pub(crate) fn share(attack: Attack, arrangement: Arrangement, handling_us: u64) -> Option<f64> {
    if handling_us == 0
        || !matches!(
            attack,
            Attack::HitAndRun | Attack::ManyItems | Attack::ManyCalls | Attack::UnreadAnswers
        )
    {
        return None;
    }
    let capacity = 1e6 / handling_us as f64;
    let peers = f64::from(attack.peers());
    Some(match arrangement {
        Arrangement::Dialled => capacity / 2.0,
        Arrangement::Apart | Arrangement::Together => capacity / (peers + 1.0),
    })
}

/// The rates and latencies of the honest pair that miss their targets. `away_ms` milliseconds are taken off each latency during the attack.
fn slow(report: &Report, away_ms: f64) -> Vec<String> {
    let mut slow = Vec::new();
    let share = report.share_per_s.unwrap_or(f64::INFINITY);
    let asked = [
        ("items", report.asked_items_per_s, report.during.items_per_s, report.after.items_per_s),
        ("calls", report.asked_calls_per_s, report.during.calls_per_s, report.after.calls_per_s),
    ];
    for (what, asked, during, after) in asked {
        let least = SHARE * f64::from(asked).min(share);
        if during < least {
            slow.push(format!("{what}: {during:.1}/s during, at least {least:.1}"));
        }
        if after < SHARE * f64::from(asked) {
            slow.push(format!("{what}: {after:.1}/s a second after, asked {asked}"));
        }
    }
    let turn = report.handling_us as f64 / 1000.0 * f64::from(report.attackers + 2);
    let slower = |of: fn(&Served) -> Option<f64>| {
        let never = |p99: Option<f64>| p99.unwrap_or(f64::INFINITY);
        never(of(&report.before)).max(report.elsewhere.as_ref().map_or(0.0, |served| never(of(served))))
    };
    let (items, calls) = (slower(|served| served.items_p99_ms), slower(|served| served.calls_p99_ms));
    let latencies = [
        ("items", report.asked_items_per_s, items, report.during.items_p99_ms),
        ("calls", report.asked_calls_per_s, calls, report.during.calls_p99_ms),
    ];
    for (what, asked, before, during) in latencies {
        if f64::from(asked) >= share {
            continue; // asks for more than its share: it waits
        }
        let most = (3.0 * before + turn).max(NOISE_MS);
        if during.unwrap_or(f64::INFINITY) - away_ms > most {
            let during = during.map_or("none".to_owned(), |during| format!("{during:.1} ms"));
            slow.push(format!("{what}: p99 {during} during, at most {most:.1}"));
        }
    }
    slow
}

/// Every promise that did not hold.
fn broken(report: &Report, newcomers: Option<u32>) -> Vec<String> {
    let mut broken = Vec::new();
    for (what, after) in [("items", report.after.items_per_s), ("calls", report.after.calls_per_s)] {
        if after <= 0.0 {
            broken.push(format!("{what}: none within a second after"));
        }
    }
    if report.rss_peak > RSS_LIMIT {
        broken.push(format!("{} MiB resident, at most {}", report.rss_peak >> 20, RSS_LIMIT >> 20));
    }
    if report.honest_blamed {
        broken.push("an honest peer was blamed".into());
    }
    if let Some(blame) = report.attack.blame_due(Duration::from_secs_f64(report.seconds)) {
        let missing = blame.missing(&report.faults);
        broken.extend(missing.into_iter().map(|fault| format!("nobody was blamed: {fault}")));
        let misbehaved = report.faults.iter().filter(|(fault, _)| fault.starts_with("misbehaved"));
        let misbehaved: u64 = misbehaved.map(|(_, count)| count).sum();
        if misbehaved > u64::from(report.attackers) * PREFIX_FAULTS && report.prefixes_banned == 0 {
            broken.push(format!("{misbehaved} faults of few prefixes, and none was banned"));
        }
    }
    if report.attack.is_unproven() && report.links > HONEST_LINKS {
        broken.push(format!("{} links, though no attacker has proved who it is", report.links));
    }
    if report.attack == Attack::SixFaults && report.longest_ban_s > 3600 {
        broken.push(format!("one act led to a ban of {} s", report.longest_ban_s));
    }
    if let Some(Handshakes { answered, most }) = report.handshakes.filter(|some| some.answered > some.most) {
        broken.push(format!("{answered} handshakes were answered, at most {most}"));
    }
    if newcomers.is_some_and(|linked| linked < 6) {
        broken.push("an honest newcomer was kept out".into());
    }
    broken
}

fn millis(value: Option<f64>) -> String {
    value.map_or("never".to_owned(), |value| format!("{value:.1} ms"))
}

/// The longest interruption of a processor, where the run is slow, and what follows of it.
fn away(report: &Report) -> Option<String> {
    let away = report.away_ms.filter(|_| !report.slow.is_empty())?;
    let again = if report.again { ", so that it is measured again" } else { "" };
    Some(format!("the host interrupted a processor for up to {away:.1} ms{again}"))
}

/// A run in one line: the attack, the figures of the honest pair, and each promise or target that was missed.
pub(crate) fn line(report: &Report) -> String {
    let what = format!("{:?} {:?} {}", report.attack, report.arrangement, report.handling_us);
    let beside = report.elsewhere.as_ref();
    let p99 = |of: fn(&Served) -> Option<f64>| {
        let [before, during] = [&report.before, &report.during].map(|served| millis(of(served)));
        let beside = beside.map_or(String::new(), |served| format!(" ({})", millis(of(served))));
        format!("{before}{beside} -> {during}")
    };
    let mut line = format!(
        "{what:<32} items {:.0}/s {}, calls {:.0}/s {}, {} MiB",
        report.during.items_per_s,
        p99(|served| served.items_p99_ms),
        report.during.calls_per_s,
        p99(|served| served.calls_p99_ms),
        report.rss_peak >> 20
    );
    for (word, all) in [("BROKEN", &report.broken), ("SLOW", &report.slow)] {
        all.iter().for_each(|one| line.push_str(&format!("; {word} {one}")));
    }
    line.extend(away(report).map(|away| format!("; {away}")));
    line
}

pub(crate) fn print(report: &Report, arguments: &Arguments) -> Result<(), Any> {
    let mut out = std::io::stdout().lock();
    if arguments.json {
        writeln!(out, "{}", serde_json::to_string(report)?)?;
    } else if arguments.lines {
        writeln!(out, "{}", line(report))?;
    } else {
        let served = |served: &Served| {
            format!(
                "items {:.0}/s p99 {}, calls {:.0}/s p99 {}",
                served.items_per_s,
                millis(served.items_p99_ms),
                served.calls_per_s,
                millis(served.calls_p99_ms)
            )
        };
        writeln!(out, "{:?}, {:?}, {} µs", report.attack, report.arrangement, report.handling_us)?;
        writeln!(out, "  before  {}", served(&report.before))?;
        if let Some(elsewhere) = &report.elsewhere {
            writeln!(out, "  beside  {}", served(elsewhere))?;
        }
        writeln!(out, "  during  {}", served(&report.during))?;
        writeln!(out, "  after   {}", served(&report.after))?;
        writeln!(
            out,
            "  victim  {} of {} MiB, {:.2} cores, faults {:?}{}",
            report.rss_peak >> 20,
            report.rss_limit >> 20,
            report.cpu_share,
            report.faults,
            report
                .newcomers_in
                .as_deref()
                .map_or(String::new(), |linked| format!(", newcomers in: {linked}"))
        )?;
        if let Some(Handshakes { answered, most }) = report.handshakes {
            writeln!(out, "  storm   {answered} handshakes answered, at most {most}")?;
        }
        if !report.calls_failed.is_empty() {
            writeln!(out, "  failed  {:?}", report.calls_failed)?;
        }
        for broken in &report.broken {
            writeln!(out, "  BROKEN  {broken}")?;
        }
        for slow in &report.slow {
            writeln!(out, "  SLOW    {slow}")?;
        }
        if let Some(away) = away(report) {
            writeln!(out, "  machine {away}")?;
        }
    }
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a run came to whose items took so long during the attack, while the host interrupted a processor for so long.
    fn report(items_p99_ms: f64, away_ms: Option<f64>) -> Report {
        let served = Served {
            items_per_s: 100.0,
            items_p99_ms: Some(1.0),
            calls_per_s: 40.0,
            calls_p99_ms: Some(1.0),
        };
        Report {
            attack: Attack::TcpSilent,
            arrangement: Arrangement::Dialled,
            handling_us: 0,
            attackers: 24,
            seconds: 5.0,
            calls_failed: BTreeMap::new(),
            asked_items_per_s: 100,
            asked_calls_per_s: 40,
            share_per_s: None,
            before: served,
            elsewhere: Some(served),
            during: Served { items_p99_ms: Some(items_p99_ms), ..served },
            after: served,
            newcomers_in: None,
            handshakes: None,
            rss_peak: 1,
            rss_limit: RSS_LIMIT,
            cpu_share: 0.1,
            faults: BTreeMap::new(),
            links: 2,
            prefixes_banned: 0,
            honest_blamed: false,
            longest_ban_s: 0,
            away_ms,
            broken: Vec::new(),
            slow: Vec::new(),
            attempt: 0,
            again: false,
            within_targets: false,
        }
    }

    #[test]
    fn a_run_is_measured_again_where_only_an_interruption_by_the_host_made_it_slow() {
        let judged = |report: Report, attempt| {
            let report = report.measured(attempt, 3, Some(6));
            (report.within_targets, report.again)
        };
        assert_eq!(judged(report(25.0, Some(20.0)), 1), (true, false));
        assert_eq!(judged(report(40.0, Some(15.0)), 1), (false, true));
        assert_eq!(judged(report(40.0, Some(14.9)), 1), (false, false), "the victim is slow without it, too");
        assert_eq!(judged(report(40.0, None), 1), (false, false), "it cannot be measured");
        assert_eq!(judged(report(40.0, Some(15.0)), 3), (false, false), "the last attempt counts");
    }

    #[test]
    fn a_run_is_not_measured_again_for_a_rate_or_a_bound_whatever_the_host_did() {
        let again = |report: Report, newcomers| report.measured(1, 3, newcomers).again;
        let mut fewer = report(40.0, Some(15.0));
        fewer.during.items_per_s = 89.9;
        assert!(!again(fewer, Some(6)));
        let mut never = report(40.0, Some(15.0));
        never.during.items_p99_ms = None;
        assert!(!again(never, Some(6)));
        assert!(!again(report(40.0, Some(15.0)), Some(5)), "a newcomer was kept out");
        assert!(!report(40.0, Some(15.0)).measured(1, 1, Some(6)).again, "one attempt, as by default");
        assert!(!again(Report { honest_blamed: true, ..report(40.0, Some(15.0)) }, Some(6)));
    }
}
