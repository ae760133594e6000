//! A small real node: a notebook that one node writes and all nodes keep. `docs/library.md` builds it step by step.
//!
//! `cargo run -p weir-net --example notebook -- FOLDER [ADDRESS OF THE WRITER]`; each line of standard input is a note.
#![allow(clippy::print_stdout, clippy::print_stderr, unreachable_pub)]

pub mod book;
pub mod node;
pub mod note;
pub mod page;

use std::error::Error;
use std::io::BufRead as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use weir::{KeyFile as _, Keypair, Multiaddr, Network, NetworkId};

use book::Book;
use node::{Notebook, channels};
use note::Note;

/// Nodes of another network refuse each other.
const NETWORK: NetworkId = NetworkId(*b"the notebook of the tutorial - 1");

/// Runs the example.
pub fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [folder] => run(Path::new(folder), None),
        [folder, writer] => run(Path::new(folder), Some(writer.parse()?)),
        _ => Err("say a folder, and for all but the writer its address".into()),
    }
}

/// Runs a node until standard input ends.
pub fn run(folder: &Path, writer: Option<Multiaddr>) -> Result<(), Box<dyn Error + Send + Sync>> {
    std::fs::create_dir_all(folder)?;
    let keypair = Keypair::load_or_create(folder.join("key"))?;
    let peer = match &writer {
        Some(address) => address.peer_id().ok_or("the writer's address must end in /p2p/ and its id")?,
        None => keypair.peer_id(),
    };
    let public = peer.public_key().ok_or("the writer needs an Ed25519 key")?;
    let book = Book::open(&folder.join("book"), &public)?;
    let key = writer.is_none().then(|| keypair.clone());

    let builder = Network::builder(keypair, NETWORK).listen("127.0.0.1:0").peers(writer).channels(channels());
    let (net, node, handles) = weir::start(builder)?;
    println!("{}", net.addresses()[0]);

    let notebook = Notebook::new(net.clone(), handles, book, public);
    for job in notebook.jobs(key) {
        let net = net.clone();
        std::thread::spawn(move || {
            if let Err(error) = net.block_on(job) {
                eprintln!("error: {error}");
                std::process::exit(1);
            }
        });
    }
    let shown = Arc::clone(&notebook);
    std::thread::spawn(move || show(&shown));
    for line in std::io::stdin().lock().lines() {
        net.block_on(notebook.hand_in(Note { urgency: 1, text: line? }))?;
    }
    net.block_on(node.shutdown(Duration::from_secs(2)));
    Ok(())
}

/// Prints each page when it is here.
fn show(notebook: &Notebook) {
    let net = notebook.network();
    for number in 1.. {
        while notebook.pages() < number {
            if net.block_on(net.sleep(Duration::from_millis(100))).is_err() {
                return;
            }
        }
        if let Ok(Some(page)) = notebook.page(number) {
            page.notes.iter().for_each(|note| println!("page {number}: {}", note.text));
        }
    }
}
