use super::*;
use crate::trees::levels;

fn joined(source: &str) -> Vec<String> {
    named_paths(&levels(source))
        .iter()
        .map(|path| {
            let mark = match path.how {
                How::Inline => "",
                How::Imported => "use ",
                How::ImportedAll => "all ",
            };
            format!("{mark}{}", path.segments.join("::"))
        })
        .collect()
}

#[test]
fn use_trees_are_written_out() {
    assert_eq!(
        joined("use std::{time::{self, Duration, Instant as I}, net::*, fmt};"),
        [
            "use std::time",
            "use std::time::Duration",
            "use std::time::Instant",
            "all std::net",
            "use std::fmt"
        ]
    );
}

#[test]
fn a_use_ends_at_its_semicolon() {
    assert_eq!(joined("use a::b; c::d(e)"), ["use a::b", "c::d", "e"]);
}

#[test]
fn inline_paths_end_at_a_turbofish() {
    assert_eq!(joined("a::b::<c::D>::e()"), ["a::b", "c::D", "e"]);
}

#[test]
fn lines_are_those_of_the_first_segment() {
    let source = "use a::{\n  b,\n  c::d,\n};";
    let all = levels(source);
    let lines: Vec<_> = named_paths(&all).iter().map(|path| path.line).collect();
    assert_eq!(lines, [2, 3]);
}

#[test]
fn segments_are_found_anywhere_in_a_row() {
    let all = levels("std::time::Instant::now");
    let path = &named_paths(&all)[0];
    assert!(path.contains(&["std", "time"]));
    assert!(path.contains(&["Instant", "now"]));
    assert!(!path.contains(&["time", "now"]));
}

#[test]
fn broken_trees_end() {
    for source in ["use a::{", "use {{{", "use a::{b", "use", "use a::{;}", "use<'a>", "use a::"] {
        let _ = joined(source);
    }
}
