//! One run: a victim, an honest pair, an attack, and the figures.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use weir::multiaddr::Transport;
use weir::{Multiaddr, PeerId};

use crate::Arguments;
use crate::attacks::{Arrangement, Attack, Field, most_answered};
use crate::honest::Pair;
use crate::machine::Machine;
use crate::report::{Handshakes, RSS_LIMIT, Report, line, print, share};
use crate::victim::{Listens, Order, Usage};

type Any = Box<dyn std::error::Error + Send + Sync>;

/// How much longer than its window an attack goes on, at most, while a fault that must be blamed was not told.
const PATIENCE: Duration = Duration::from_secs(20);

/// How often the victim is asked whom it has blamed, until then.
const ASKED_EVERY: Duration = Duration::from_millis(100);

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
            for attempt in 1..=arguments.attempts {
                let ran = runtime.block_on(one(what, attempt, machine.as_ref(), arguments));
                if !locked(&tally).count(what, ran, arguments)? {
                    break;
                }
            }
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
    again: usize, // attempts that do not count
    unrun: usize,
    beyond: Vec<String>, // a line for each run that missed a bound or a target
}

impl Tally {
    /// Counts an attempt at a run, and prints what there is to say of it. Whether it is measured again.
    fn count(&mut self, what: What, ran: Result<Report, Any>, arguments: &Arguments) -> Result<bool, Any> {
        let again = ran.as_ref().is_ok_and(|report| report.again);
        self.again += usize::from(again);
        self.runs += usize::from(!again);
        match ran {
            Ok(report) => {
                if report.is_fine(arguments) {
                    self.fine += 1;
                } else if !again {
                    self.beyond.push(line(&report));
                }
                print(&report, arguments)?;
                Ok(again)
            }
            Err(error) => {
                self.unrun += 1; // the others run all the same
                let (attack, arrangement, handling) = what;
                eprintln!("hostile: {attack:?}, {arrangement:?}, {handling} µs could not be run: {error}");
                Ok(false)
            }
        }
    }

    /// Says how all of them ended; whether all are as promised.
    fn end(self, arguments: &Arguments) -> Result<bool, Any> {
        let Self { runs, fine, again, unrun, beyond } = self;
        if again > 0 {
            eprintln!("hostile: measured again, as the host had interrupted a processor: {again}");
        }
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
    attempt: u32,
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
    let report = Report {
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
        away_ms: machine.map(|machine| machine.longest(struck, ended).as_secs_f64() * 1000.0),
        broken: Vec::new(),
        slow: Vec::new(),
        attempt,
        again: false,
        within_targets: false,
    };
    pair.stop().await;
    victim.stop()?;
    Ok(report.measured(attempt, arguments.attempts, newcomers))
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
