//! The notebook of `docs/library.md` on five processes of this machine. A program of its own: with
//! `NOTEBOOK` in its environment it is the example, a node.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout)] // a test program
#![allow(unreachable_pub)] // the files of an example

#[path = "../examples/notebook/main.rs"]
mod notebook;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A process, killed when this program fails.
struct Node(Child, Option<ChildStdin>, BufReader<ChildStdout>);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Node {
    /// Starts one; the first line it prints is its address.
    fn start(folder: &Path, writer: Option<&str>) -> (Self, String) {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.env("NOTEBOOK", "1").arg(folder).args(writer).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        let mut node = Self(child, input, output);
        let address = node.line();
        (node, address)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.2.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }
}

fn main() {
    if std::env::var_os("NOTEBOOK").is_some() {
        return notebook::main().unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let (writer, address) = Node::start(&folder.path().join("0"), None);
    let mut nodes = vec![writer];
    for number in 1..5 {
        nodes.push(Node::start(&folder.path().join(number.to_string()), Some(&address)).0);
    }
    for (number, node) in nodes.iter_mut().enumerate() {
        writeln!(node.1.as_mut().unwrap(), "from process {number}").unwrap();
    }
    let all: BTreeSet<String> = (0..5).map(|number| format!("from process {number}")).collect();
    for node in &mut nodes {
        let texts = (0..5).map(|_| node.line().split_once(": ").unwrap().1.to_owned());
        assert_eq!(texts.collect::<BTreeSet<_>>(), all);
    }
    for node in &mut nodes {
        drop(node.1.take()); // the end of its input
        assert!(node.0.wait().unwrap().success());
    }
    let book = |number: usize| std::fs::read(folder.path().join(number.to_string()).join("book")).unwrap();
    assert!((1..5).all(|number| book(number) == book(0)), "the books differ");
    println!("five processes keep the same book");
}
