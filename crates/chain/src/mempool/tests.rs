use ed25519_dalek::SigningKey;

use super::*;
use crate::ledger::Ledger;

const NOW: Instant = Instant::from_nanos(0);

fn account(seed: u8) -> AccountId {
    AccountId::of(&SigningKey::from_bytes(&[seed; 32]))
}

fn transfer(seed: u8, nonce: u64, fee: u64) -> Transfer {
    let key = SigningKey::from_bytes(&[seed; 32]);
    Transfer::sign(&key, &[0; 32], nonce, (AccountId([9; 32]), 0), fee, b"").unwrap()
}

fn ledger() -> Ledger {
    Ledger::new([1, 2, 3].map(|seed| (account(seed), Account { nonce: 0, balance: 100 })).into())
}

fn pool(ledger: &Ledger, limits: Limits) -> Mempool {
    Mempool::new(ledger.accounts().clone(), limits)
}

/// Executes these in `ledger`, as a block would.
fn run(ledger: &mut Ledger, transfers: &[Transfer]) {
    let mut execution = ledger.execution(AccountId([8; 32]));
    transfers.iter().for_each(|transfer| execution.execute(transfer).unwrap());
    execution.seal();
    let changes = execution.into_changes();
    ledger.apply(changes);
}

/// Everything that is counted twice agrees.
fn consistent(pool: &Mempool) {
    let ready: usize = pool.senders.values().map(|queue| queue.ready.len()).sum();
    let gaps: usize = pool.senders.values().map(|queue| queue.gaps.len()).sum();
    assert_eq!((pool.len(), pool.gaps(), pool.by_id.len()), (ready, gaps, ready + gaps));
    let size = |transfers: Vec<&Transfer>| transfers.iter().map(|one| one.encoded().len()).sum::<usize>();
    assert_eq!(pool.bytes, size(pool.ready().collect()));
    let beyond = pool.senders.values().flat_map(|queue| queue.gaps.values().map(|(one, _)| one));
    assert_eq!(pool.gap_bytes, size(beyond.collect()));
    let tails = pool.senders.iter().filter_map(|(id, queue)| Some((queue.tail_fee()?, *id)));
    assert_eq!(pool.tails, tails.collect());
    let holders = pool.senders.iter().filter(|(_, queue)| !queue.gaps.is_empty());
    assert_eq!(pool.gaps_of, holders.map(|(id, queue)| (queue.gaps.len(), *id)).collect());
    for queue in pool.senders.values() {
        assert!(!queue.is_empty());
        assert_eq!(queue.cost, queue.ready.values().map(Transfer::cost).sum::<u64>());
        let nonces: Vec<u64> = queue.ready.keys().copied().collect();
        assert!(nonces.windows(2).all(|pair| pair[0] + 1 == pair[1]));
    }
}

#[test]
fn the_highest_fee_goes_first_but_never_before_an_earlier_nonce() {
    let ledger = ledger();
    let mut pool = pool(&ledger, Limits::default());
    for waiting in [transfer(1, 0, 1), transfer(1, 1, 50), transfer(2, 0, 10)] {
        assert_eq!(pool.check(&waiting), Ok(Fit::Ready));
        pool.insert(NOW, waiting);
    }
    let (chosen, dropped) = pool.select(&mut ledger.execution(AccountId([8; 32])));
    assert_eq!(chosen.iter().map(|transfer| transfer.fee).collect::<Vec<_>>(), [10, 1, 50]);
    assert!(dropped.is_empty());
}

#[test]
fn what_can_not_wait_is_refused_with_its_reason() {
    let ledger = ledger();
    let mut pool = pool(&ledger, Limits::default());
    assert_eq!(pool.check(&transfer(1, 0, 0)), Err(Refused::Fee));
    assert_eq!(pool.check(&transfer(7, 0, 1)), Err(Refused::Balance), "it holds nothing");
    assert_eq!(pool.check(&transfer(7, 5, 1)), Err(Refused::Balance), "nor does it wait beyond a gap");
    assert_eq!(pool.check(&transfer(1, 1, 1)), Ok(Fit::Gap));
    pool.insert(NOW, transfer(1, 0, 60));
    assert_eq!(pool.check(&transfer(1, 1, 41)), Err(Refused::Balance));
    assert_eq!(pool.check(&transfer(1, 1, 40)), Ok(Fit::Ready));
    assert_eq!(pool.check(&transfer(1, 0, 2)), Err(Refused::NonceUsed));
    consistent(&pool);
}

#[test]
fn a_gap_is_closed_by_its_sender_alone_and_what_waited_comes_in_order() {
    let ledger = ledger();
    let mut pool = pool(&ledger, Limits::default());
    for nonce in [3, 1, 2, 5] {
        assert!(pool.insert(NOW, transfer(1, nonce, 1)).ready.is_empty());
    }
    assert_eq!(pool.check(&transfer(1, 3, 2)), Err(Refused::NonceUsed), "one waits with that nonce");
    pool.insert(NOW, transfer(2, 1, 1));
    assert_eq!((pool.len(), pool.gaps()), (0, 5));
    let inserted = pool.insert(NOW, transfer(1, 0, 1));
    assert_eq!(inserted.ready.iter().map(|one| one.nonce).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!((pool.len(), pool.gaps()), (4, 2));
    consistent(&pool);
}

#[test]
fn what_its_sender_cannot_pay_when_the_gap_closes_is_dropped() {
    let ledger = ledger();
    let mut pool = pool(&ledger, Limits::default());
    for nonce in [1, 2] {
        assert_eq!(pool.check(&transfer(1, nonce, 60)), Ok(Fit::Gap), "either could be paid alone");
        pool.insert(NOW, transfer(1, nonce, 60));
    }
    let inserted = pool.insert(NOW, transfer(1, 0, 30));
    assert_eq!(inserted.ready.iter().map(|one| one.nonce).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(inserted.dropped, [*transfer(1, 2, 60).id()]);
    consistent(&pool);
}

#[test]
fn a_block_closes_gaps_and_takes_what_it_executed() {
    let mut ledger = ledger();
    let mut pool = pool(&ledger, Limits::default());
    let all: Vec<Transfer> = (0..4).map(|nonce| transfer(1, nonce, 1)).collect();
    for one in [&all[1], &all[3]] {
        pool.insert(NOW, one.clone());
    }
    run(&mut ledger, &all[..3]);
    let settled = pool.settle([account(1), account(2)]);
    assert_eq!(settled.dropped, [*all[1].id()]);
    assert_eq!(settled.ready.iter().map(|one| one.nonce).collect::<Vec<_>>(), [3]);
    assert_eq!((pool.len(), pool.gaps()), (1, 0));
    consistent(&pool);
}

#[test]
fn what_a_block_left_no_money_for_goes_with_what_follows_it() {
    let mut ledger = ledger();
    let mut pool = pool(&ledger, Limits::default());
    for nonce in 0..5 {
        pool.insert(NOW, transfer(1, nonce, 10));
    }
    run(&mut ledger, &[transfer(1, 0, 75)]);
    let settled = pool.settle([account(1)]);
    assert_eq!((settled.dropped.len(), pool.len()), (3, 2));
    consistent(&pool);
}

#[test]
fn what_follows_one_that_left_goes_too() {
    let ledger = ledger();
    let mut pool = pool(&ledger, Limits::default());
    let all: Vec<Transfer> = (0..4).map(|nonce| transfer(1, nonce, 1)).collect();
    all.iter().for_each(|one| _ = pool.insert(NOW, one.clone()));
    let gone = pool.remove(all[1].id());
    assert_eq!(gone, [*all[1].id(), *all[2].id(), *all[3].id()]);
    assert_eq!(pool.check(&all[1]), Ok(Fit::Ready));
    assert!(pool.remove(all[1].id()).is_empty());
    consistent(&pool);
}

#[test]
fn beyond_the_limits_the_tail_that_pays_least_leaves() {
    let ledger = ledger();
    let mut pool = pool(&ledger, Limits { items: 3, ..Limits::default() });
    for one in [transfer(1, 0, 9), transfer(1, 1, 2), transfer(2, 0, 5)] {
        assert!(pool.insert(NOW, one).dropped.is_empty());
    }
    let inserted = pool.insert(NOW, transfer(3, 0, 1));
    assert_eq!((inserted.ready.len(), inserted.dropped), (0, vec![*transfer(3, 0, 1).id()]));
    let inserted = pool.insert(NOW, transfer(3, 0, 4));
    assert_eq!((inserted.ready.len(), inserted.dropped), (1, vec![*transfer(1, 1, 2).id()]));
    let size = transfer(1, 0, 1).encoded().len();
    let mut small =
        super::Mempool::new(ledger.accounts().clone(), Limits { bytes: 2 * size, ..Limits::default() });
    (1..=3).for_each(|seed| _ = small.insert(NOW, transfer(seed, 0, u64::from(seed))));
    assert_eq!((small.len(), small.contains(transfer(1, 0, 1).id())), (2, false));
    consistent(&pool);
    consistent(&small);
}

#[test]
fn places_beyond_gaps_are_shared_by_senders_and_run_out() {
    let ledger = ledger();
    let limits = Limits { gaps: 4, sender_gaps: 3, ..Limits::default() };
    let mut pool = pool(&ledger, limits);
    for nonce in 1..=3 {
        pool.insert(NOW, transfer(1, nonce, 1));
    }
    assert_eq!(pool.check(&transfer(1, 4, 1)), Err(Refused::NonceGap));
    pool.insert(NOW, transfer(2, 7, 1));
    assert_eq!(pool.insert(NOW, transfer(3, 7, 1)).dropped, [*transfer(1, 3, 1).id()]);
    let later = NOW + Limits::default().gap_for;
    assert!(pool.expire(NOW).is_empty());
    assert_eq!((pool.expire(later).len(), pool.gaps()), (4, 0));
    consistent(&pool);
}

#[test]
fn bytes_beyond_gaps_are_bounded() {
    let ledger = ledger();
    let size = transfer(1, 1, 1).encoded().len();
    let mut pool = pool(&ledger, Limits { gap_bytes: 2 * size, ..Limits::default() });
    pool.insert(NOW, transfer(1, 1, 1));
    pool.insert(NOW, transfer(1, 2, 1));
    assert_eq!(pool.insert(NOW, transfer(2, 1, 1)).dropped, [*transfer(1, 2, 1).id()]);
    assert_eq!((pool.gaps(), pool.gap_bytes), (2, 2 * size));
    consistent(&pool);
}

#[test]
fn a_nonce_that_a_block_has_used_is_refused_before_the_mempool_has_settled_it() {
    let mut ledger = ledger();
    let mut pool = pool(&ledger, Limits::default());
    pool.insert(NOW, transfer(1, 0, 1));
    run(&mut ledger, &[transfer(1, 0, 2), transfer(1, 1, 2)]);
    assert_eq!(pool.check(&transfer(1, 1, 3)), Err(Refused::NonceUsed));
    pool.settle([account(1)]);
    assert_eq!(pool.check(&transfer(1, 2, 3)), Ok(Fit::Ready));
    consistent(&pool);
}

#[test]
fn after_a_change_of_branch_transfers_wait_again_before_later_ones() {
    let mut ledger = ledger();
    let mut pool = pool(&ledger, Limits::default());
    let all: Vec<Transfer> = (0..3).map(|nonce| transfer(1, nonce, 1)).collect();
    run(&mut ledger, &all[..1]);
    pool.insert(NOW, all[1].clone());
    pool.insert(NOW, all[2].clone());
    let mut execution = ledger.execution(AccountId([8; 32]));
    execution.take_back(&std::iter::once((account(1), Account { nonce: 0, balance: 100 })).collect());
    let changes = execution.into_changes();
    ledger.apply(changes);
    let inserted = pool.rejoin(NOW, vec![all[0].clone()]);
    assert_eq!(inserted.ready.iter().map(|one| one.nonce).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(inserted.dropped.is_empty());
    consistent(&pool);
}

#[test]
fn one_senders_long_queue_costs_its_next_no_more() {
    let rich = Ledger::new([(account(1), Account { nonce: 0, balance: u64::MAX })].into());
    let mut pool = pool(&rich, Limits::default());
    // 20,000 checks that walk the queue would be 200 million steps
    for nonce in 0..20_000 {
        let one = transfer(1, nonce, 1);
        assert_eq!(pool.check(&one), Ok(Fit::Ready));
        pool.insert(NOW, one);
    }
    assert_eq!(pool.len(), 20_000);
    consistent(&pool);
}

#[test]
fn a_large_transfer_that_does_not_fit_leaves_the_rest_of_the_block_to_others() {
    let rich = Ledger::new([1, 2].map(|seed| (account(seed), Account { nonce: 0, balance: 1 << 40 })).into());
    let mut pool = pool(&rich, Limits::default());
    let key = SigningKey::from_bytes(&[1; 32]);
    for nonce in 0..64 {
        let large =
            Transfer::sign(&key, &[0; 32], nonce, (AccountId([9; 32]), 0), 100, &[0; 16_384]).unwrap();
        pool.insert(NOW, large);
    }
    pool.insert(NOW, transfer(2, 0, 1));
    let (chosen, dropped) = pool.select(&mut rich.execution(AccountId([8; 32])));
    assert!(chosen.len() == 64 && dropped.is_empty(), "{}", chosen.len());
    assert_eq!(chosen.last().unwrap().from, account(2));
}

/// Accounts of these senders, rich.
fn rich(senders: impl Iterator<Item = u8>) -> Ledger {
    Ledger::new(senders.map(|seed| (account(seed), Account { nonce: 0, balance: 1 << 40 })).collect())
}

#[test]
fn a_block_takes_4096_transfers_at_most() {
    let ledger = rich(1..=1);
    let mut pool = pool(&ledger, Limits::default());
    for nonce in 0..=4096 {
        pool.insert(NOW, transfer(1, nonce, 1));
    }
    let (chosen, dropped) = pool.select(&mut ledger.execution(AccountId([8; 32])));
    assert_eq!((chosen.len(), dropped.len()), (4096, 0));
}

#[test]
fn a_block_is_closed_after_64_transfers_that_were_too_large_for_what_was_left() {
    for (large, chosen) in [(64, 64), (65, 63)] {
        let ledger = rich(1..=2 + large);
        let mut pool = pool(&ledger, Limits::default());
        let sign = |seed: u8, nonce, fee| {
            let key = SigningKey::from_bytes(&[seed; 32]);
            Transfer::sign(&key, &[0; 32], nonce, (AccountId([9; 32]), 0), fee, &[0; 16_384]).unwrap()
        };
        (0..63).for_each(|nonce| _ = pool.insert(NOW, sign(1, nonce, 100)));
        pool.insert(NOW, transfer(2, 0, 1)); // small, and the last in order
        (3..=2 + large).for_each(|seed| _ = pool.insert(NOW, sign(seed, 0, 50)));
        let (found, _) = pool.select(&mut ledger.execution(AccountId([8; 32])));
        assert_eq!(found.len(), chosen, "{large} too large");
    }
}
