//! How wide a type may be: methods of its own `impl` blocks and fields, counted over all files of a crate.
//!
//! A type has one concern. One that grows further is two types and a parent (`docs/adr/0001`); to spread its `impl` blocks
//! over files does not make it smaller, so they are counted together.

use std::collections::BTreeMap;

use syn::visit::Visit;
use syn::{Fields, FnArg, ImplItem, Item, ItemImpl, ItemStruct, ReceiverKind, Type};

use crate::lengths::is_test_file;
use crate::repo::{Repo, TextFile};
use crate::run::Error;
use crate::spans::is_test_module;

#[cfg(test)]
mod tests;

/// Methods of one type, whatever their visibility; those of traits are not counted.
const METHODS: usize = 40;
/// Fields of one type that has methods which change it. Plain data may have more.
const FIELDS: usize = 12;

/// Crate, first module and name: types of one name in different modules are different ones.
type Name = String;

/// How wide one type is.
#[derive(Debug, Default, PartialEq, Eq)]
struct Width {
    methods: usize,
    fields: usize,
    changes: bool,
}

/// All crates of the workspace, without their tests.
pub(crate) fn gate(repo: &Repo) -> Result<Vec<String>, Error> {
    let files = repo.rust_files("crates")?;
    Ok(judge(&measure(&files)))
}

/// `cargo xtask widths`: the widest types, for a reader.
pub(crate) fn chore(repo: &Repo) -> Result<bool, Error> {
    let widths = measure(&repo.rust_files("crates")?);
    let mut sorted: Vec<_> = widths.iter().collect();
    sorted.sort_by_key(|(name, width)| (std::cmp::Reverse(width.methods), (*name).clone()));
    println!("methods  fields  type");
    for (name, width) in sorted.into_iter().take(20) {
        println!("{:7}  {:6}  {name}", width.methods, width.fields);
    }
    Ok(true)
}

fn judge(widths: &BTreeMap<Name, Width>) -> Vec<String> {
    let mut findings = Vec::new();
    for (name, width) in widths {
        if width.methods > METHODS {
            findings.push(format!("{name}: {} methods, at most {METHODS}", width.methods));
        }
        if width.changes && width.fields > FIELDS {
            findings.push(format!("{name}: {} fields, at most {FIELDS}", width.fields));
        }
    }
    findings
}

fn measure(files: &[TextFile]) -> BTreeMap<Name, Width> {
    let mut widths = BTreeMap::new();
    for file in files {
        let Some(module) = module(&file.path) else { continue };
        if let Ok(syntax) = syn::parse_file(&file.text) {
            Counter { module, widths: &mut widths }.visit_file(&syntax);
        }
    }
    widths
}

/// `crates/pull/src/pool/fetch.rs` lies in `pull/pool`, `crates/pull/src/lib.rs` in `pull`; a test file nowhere.
fn module(path: &str) -> Option<String> {
    let (package, rest) = path.strip_prefix("crates/")?.split_once("/src/")?;
    if is_test_file(path) {
        return None;
    }
    match rest.split('/').next()?.trim_end_matches(".rs") {
        "lib" | "main" => Some(package.to_owned()),
        first => Some(format!("{package}/{first}")),
    }
}

struct Counter<'a> {
    module: String,
    widths: &'a mut BTreeMap<Name, Width>,
}

impl Counter<'_> {
    fn of(&mut self, name: &syn::Ident) -> &mut Width {
        self.widths.entry(format!("{}::{name}", self.module)).or_default()
    }
}

impl<'ast> Visit<'ast> for Counter<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Mod(module) if is_test_module(module) => {}
            item => syn::visit::visit_item(self, item),
        }
    }

    fn visit_item_struct(&mut self, item: &'ast ItemStruct) {
        if let Fields::Named(fields) = &item.fields {
            self.of(&item.ident).fields += fields.named.len();
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let (None, Type::Path(path)) = (&item.trait_, &*item.self_ty) else { return };
        let Some(last) = path.path.segments.last() else { return };
        let width = self.of(&last.ident);
        for item in &item.items {
            let ImplItem::Fn(function) = item else { continue };
            width.methods += 1;
            width.changes |= matches!(
                function.sig.inputs.first(),
                Some(FnArg::Receiver(receiver))
                    if receiver.mutability.is_some() || matches!(receiver.kind, ReceiverKind::Reference(_, _, Some(_)))
            );
        }
    }
}
