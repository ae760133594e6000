//! Names to addresses, on one thread, with a bounded queue.
//!
//! The system's resolver blocks and cannot be interrupted, so the thread is never waited for: it ends with its queue.

use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use weir_stack::Family;

use crate::lock::lock;

/// The most addresses taken of one name.
const MAX_ADDRESSES: usize = 16;

#[derive(Debug)]
struct Question {
    query: u64,
    name: String,
    family: Family,
}

/// A question's number and its addresses.
pub(crate) type Answer = (u64, Vec<IpAddr>);

/// See the module. The thread starts with the first question.
#[derive(Debug)]
pub(crate) struct Resolver {
    capacity: usize,
    questions: Option<SyncSender<Question>>,
    answers: Arc<Mutex<Vec<Answer>>>, // <= capacity + 1
    waker: Arc<mio::Waker>,
}

impl Resolver {
    pub(crate) fn new(capacity: usize, waker: Arc<mio::Waker>) -> Self {
        Self { capacity, questions: None, answers: Arc::default(), waker }
    }

    /// Asks. False where too many questions wait, or there is no thread.
    pub(crate) fn ask(&mut self, query: u64, name: String, family: Family) -> bool {
        if self.questions.is_none() {
            self.questions = self.start();
        }
        let question = Question { query, name, family };
        self.questions.as_ref().is_some_and(|questions| questions.try_send(question).is_ok())
    }

    fn start(&self) -> Option<SyncSender<Question>> {
        let (sender, receiver) = sync_channel(self.capacity);
        let (answers, waker) = (Arc::clone(&self.answers), Arc::clone(&self.waker));
        let thread = std::thread::Builder::new().name("weir-dns".into());
        match thread.spawn(move || serve(&receiver, &answers, &waker)) {
            Ok(_) => Some(sender),
            Err(error) => {
                tracing::warn!(%error, "no thread to resolve names");
                None
            }
        }
    }

    /// What has been found.
    pub(crate) fn answers(&mut self) -> Vec<Answer> {
        if self.questions.is_none() { Vec::new() } else { std::mem::take(&mut lock(&self.answers)) }
    }
}

fn serve(questions: &Receiver<Question>, answers: &Mutex<Vec<Answer>>, waker: &mio::Waker) {
    while let Ok(Question { query, name, family }) = questions.recv() {
        let addresses = resolve(&name, family);
        lock(answers).push((query, addresses));
        if let Err(error) = waker.wake() {
            tracing::warn!(%error, "cannot wake the network thread");
        }
    }
}

fn resolve(name: &str, family: Family) -> Vec<IpAddr> {
    let wanted = |ip: &IpAddr| match family {
        Family::Any => true,
        Family::V4 => ip.is_ipv4(),
        Family::V6 => ip.is_ipv6(),
    };
    let mut found: Vec<IpAddr> = match (name, 0).to_socket_addrs() {
        Ok(addresses) => addresses.map(|socket| socket.ip()).filter(wanted).collect(),
        Err(error) => {
            tracing::debug!(%error, "a name was not resolved");
            Vec::new()
        }
    };
    found.dedup();
    found.truncate(MAX_ADDRESSES);
    found
}
