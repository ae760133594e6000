//! What the library logs, on standard error: `--log`, else `RUST_LOG`, else warnings.

use std::io::Write;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::error::Failure;
use crate::output;

/// What is logged where nothing was said.
const DEFAULT: &str = "warn";
/// The variable that Rust programs share for this.
const VARIABLE: &str = "RUST_LOG";

/// Options of every command.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// What to log to standard error: `error`, `warn`, `info`, `debug`, `trace`, or by module (`weir_stack=debug,info`).
    /// Without it RUST_LOG counts; without both, `warn`.
    #[arg(long, global = true, value_name = "FILTER", help_heading = "Logging")]
    log: Option<String>,
    /// How log lines look.
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, value_name = "FORMAT", help_heading = "Logging")]
    log_format: Format,
}

/// Forms of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// Begins to log.
pub(crate) fn start(options: &Options) -> Result<(), Failure> {
    let filter = filter(options.log.as_deref(), std::env::var(VARIABLE).ok().as_deref())?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Lines).with_ansi(false);
    let started = match options.log_format {
        Format::Text => lines.try_init(),
        Format::Json => lines.json().try_init(),
    };
    started.map_err(|error| Failure::run(format!("cannot begin to log: {error}")))
}

fn filter(option: Option<&str>, variable: Option<&str>) -> Result<EnvFilter, Failure> {
    let (name, text) = match (option, variable.filter(|text| !text.trim().is_empty())) {
        (Some(text), _) => ("--log", text),
        (None, Some(text)) => (VARIABLE, text),
        (None, None) => ("--log", DEFAULT),
    };
    if let Some(word) = misspelt(text) {
        return Err(Failure::input(format!(
            "{name}: `{word}` is no level: write error, warn, info, debug, trace or off; for a module `{word}=debug`"
        )));
    }
    EnvFilter::builder().parse(text).map_err(|error| {
        Failure::input(format!(
            "{name}: `{text}` is no filter: {error}; write `debug`, or `weir_stack=debug,info`"
        ))
    })
}

/// A word that stands alone and is no level. The filter would take it for a module, and a level that is misspelt would log nothing.
fn misspelt(text: &str) -> Option<&str> {
    let mut words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    words.find(|word| {
        !word.contains(['=', ':', '[']) && !word.starts_with("weir") && word.parse::<LevelFilter>().is_err()
    })
}

/// Standard error as notes see it: what is logged while a picture is on the terminal waits until it is gone.
struct Lines;

/// One log line.
#[derive(Default)]
struct OneLine(Vec<u8>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = OneLine;

    fn make_writer(&'a self) -> OneLine {
        OneLine::default()
    }
}

impl Write for OneLine {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for OneLine {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.0);
        if !text.trim_end().is_empty() {
            output::note(text.trim_end());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_comes_before_the_variable_and_warnings_are_the_default() {
        let shown = |option, variable| filter(option, variable).unwrap().to_string();
        assert_eq!(shown(Some("debug"), Some("trace")), "debug");
        assert_eq!(shown(None, Some("weir_stack=debug,info")), "weir_stack=debug,info");
        for right in ["weir_stack", "off", "weir_stack=debug,quinn::connection,info", "INFO", "[turn]=trace"]
        {
            assert!(filter(Some(right), None).is_ok(), "{right}");
        }
        assert_eq!((shown(None, Some(" ")), shown(None, None)), ("warn".into(), "warn".into()));
    }

    #[test]
    fn what_is_no_filter_is_named_with_where_it_came_from() {
        for (option, variable, name) in [
            (Some("a=b=c"), None, "--log: `a=b=c`"),
            (Some("dbug"), None, "--log: `dbug`"),
            (Some("weir_stack=debug, wran"), None, "--log: `wran`"),
            (None, Some("weir=loud"), "RUST_LOG: `weir=loud`"),
        ] {
            let error = filter(option, variable).unwrap_err();
            assert!(error.exit_code() == 2 && error.to_string().starts_with(name), "{error}");
        }
    }
}
