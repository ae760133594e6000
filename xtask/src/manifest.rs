//! What the gates need of a `Cargo.toml`: its dependencies, by kind, and whether it has features.
//!
//! Not a TOML parser: it reads the flat style of this workspace (one dependency a line, or a table
//! of its own) and takes keys only outside brackets and strings.

#[cfg(test)]
mod tests;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    Normal,
    Development,
    Build,
}

/// One dependency, under the package's real name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) package: String,
    pub(crate) section: Section,
    pub(crate) optional: bool,
    pub(crate) line: usize,
}

#[derive(Debug, Default)]
pub(crate) struct Manifest {
    pub(crate) dependencies: Vec<Dependency>,
    /// The line of `[features]`, where there is one.
    pub(crate) features: Option<usize>,
}

enum Place {
    Elsewhere,
    /// `[dependencies]` and its kin: each key is a dependency.
    List(Section),
    /// `[dependencies.name]`: each key says something of the last dependency.
    One,
}

/// Reads a manifest.
pub(crate) fn parse(text: &str) -> Manifest {
    let mut manifest = Manifest::default();
    let mut place = Place::Elsewhere;
    let mut open = 0_usize;
    for (number, line) in text.lines().enumerate() {
        let line = without_comment(line).trim();
        let inside = open > 0;
        if !inside && line.starts_with('[') {
            place = enter(line, number + 1, &mut manifest);
            continue;
        }
        open = open_after(line, open);
        let Some((key, value)) = line.split_once('=').filter(|_| !inside) else {
            continue;
        };
        match place {
            Place::Elsewhere => {}
            Place::List(section) => {
                let mut dependency =
                    Dependency { package: first_part(key), section, optional: false, line: number + 1 };
                describe(&mut dependency, value);
                if key.trim().ends_with(".optional") {
                    dependency.optional = value.trim() == "true";
                }
                manifest.dependencies.push(dependency);
            }
            Place::One => {
                if let Some(last) = manifest.dependencies.last_mut() {
                    describe(last, line);
                }
            }
        }
    }
    manifest
}

fn enter(header: &str, line: usize, manifest: &mut Manifest) -> Place {
    let name = header.trim_matches(['[', ']']).trim();
    if name == "features" {
        manifest.features = Some(line);
    }
    // `target.'cfg(..)'.dependencies`: what stands before the last quote names the target
    let name = match name.rsplit_once(['\'', '"']) {
        Some((_, tail)) if name.starts_with("target.") => tail.trim_start_matches('.'),
        _ => name,
    };
    for (word, section) in [
        ("dependencies", Section::Normal),
        ("dev-dependencies", Section::Development),
        ("build-dependencies", Section::Build),
    ] {
        if name == word {
            return Place::List(section);
        }
        let below = name.strip_prefix(word);
        if let Some(package) = below.and_then(|rest| rest.strip_prefix('.')) {
            manifest.dependencies.push(Dependency {
                package: first_part(package),
                section,
                optional: false,
                line,
            });
            return Place::One;
        }
    }
    Place::Elsewhere
}

/// Takes `package = ".."` and `optional = true` from an inline table or a line of a table.
fn describe(dependency: &mut Dependency, text: &str) {
    let inner = text.trim().trim_start_matches('{').trim_end_matches('}');
    for part in inner.split(',') {
        let Some((key, value)) = part.split_once('=') else {
            continue;
        };
        match key.trim() {
            "package" => dependency.package = first_part(value),
            "optional" => dependency.optional = value.trim() == "true",
            _ => {}
        }
    }
}

/// The first part of a dotted key, without quotes.
fn first_part(key: &str) -> String {
    let key = key.trim();
    match key.strip_prefix(['"', '\'']) {
        Some(quoted) => quoted.split(['"', '\'']).next().unwrap_or_default(),
        None => key.split('.').next().unwrap_or_default().trim(),
    }
    .to_owned()
}

fn without_comment(line: &str) -> &str {
    let mut quote = None;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (None, '#') => return line.get(..at).unwrap_or_default(),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    line
}

/// Brackets still open after this line, of `open` before it.
fn open_after(line: &str, open: usize) -> usize {
    let mut depth = open;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth = depth.saturating_sub(1),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    depth
}
