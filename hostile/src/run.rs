//! One run: a victim, an honest pair, an attack, and the figures.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use weir::multiaddr::Transport;
use weir::{Multiaddr, PeerId};

use crate::Arguments;
use crate::attacks::{Arrangement, Attack, Field, most_answered};
use crate::honest::{Pair, Served};
use crate::machine::Machine;
use crate::victim::{Listens, Order, Usage};

type Any = Box<dyn std::error::Error + Send + Sync>;

/// What the victim may hold: the documented budgets (receive 64, send 64, calls 32, pool 64 MiB) and 64 MiB beside them.
const RSS_LIMIT: u64 = (64 + 64 + 32 + 64 + 64) << 20;

/// Below this a p99 in milliseconds says more about two cores shared by victim, attackers and honest pair than about the victim.
const NOISE_MS: f64 = 25.0;

/// Faults of one address prefix, *misbehaved* and of other peers each, after which it is banned: more than it needs (`peers.md`).
const PREFIX_FAULTS: u64 = 8;

/// Links of the honest pair, with one more for each where both sides have dialled, and those of newcomers that are just leaving.
const HONEST_LINKS: u64 = 4 + 6;

/// How much longer than its window an attack goes on, at most, while a fault that must be blamed was not told.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often the victim is asked whom it has blamed, until then.
const ASKED_EVERY: Duration = Duration::from_millis(100);

/// How much of what it asks for, or of its share, an honest link gets at least.
const SHARE: f64 = 0.9;

/// The figures of one run.
#[derive(Debug, Serialize)]
struct Report {
    attack: Attack,
    arrangement: Arrangement,
    handling_us: u64,
    attackers: u32,
    seconds: f64,
    calls_failed: std::collections::BTreeMap<String, u64>,
    asked_items_per_s: u32,
    asked_calls_per_s: u32,
    share_per_s: Option<f64>,
    before: Served,
    /// While the same attack goes to another node of this machine: what sharing its processors costs. Not with `--bounds`.
    elsewhere: Option<Served>,
    during: Served,
    after: Served,
    newcomers_in: Option<String>,
    /// Handshakes of attackers that the victim answered, and may answer, where the attack is one of handshakes.
    handshakes: Option<Handshakes>,
    /// Bytes that the victim held at most, and that it may hold.
    rss_peak: u64,
    rss_limit: u64,
    cpu_share: f64,
    faults: std::collections::BTreeMap<String, u64>,
    /// Links of the victim at the end of the attack.
    links: u64,
    prefixes_banned: u64,
    honest_blamed: bool,
    longest_ban_s: u64,
    /// The longest interruption of one of this machine's processors, in milliseconds, from the beginning of the attack to the end of the last
    /// window. It decides nothing. `null`: it cannot be measured here.
    away_ms: Option<f64>,
    /// Bounds that did not hold, on whatever machine.
    broken: Vec<String>,
    /// Rates and latencies beyond their targets: on a machine that does something else besides they say little.
    slow: Vec<String>,
    /// Nothing is broken, and nothing slow.
    within_targets: bool,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Handshakes {
    answered: u64,
    most: u64,
}

/// What makes a run: the attack, where the attackers are, and the microseconds that the victim's application takes for each item and request.
type What = (Attack, Arrangement, u64);

pub(crate) fn all(arguments: &Arguments) -> Result<bool, Any> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let attacks = chosen(&arguments.attacks, clap::ValueEnum::value_variants());
    let arrangements = chosen(&arguments.arrangement, clap::ValueEnum::value_variants());
    let handlings = chosen(&arguments.handling, &[0, 50, 5_000]);
    let machine = if arguments.bounds { None } else { Machine::watch() };
    if machine.is_none() && !arguments.bounds {
        eprintln!(
            "hostile: no real-time priority (root has it), so interruptions by the host are not measured"
        );
    }
    let runs = attacks.iter().flat_map(|attack| {
        let handlings = &handlings;
        let one_of =
            move |arrangement| handlings.iter().map(move |handling| (*attack, arrangement, *handling));
        arrangements.iter().copied().flat_map(one_of)
    });
    let (waiting, tally) = (Mutex::new(runs), Mutex::new(Tally::default()));
    let work = || -> Result<(), Any> {
        loop {
            let Some(what) = locked(&waiting).next() else { return Ok(()) };
            let ran = runtime.block_on(one(what, machine.as_ref(), arguments));
            locked(&tally).count(what, ran, arguments)?;
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..arguments.at_once).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
    })?;
    tally.into_inner().unwrap_or_else(PoisonError::into_inner).end(arguments)
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How runs ended.
#[derive(Debug, Default)]
struct Tally {
    runs: usize,
    fine: usize,
    unrun: usize,
    beyond: Vec<String>, // a line for each run that missed a bound or a target
}

impl Tally {
    /// Counts a run, and prints what there is to say of it.
    fn count(&mut self, what: What, ran: Result<Report, Any>, arguments: &Arguments) -> Result<(), Any> {
        self.runs += 1;
        match ran {
            Ok(report) => {
                if report.broken.is_empty() && (arguments.bounds || report.slow.is_empty()) {
                    self.fine += 1;
                } else {
                    self.beyond.push(line(&report));
                }
                print(&report, arguments)
            }
            Err(error) => {
                self.unrun += 1; // the others run all the same
                let (attack, arrangement, handling) = what;
                eprintln!("hostile: {attack:?}, {arrangement:?}, {handling} µs could not be run: {error}");
                Ok(())
            }
        }
    }

    /// Says how all of them ended; whether all are as promised.
    fn end(self, arguments: &Arguments) -> Result<bool, Any> {
        let Self { runs, fine, unrun, beyond } = self;
        if arguments.json {
            beyond.iter().for_each(|line| eprintln!("hostile: {line}")); // else the table or the line of each run says it
        }
        if unrun > 0 {
            return Err(format!("{unrun} of {runs} could not be run").into());
        }
        if arguments.lines {
            let judged = if arguments.bounds { "bounds; rates were not judged" } else { "targets" };
            println!("{fine} of {runs} within their {judged}");
        }
        Ok(fine == runs)
    }
}

fn chosen<T: Copy>(named: &[T], all: &[T]) -> Vec<T> {
    if named.is_empty() { all.to_vec() } else { named.to_vec() }
}

async fn one(
    (attack, arrangement, handling_us): What,
    machine: Option<&Machine>,
    arguments: &Arguments,
) -> Result<Report, Any> {
    let listen_tcp = attack.is_tcp().then(|| "127.0.0.1:0".into());
    let mplex = attack == Attack::TcpMplex;
    let order = Order { listen: "127.0.0.1:0".into(), listen_tcp, mplex, handling_us };
    let mut victim = Process::start(&order)?;
    let over = if attack.is_tcp() { Transport::Tcp } else { Transport::Quic };
    let mut pair = Pair::start(["127.1.1.1:0", "127.1.2.1:0"], over)?;
    if arrangement == Arrangement::Dialled {
        for address in &pair.addresses {
            victim.say(&format!("dial {address}"))?;
        }
    } else {
        pair.connect(&victim.address).await?;
    }
    let (items, calls) = if handling_us >= 5_000 { (40, 20) } else { (100, 40) };
    pair.work(victim.id, items, calls)?;
    let window = Duration::from_secs(arguments.seconds);
    tokio::time::sleep(Duration::from_secs(1)).await; // the pair finds its pace
    let begun = Instant::now();
    tokio::time::sleep(window).await;
    let quiet = Instant::now();
    let other =
        if arguments.bounds { None } else { Some(beside(&order, attack, arrangement, window).await?) };
    let idle = victim.usage()?;
    let struck = Instant::now();
    let attackers = Attackers::start(&Field { attack, victim: victim.socket, arrangement })?;
    let newcomers = if attack.has_newcomers() {
        let mut linked = 0;
        for index in 0..6 {
            linked += u32::from(Pair::newcomer(&format!("127.1.1.{}:0", 5 + index), &victim.address).await?);
        }
        Some(linked)
    } else {
        None
    };
    tokio::time::sleep(window.saturating_sub(struck.elapsed())).await;
    let ended = Instant::now();
    let busy = victim.usage()?;
    blamed(&mut victim, attack, ended - struck).await?;
    let answered = attackers.stop()?;
    let stopped = Instant::now();
    let most = most_answered(attack.is_tcp(), arrangement, attack.peers(), struck.elapsed());
    let handshakes = attack.is_storm().then_some(Handshakes { answered, most });
    tokio::time::sleep(Duration::from_secs(3)).await;
    let last = victim.usage()?;
    let mut kept = (Vec::new(), Vec::new());
    let before = pair.served(begun, quiet, items, calls, &mut kept);
    let elsewhere = other.map(|(from, to)| pair.served(from, to, items, calls, &mut kept));
    let during = pair.served(struck, ended, items, calls, &mut kept);
    let (from, to) = (stopped + Duration::from_secs(1), stopped + Duration::from_secs(3));
    let after = pair.served(from, to, items, calls, &mut kept);
    let honest: Vec<String> = pair.ids.iter().map(PeerId::to_string).collect();
    let mut report = Report {
        attack,
        arrangement,
        handling_us,
        attackers: attack.peers(),
        seconds: (ended - struck).as_secs_f64(),
        calls_failed: pair.failed(),
        asked_items_per_s: items,
        asked_calls_per_s: calls,
        share_per_s: share(attack, arrangement, handling_us),
        before,
        elsewhere,
        during,
        after,
        newcomers_in: newcomers.map(|linked| format!("{linked} of 6")),
        handshakes,
        rss_peak: last.rss_peak,
        rss_limit: RSS_LIMIT,
        cpu_share: (busy.cpu_s - idle.cpu_s) / (ended - struck).as_secs_f64(),
        honest_blamed: honest.iter().any(|id| last.blamed.contains(id)),
        faults: last.faults,
        links: busy.links,
        prefixes_banned: last.prefixes_banned,
        longest_ban_s: last.longest_ban_s,
        away_ms: machine.map(|machine| machine.longest(struck, to).as_secs_f64() * 1000.0),
        broken: Vec::new(),
        slow: Vec::new(),
        within_targets: false,
    };
    report.broken = broken(&report, newcomers);
    report.slow = slow(&report);
    report.within_targets = report.broken.is_empty() && report.slow.is_empty();
    pair.stop().await;
    victim.stop()?;
    Ok(report)
}

/// Waits until the victim has blamed its attackers for all that it must notice within the window, at most [`PATIENCE`]: on a machine that
/// does something else besides, attackers may get to their act late.
async fn blamed(victim: &mut Process, attack: Attack, window: Duration) -> Result<(), Any> {
    let Some(blame) = attack.blame_due(window) else { return Ok(()) };
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until && !blame.missing(&victim.usage()?.faults).is_empty() {
        tokio::time::sleep(ASKED_EVERY).await;
    }
    Ok(())
}

/// The same attack on another node of this machine, for so long: from when to when. The pair and its victim only share the processors with
/// it.
async fn beside(
    order: &Order,
    attack: Attack,
    arrangement: Arrangement,
    window: Duration,
) -> Result<(Instant, Instant), Any> {
    let other = Process::start(order)?;
    let struck = Instant::now();
    let attackers = Attackers::start(&Field { attack, victim: other.socket, arrangement })?;
    tokio::time::sleep(window).await;
    let ended = Instant::now();
    attackers.stop()?;
    other.stop()?;
    tokio::time::sleep(Duration::from_secs(1)).await; // the pair finds its pace again
    Ok((struck, ended))
}

/// What §7 leaves an honest link of the application's time: half of it where the victim dialled the pair (two links), else what
/// its group, and in it its peer, gets among those that want as much as they can have. `None`: the application takes no time.
fn share(attack: Attack, arrangement: Arrangement, handling_us: u64) -> Option<f64> {
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

/// What an honest link gets less of, or waits longer for, than the targets say.
fn slow(report: &Report) -> Vec<String> {
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
        if during.unwrap_or(f64::INFINITY) > most {
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

/// The longest interruption of a processor, where the run is slow.
fn away(report: &Report) -> Option<String> {
    let away = report.away_ms.filter(|_| !report.slow.is_empty())?;
    Some(format!("the host interrupted a processor for up to {away:.1} ms"))
}

/// A run in one line: what it was, how the honest pair was served during it, and what is not as promised.
fn line(report: &Report) -> String {
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

fn print(report: &Report, arguments: &Arguments) -> Result<(), Any> {
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

/// The attackers' process. On real networks they have machines of their own, so here they get what victim and honest pair leave of
/// this one's processors: else the figures would say how the system divides two cores among them.
struct Attackers {
    child: Child,
    input: ChildStdin,
    output: ChildStdout,
}

impl Attackers {
    fn start(field: &Field) -> Result<Self, Any> {
        let mut child = Command::new("nice")
            .args(["-n", "19"])
            .arg(std::env::current_exe()?)
            .args(["--attackers", &serde_json::to_string(field)?])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().ok_or("no input")?;
        let output = child.stdout.take().ok_or("no output")?;
        Ok(Self { child, input, output })
    }

    /// How many handshakes were answered, where the attack counts them.
    fn stop(mut self) -> Result<u64, Any> {
        drop(self.input);
        let said = std::io::read_to_string(self.output)?;
        self.child.wait()?;
        Ok(said.trim().parse()?)
    }
}

/// The victim's process.
struct Process {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    socket: SocketAddr,
    address: Multiaddr,
    id: PeerId,
}

impl Process {
    fn start(order: &Order) -> Result<Self, Any> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--victim", &serde_json::to_string(order)?])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().ok_or("no input")?;
        let mut output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let Listens { quic, tcp, id } = serde_json::from_str(&line)?;
        let id: PeerId = id.parse()?;
        let (socket, address) = if order.listen_tcp.is_some() {
            (tcp, Multiaddr::from_tcp(tcp))
        } else {
            (quic, Multiaddr::from_quic(quic))
        };
        Ok(Self { child, input, output, socket, address: address.with_p2p(id)?, id })
    }

    fn say(&mut self, line: &str) -> Result<String, Any> {
        writeln!(self.input, "{line}")?;
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        Ok(answer)
    }

    fn usage(&mut self) -> Result<Usage, Any> {
        Ok(serde_json::from_str(&self.say("usage")?)?)
    }

    fn stop(mut self) -> Result<(), Any> {
        drop(self.input);
        self.child.wait()?;
        Ok(())
    }
}
