//! The notebook of `docs/library.md`: in virtual time, and on paper.
#![allow(unreachable_pub)] // files of an example
#![allow(clippy::unwrap_used)] // tests

#[path = "../examples/notebook/book.rs"]
mod book;
#[path = "../examples/notebook/node.rs"]
mod node;
#[path = "../examples/notebook/note.rs"]
mod note;
#[path = "../examples/notebook/page.rs"]
mod page;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use weir::testing::Cluster;
use weir::{Keypair, Network, NetworkId};

use book::Book;
use node::{Notebook, channels};
use note::Note;
use page::Page;

/// Starts node `number`, or starts it again; node 0 writes. Each keeps links to the two before it.
fn start(cluster: &Cluster, folder: &Path, number: u8, nodes: &[Arc<Notebook>]) -> Arc<Notebook> {
    let key = |number: u8| Keypair::ed25519_from_seed([number + 1; 32]);
    let writer = key(0).public();
    let known = nodes.iter().rev().take(2).flat_map(|node| node.network().addresses().to_vec());
    let builder = Network::builder(key(number), NetworkId([1; 32])).peers(known).channels(channels());
    let (net, node, handles) = cluster.add(builder).unwrap();
    let book = Book::open(&folder.join(number.to_string()), &writer).unwrap();
    let notebook = Notebook::new(net, handles, book, writer);
    for job in notebook.jobs((number == 0).then(|| key(0))) {
        cluster.spawn(async move { job.await.unwrap() });
    }
    cluster.spawn(async move {
        std::future::pending::<()>().await;
        drop(node);
    });
    notebook
}

/// All texts, page by page.
fn texts(node: &Notebook) -> Vec<String> {
    let page = |number| node.page(number).unwrap().unwrap();
    (1..=node.pages()).flat_map(|number| page(number).notes).map(|note| note.text).collect()
}

#[test]
fn five_nodes_keep_one_book_though_one_crashes() {
    let (cluster, folder) = (Cluster::new(7), tempfile::tempdir().unwrap());
    let mut nodes: Vec<Arc<Notebook>> = Vec::new();
    for number in 0..5 {
        nodes.push(start(&cluster, folder.path(), number, &nodes));
    }
    let hand_in = |node: &Arc<Notebook>, text: &str| {
        let note = Note { urgency: 1, text: text.into() };
        cluster.run_until(node.hand_in(note)).unwrap();
        cluster.run_for(Duration::from_secs(3)); // of virtual time
    };
    hand_in(&nodes[4], "the first");
    cluster.crash(nodes[2].network().peer_id());
    hand_in(&nodes[1], "while one is down");
    let before = &nodes[..2];
    let again = start(&cluster, folder.path(), 2, before);
    assert_eq!(texts(&again), ["the first"], "what it had kept");
    nodes[2] = again;
    hand_in(&nodes[2], "it is back");
    for node in &nodes {
        assert_eq!(texts(node), ["the first", "while one is down", "it is back"]);
    }
}

#[test]
fn a_page_that_was_half_written_is_cut_off_and_one_that_was_changed_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("book");
    let key = Keypair::ed25519_from_seed([1; 32]);
    let mut book = Book::open(&path, &key.public()).unwrap();
    for number in 1..=3 {
        let note = Note { urgency: number, text: format!("note {number}") };
        let page = Page::write(book.last(), vec![note], &key);
        assert!(book.fits(&page, &key.public()));
        book.add(&page).unwrap();
    }
    drop(book);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    let mut book = Book::open(&path, &key.public()).unwrap();
    assert_eq!((book.next(), book.page(2).unwrap().unwrap().notes[0].urgency), (3, 2));
    assert_eq!(book.page(3).unwrap(), None);
    let mut changed = bytes;
    changed[8 + 136 + 9] ^= 1; // in the first note
    std::fs::write(&path, changed).unwrap();
    assert!(Book::open(&path, &key.public()).unwrap_err().to_string().contains("not what its writer wrote"));
}

/// Each block of code in the page is that of the file it names; a line `// …` stands for what is left out.
#[test]
fn the_pages_code_is_the_examples_code() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = std::fs::read_to_string(root.join("docs/library.md")).unwrap();
    let (mut source, mut block, mut blocks) = (String::new(), None::<String>, 0);
    for line in page.lines() {
        match (&mut block, line) {
            (None, "```rust,ignore") => block = Some(String::new()),
            (None, line) => {
                let named = line.split_once("](../crates/weir/").and_then(|(_, rest)| rest.split_once(')'));
                source = named.map_or(source, |(path, _)| path.to_owned());
            }
            (Some(code), "```") => {
                let file =
                    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&source)).unwrap();
                let mut rest = file.as_str();
                for piece in code.split("// …\n") {
                    let piece = piece.trim_matches('\n');
                    let at = rest.find(piece).unwrap_or_else(|| panic!("{source} does not hold:\n{piece}"));
                    rest = &rest[at + piece.len()..];
                }
                blocks += 1;
                block = None;
            }
            (Some(code), line) => code.extend([line, "\n"]),
        }
    }
    assert!(blocks >= 8 && block.is_none(), "{blocks} blocks");
    assert!(!page.contains("```rust\n"), "a block that is not compared");
}
