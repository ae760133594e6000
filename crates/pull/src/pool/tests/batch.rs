//! Many items taken out and put in by one command, as a block does.

use super::super::*;
use super::fetching::config;
use super::mesh::{Mesh, id, item, ms};

/// What became of the inserts of one batch.
fn batch(
    mesh: &mut Mesh,
    remove: &[bytes::Bytes],
    insert: &[bytes::Bytes],
) -> Result<Vec<Result<(), Refused>>, Refused> {
    let now = mesh.now;
    let rules = config().rules;
    let judged = |bytes: &bytes::Bytes| {
        let summary = (rules.summarize)(bytes).unwrap_or_default();
        Item::new(bytes.clone(), summary, (rules.judge)(&summary).unwrap_or_default())
    };
    let command = Command::Batch {
        remove: remove.iter().map(|item| id(item)).collect(),
        insert: insert.iter().map(judged).collect(),
    };
    let ticket = mesh.pool(0).command(now, command)?;
    let events = std::iter::from_fn(|| mesh.pool(0).poll_event());
    let done = events.filter_map(|event| match event {
        Event::BatchDone { ticket: of, inserts } if of == ticket => Some(inserts),
        _ => None,
    });
    let [inserts] = &done.collect::<Vec<_>>()[..] else { panic!("one event") };
    mesh.settle();
    Ok(inserts.clone())
}

#[test]
fn a_batch_takes_out_what_a_block_holds_and_puts_in_what_came_back() {
    let mut mesh = Mesh::full(1, 2, &config());
    let items: Vec<_> = (0..20).map(|number| item(5, number, 100)).collect();
    let (held, back) = items.split_at(12);
    held.iter().for_each(|item| mesh.insert(0, item));
    mesh.run_for(ms(500));
    assert_eq!(batch(&mut mesh, held, back), Ok(vec![Ok(()); 8]));
    mesh.run_for(ms(500));
    let mut expected: Vec<_> = back.iter().map(|item| id(item)).collect();
    expected.sort_unstable();
    assert_eq!(mesh.ids(0), expected);
    assert_eq!(mesh.ids(1).len(), 20, "what was put in is offered on");
    mesh.command(0, Command::Resync);
    mesh.run_for(ms(12_000));
    assert_eq!(mesh.ids(0), expected, "what a block holds is not fetched again");
}

#[test]
fn each_insert_of_a_batch_has_its_own_result() {
    let mut mesh = Mesh::full(1, 1, &Config { max_items: 2, ..config() });
    let (high, higher, low) = (item(5, 1, 100), item(6, 2, 100), item(1, 3, 100));
    let (empty, large) = (bytes::Bytes::new(), item(5, 4, 70_000));
    let done = batch(&mut mesh, &[], &[high.clone(), empty, large, higher, low, high]);
    let refused = |refused| Err(refused);
    let expected = [
        Ok(()),
        refused(Refused::Invalid),
        refused(Refused::TooLarge),
        Ok(()),
        refused(Refused::Busy),
        Ok(()),
    ];
    assert_eq!(done, Ok(expected.to_vec()));
    assert_eq!(mesh.ids(0).len(), 2);
}

#[test]
fn a_batch_that_is_too_large_does_nothing() {
    let mut mesh = Mesh::full(1, 1, &config());
    let held = item(5, 1, 100);
    mesh.insert(0, &held);
    let many = vec![held.clone(); MAX_BATCH];
    assert_eq!(batch(&mut mesh, &many, &[item(5, 2, 100)]), Err(Refused::TooLarge));
    assert_eq!(mesh.ids(0), [id(&held)]);
    assert_eq!(batch(&mut mesh, &many, &[]), Ok(vec![]));
    assert_eq!(mesh.ids(0).len(), 0);
}
