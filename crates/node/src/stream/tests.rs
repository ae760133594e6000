//! Spike (0): a raw stream between a user thread and the network thread costs no message per write.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{Builder, Thread, current, park, yield_now};

use bytes::Bytes;
use weir_base::{Chunk, KIB, MIB, Rope};

use super::pipe::{Source, copy_out};
use super::{Drained, Ending, Pipe};
use crate::error::StreamError;
use crate::mailbox::{Listed, unused_bell};

/// Unparks its thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Polls until ready; the thread sleeps in between.
fn wait<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(current())));
    loop {
        match poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => park(),
        }
    }
}

/// The streams of a node whose host sleeps.
type List = Arc<Listed<Arc<Pipe>>>;

fn setup(send: usize, receive: usize) -> (Arc<Pipe>, List) {
    let list = Arc::new(Listed::new(Arc::new(unused_bell())));
    list.bell().sleep();
    (Arc::new(Pipe::new(Arc::clone(&list), 1, send, receive)), list)
}

fn write(pipe: &Arc<Pipe>, buf: &[u8]) -> Poll<Result<usize, StreamError>> {
    pipe.poll_write(&mut Context::from_waker(Waker::noop()), buf)
}

fn read(pipe: &Arc<Pipe>) -> Poll<Result<Source, StreamError>> {
    pipe.poll_source(&mut Context::from_waker(Waker::noop()))
}

/// What the network thread does when it is up: takes the list, then everything of each stream on it.
fn drain(pipe: &Pipe, list: &List, rope: &mut Rope) -> Option<Drained> {
    let mut taken = Vec::new();
    list.take(&mut taken);
    taken.pop()?;
    pipe.unlist();
    Some(pipe.drain(usize::MAX, rope, &mut Vec::new()))
}

#[test]
fn a_thousand_small_writes_cost_one_message_and_a_few_segments() {
    let (pipe, list) = setup(2 * MIB, MIB);
    for turn in 0..1024_usize {
        let kib = [u8::try_from(turn % 251).unwrap(); KIB];
        assert_eq!(write(&pipe, &kib), Poll::Ready(Ok(KIB)));
    }
    assert_eq!(pipe.listings(), 1, "one listing for 1,024 writes");
    assert_eq!(list.bell().rings(), 1, "and one ring");
    let mut rope = Rope::new();
    assert_eq!(drain(&pipe, &list, &mut rope), Some(Drained::Empty));
    assert_eq!(rope.len(), MIB);
    let mut parts = 0;
    while let Some(part) = rope.pop(usize::MAX) {
        assert!(part.len() >= 16 * KIB, "a segment of {} bytes", part.len());
        parts += 1;
    }
    assert!(parts <= 64, "{parts} segments for 1 MiB");
}

#[test]
fn writes_while_the_network_is_blocked_cost_nothing() {
    let (pipe, list) = setup(MIB, MIB);
    assert_eq!(write(&pipe, &[1; 100]), Poll::Ready(Ok(100)));
    let mut rope = Rope::new();
    // The link takes 10 bytes and is full: the stream stays noted until it is asked again.
    let mut taken = Vec::new();
    list.take(&mut taken);
    pipe.unlist();
    assert_eq!(pipe.drain(10, &mut rope, &mut Vec::new()), Drained::More);
    for _ in 0..500 {
        assert_eq!(write(&pipe, &[2; KIB]), Poll::Ready(Ok(KIB)));
    }
    assert_eq!(pipe.listings(), 1);
    assert_eq!(pipe.drain(usize::MAX, &mut rope, &mut Vec::new()), Drained::Empty);
    assert_eq!(rope.len(), 100 + 500 * KIB);
    assert_eq!(write(&pipe, &[3; 1]), Poll::Ready(Ok(1)));
    assert_eq!(pipe.listings(), 2, "only once all was taken");
}

#[test]
fn a_writer_waits_at_the_bound_and_comes_back_at_half() {
    let (pipe, _) = setup(8 * KIB, MIB);
    assert_eq!(write(&pipe, &[0; 6 * KIB]), Poll::Ready(Ok(6 * KIB)));
    assert_eq!(write(&pipe, &[0; 6 * KIB]), Poll::Ready(Ok(2 * KIB)), "what fits");
    assert_eq!(write(&pipe, &[0; 1]), Poll::Pending);
    let (mut rope, mut wakers) = (Rope::new(), Vec::new());
    pipe.drain(KIB, &mut rope, &mut wakers);
    assert!(wakers.is_empty(), "7 of 8 KiB are still there");
    pipe.drain(3 * KIB, &mut rope, &mut wakers);
    assert_eq!(wakers.len(), 1);
}

#[test]
fn large_parts_are_not_copied() {
    let (pipe, _) = setup(MIB, MIB);
    let large = Bytes::from(vec![7; 64 * KIB]);
    let mut context = Context::from_waker(Waker::noop());
    assert_eq!(pipe.poll_write_bytes(&mut context, &large), Poll::Ready(Ok(())));
    let mut rope = Rope::new();
    pipe.drain(usize::MAX, &mut rope, &mut Vec::new());
    assert_eq!(rope.pop(usize::MAX).unwrap().as_ptr(), large.as_ptr());
    let (mut chunks, chunk) = (vec![Chunk::whole(large.clone())], large.as_ptr());
    pipe.give(&mut chunks, &mut Vec::new());
    let Poll::Ready(Ok(Source::Data(parts))) = read(&pipe) else { panic!("nothing arrived") };
    assert_eq!(parts[0].as_ptr(), chunk);
}

#[test]
fn a_reader_takes_all_at_once_and_rings_only_a_starved_network() {
    let (pipe, _) = setup(MIB, 4 * KIB);
    for turn in 0..4_u8 {
        assert!(pipe.incoming_room() > 0);
        pipe.give(&mut vec![Chunk::whole(Bytes::from(vec![turn; KIB]))], &mut Vec::new());
    }
    assert_eq!(pipe.incoming_room(), 0, "full: the peer's window closes");
    let Poll::Ready(Ok(Source::Data(mut parts))) = read(&pipe) else { panic!("nothing arrived") };
    assert_eq!(pipe.listings(), 1, "the network waited for room");
    let mut buf = [9; 3 * KIB];
    assert_eq!(copy_out(&mut parts, &mut buf), 3 * KIB);
    assert_eq!((buf[0], buf[KIB], buf[3 * KIB - 1]), (0, 1, 2));
    assert_eq!(copy_out(&mut parts, &mut buf), KIB);
    pipe.give(&mut vec![Chunk::whole(Bytes::from_static(b"more"))], &mut Vec::new());
    assert!(read(&pipe).is_ready());
    assert_eq!(pipe.listings(), 1, "nobody waited");
}

#[test]
fn a_finish_comes_after_the_bytes_and_a_reset_before() {
    let (pipe, _) = setup(MIB, MIB);
    assert!(write(&pipe, b"last words").is_ready());
    pipe.end(Ending::Finish);
    assert_eq!(write(&pipe, b"!"), Poll::Ready(Err(StreamError::Finished)));
    let mut rope = Rope::new();
    assert_eq!(pipe.drain(4, &mut rope, &mut Vec::new()), Drained::More);
    assert!(!pipe.is_drained());
    assert_eq!(pipe.drain(usize::MAX, &mut rope, &mut Vec::new()), Drained::Ended(Ending::Finish));
    assert_eq!(&rope.into_bytes()[..], b"last words");

    let (pipe, list) = setup(MIB, MIB);
    assert!(write(&pipe, b"never sent").is_ready());
    pipe.end(Ending::Finish);
    pipe.end(Ending::Reset(7));
    let mut rope = Rope::new();
    assert_eq!(drain(&pipe, &list, &mut rope), Some(Drained::Ended(Ending::Reset(7))));
    assert!(rope.is_empty());
}

#[test]
fn ends_and_failures_reach_both_sides() {
    let (pipe, _) = setup(MIB, MIB);
    pipe.give(&mut vec![Chunk::whole(Bytes::from_static(b"x"))], &mut Vec::new());
    pipe.end_reads(Err(StreamError::Reset(3)), &mut Vec::new());
    assert!(matches!(read(&pipe), Poll::Ready(Ok(Source::Data(_)))), "what came before the end");
    assert!(matches!(read(&pipe), Poll::Ready(Err(StreamError::Reset(3)))));
    pipe.fail_writes(StreamError::Stopped(4), &mut Vec::new());
    assert_eq!(write(&pipe, b"x"), Poll::Ready(Err(StreamError::Stopped(4))));
    pipe.stop(5);
    assert_eq!(pipe.stopped(), None, "reading has ended already");
}

/// Two threads, as in life: all bytes arrive in order, and nobody rings more often than the network slept.
#[test]
fn a_thread_writes_and_another_reads() {
    const TOTAL: usize = 8 * MIB;
    let (pipe, list) = setup(256 * KIB, 256 * KIB);
    let writer = Builder::new().spawn({
        let pipe = Arc::clone(&pipe);
        move || {
            for block in 0..TOTAL / KIB {
                let kib = [u8::try_from(block % 251).unwrap(); KIB];
                let mut left = &kib[..];
                while !left.is_empty() {
                    let done = wait(|cx| pipe.poll_write(cx, left));
                    left = &left[done.unwrap()..];
                }
            }
            pipe.end(Ending::Finish);
        }
    });
    let (mut total, mut rounds) = (0, 0_u64);
    loop {
        let mut taken = Vec::new();
        list.bell().sleep();
        list.take(&mut taken);
        list.bell().wake_up();
        rounds += 1;
        if taken.is_empty() {
            yield_now();
            continue;
        }
        pipe.unlist();
        let (mut rope, mut wakers) = (Rope::new(), Vec::new());
        let drained = pipe.drain(usize::MAX, &mut rope, &mut wakers);
        wakers.into_iter().for_each(Waker::wake);
        while let Some(part) = rope.pop(usize::MAX) {
            for byte in part.iter().step_by(512) {
                assert_eq!(*byte, u8::try_from(total / KIB % 251).unwrap());
                total += 512;
            }
        }
        if drained == Drained::Ended(Ending::Finish) {
            break;
        }
    }
    writer.unwrap().join().unwrap();
    assert_eq!(total, TOTAL);
    assert!(list.bell().rings() <= rounds);
    assert!(pipe.listings() <= u64::try_from(TOTAL / KIB).unwrap() + 1);
}
