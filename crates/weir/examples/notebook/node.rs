//! The node: a book, joined to the network.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use weir::{Caller, Channels, Fault, ItemId, Keypair, Network, PeerId, PoolHandle, PublicKey, PublishError};
use weir::{Requests, TipHandle};

use super::book::Book;
use super::note::{NOTES, Note};
use super::page::{HEAD, Head, NOTES_MAX, PAGE, Page};

/// How often the writer looks for notes.
const PAUSE: Duration = Duration::from_secs(1);

/// What a node has of its channels.
pub type Handles = (PoolHandle<Note>, TipHandle<Head>, Requests<u64, Page>);

/// The notebook's channels, for a builder.
pub fn channels() -> impl Channels<Handles = Handles> {
    (NOTES, HEAD, PAGE.serve())
}

/// A node of the notebook.
#[derive(Debug)]
pub struct Notebook {
    net: Network,
    notes: PoolHandle<Note>,
    heads: TipHandle<Head>,
    requests: Requests<u64, Page>,
    pages: Caller<u64, Page>,
    writer: PublicKey,
    book: Mutex<Book>,
    waiting: Mutex<BTreeMap<ItemId, Note>>, // accepted, and on no page yet
}

/// Something that a node does until its network stops.
pub type Job = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

impl Notebook {
    /// Joins a book to a network. Peers that know less hear of its last page.
    pub fn new(net: Network, handles: Handles, book: Book, writer: PublicKey) -> Arc<Self> {
        let (notes, heads, requests) = handles;
        if let Some(last) = book.last() {
            let _ = heads.publish(last); // it fails where the node has stopped
        }
        let (pages, waiting) = (requests.caller(), Mutex::default());
        Arc::new(Self { net, notes, heads, requests, pages, writer, book: Mutex::new(book), waiting })
    }

    /// All that a node does; `key` is for the writer. Natively each job may have a thread, in virtual time it is a task.
    pub fn jobs(self: &Arc<Self>, key: Option<Keypair>) -> Vec<Job> {
        let node = || Arc::clone(self);
        let mut jobs: Vec<Job> =
            vec![Box::pin(take_notes(node())), Box::pin(follow(node())), Box::pin(serve(node()))];
        jobs.extend(key.map(|key| Box::pin(write(node(), key)) as Job));
        jobs
    }

    /// The network below.
    pub fn network(&self) -> &Network {
        &self.net
    }

    /// Hands in a note.
    pub async fn hand_in(&self, note: Note) -> Result<(), PublishError> {
        let id = note.id();
        lock(&self.waiting).insert(id, note.clone());
        let published = self.notes.publish_wait(&note).await;
        if published.is_err() {
            lock(&self.waiting).remove(&id);
        }
        published.map(drop)
    }

    /// How many pages are here.
    pub fn pages(&self) -> u64 {
        lock(&self.book).next() - 1
    }

    /// The page with this number, if it is here.
    pub fn page(&self, number: u64) -> io::Result<Option<Page>> {
        lock(&self.book).page(number)
    }

    /// Tells peers of the last page, and takes what is on it out of the pool.
    async fn publish(&self, page: &Page) {
        let ids: Vec<ItemId> = page.notes.iter().map(Note::id).collect();
        lock(&self.waiting).retain(|id, _| !ids.contains(id));
        // Either fails where the node has stopped: there is nobody to tell.
        let _ = self.heads.publish(&page.head);
        let _ = self.notes.settle_wait(ids, []).await;
    }

    /// Adds the next page; false where it is not that.
    async fn add(&self, page: &Page) -> io::Result<bool> {
        {
            let mut book = lock(&self.book);
            if !book.fits(page, &self.writer) {
                return Ok(false);
            }
            book.add(page)?;
        }
        self.publish(page).await;
        Ok(true)
    }

    /// Asks a peer for all pages up to this one. A peer that sends what is no next page is reported.
    async fn catch_up(&self, peer: PeerId, number: u64) -> io::Result<bool> {
        loop {
            let next = self.pages() + 1;
            if next > number {
                return Ok(true);
            }
            let Ok(page) = self.pages.call(peer, next).await else { return Ok(false) };
            if !self.add(&page).await? && self.pages() < next {
                let _ =
                    self.net.peers().report(peer, Fault::invalid("sent a page that does not follow")).await;
                return Ok(false);
            }
        }
    }
}

/// Notes of others: kept, and offered on, until they are on a page.
async fn take_notes(node: Arc<Notebook>) -> io::Result<()> {
    while let Some(candidate) = node.notes.next().await {
        if candidate.item().text.trim().is_empty() {
            candidate.reject(); // the fault of whoever sent it
        } else if lock(&node.book).holds(&candidate.id()) {
            candidate.ignore(); // nobody's fault: it is on a page already
        } else {
            lock(&node.waiting).insert(candidate.id(), candidate.item().clone());
            candidate.accept();
        }
    }
    Ok(())
}

/// Heads of others: a signed one that is higher is followed, and relayed once its page is here.
async fn follow(node: Arc<Notebook>) -> io::Result<()> {
    while let Some(received) = node.heads.next().await {
        let (peer, head) = (received.peer(), received.value());
        if !head.is_by(&node.writer) {
            received.reject();
        } else if head.number > node.pages() && node.catch_up(peer, head.number).await? {
            received.accept();
        } else {
            received.ignore();
        }
    }
    Ok(())
}

/// Requests for pages.
async fn serve(node: Arc<Notebook>) -> io::Result<()> {
    while let Some(request) = node.requests.next().await {
        match node.page(*request.query())? {
            Some(page) => request.answer(page),
            None => request.refuse(PAUSE),
        }
    }
    Ok(())
}

/// The writer: a page with the most urgent notes each second, where there are any.
async fn write(node: Arc<Notebook>, key: Keypair) -> io::Result<()> {
    while node.net.sleep(PAUSE).await.is_ok() {
        let mut notes: Vec<Note> = lock(&node.waiting).values().cloned().collect();
        if notes.is_empty() {
            continue;
        }
        notes.sort_by_key(|note| std::cmp::Reverse(note.urgency));
        notes.truncate(NOTES_MAX);
        let page = Page::write(lock(&node.book).last(), notes, &key);
        node.add(&page).await?;
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
