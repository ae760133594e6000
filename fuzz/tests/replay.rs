//! Every target on stable: its corpus as it is, then seeded mutations of the corpus and of the golden vectors.
#![cfg(test)]

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use weir_base::Rng;
use weir_fuzz::mutate::{mutate, noise};
use weir_fuzz::seeds::{Seed, corpus, here, vectors};
use weir_fuzz::{TARGETS, Target};

/// Mutations of each file of a target's own corpus.
const OWN_MUTATIONS: usize = 2_000;
/// Mutations of each byte string of the vectors, for each target.
const VECTOR_MUTATIONS: usize = 200;
/// Inputs of pure noise for each target.
const NOISE: usize = 10_000;

/// Says which input it was when a target panics.
struct Running<'a> {
    target: &'a str,
    from: &'a Path,
    input: &'a [u8],
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut hex = String::new();
            for byte in self.input {
                let _ = write!(hex, "{byte:02x}");
            }
            eprintln!("target {} on an input from {}: {hex}", self.target, self.from.display());
        }
    }
}

/// Whether the decoder took it.
fn run((name, target): &(&str, Target), from: &Path, input: &[u8]) -> bool {
    let running = Running { target: name, from, input };
    target(running.input)
}

/// The corpus of one target as it is, then mutations of it and of the vectors, then noise.
fn replay(entry: &(&str, Target), vectors: &[Seed]) {
    let (name, _) = *entry;
    let own = corpus(name).unwrap();
    assert!(!own.is_empty(), "corpus/{name}/ is empty: begin with a valid input");
    let seeds: Vec<&Seed> = own.iter().chain(vectors).collect();
    let mut rng = Rng::from_number(0).child(name);
    let (mut inputs, mut taken) = (0, 0);
    let valid = own.iter().filter(|seed| run(entry, &seed.from, &seed.bytes)).count();
    assert!(valid > 0, "corpus/{name}/ has no input that its decoder takes");
    for (index, seed) in seeds.iter().enumerate() {
        taken += usize::from(run(entry, &seed.from, &seed.bytes));
        let mutations = if index < own.len() { OWN_MUTATIONS } else { VECTOR_MUTATIONS };
        for _ in 0..mutations {
            let other = seeds[rng.index(seeds.len())];
            let input = mutate(&mut rng, &seed.bytes, &other.bytes);
            taken += usize::from(run(entry, &seed.from, &input));
        }
        inputs += 1 + mutations;
    }
    for _ in 0..NOISE {
        taken += usize::from(run(entry, Path::new("noise"), &noise(&mut rng, 300)));
    }
    println!("{name}: {} inputs from {} seeds, {taken} taken", inputs + NOISE, seeds.len());
}

/// Each target has random numbers of its own, so it does not matter which thread replays it. A thread that panics fails the test.
#[test]
fn every_target_survives_corpus_vectors_and_their_mutations() {
    let vectors = vectors().unwrap();
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(entry) = TARGETS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    replay(entry, &vectors);
                }
            });
        }
    });
}

#[test]
fn every_target_has_its_program_and_no_other_program_is_there() {
    let manifest = std::fs::read_to_string(here().join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        let shim = format!(
            "#![no_main]\n//! Coverage-guided runs of one target.\nlibfuzzer_sys::fuzz_target!(|data: &[u8]| assert!(weir_fuzz::run(\"{name}\", data).is_some()));\n"
        );
        let path = here().join("fuzz_targets").join(format!("{name}.rs"));
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(text, shim, "{} must read:\n{shim}", path.display());
        let program = format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"");
        assert!(manifest.contains(&program), "Cargo.toml lacks the program of {name}");
    }
    let programs = std::fs::read_dir(here().join("fuzz_targets")).unwrap().count();
    let folders = std::fs::read_dir(here().join("corpus")).unwrap().count();
    assert_eq!((programs, folders), (TARGETS.len(), TARGETS.len()));
}

#[test]
fn names_are_in_order_and_unknown_ones_are_refused() {
    assert!(TARGETS.is_sorted_by_key(|(name, _)| *name));
    assert_eq!(weir_fuzz::run("no such target", b""), None);
}
