//! The picture, in any size: figures of the run above, a row per node, committed transactions over time and the latest notes
//! below. What does not fit is counted, never cut in silence.

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Sparkline, Widget as _};

use super::Picture;
use crate::devnet::rows::{Permits, Row};

/// Rows of the terminal that the graph takes, its title included, where nothing else needs them.
const GRAPH: u16 = 7;
/// The same for the lines of notes.
pub(super) const NOTES: usize = 5;
/// Where more rows than these are left for the table, the latest note has one of them.
const LEAST: u16 = 4;

/// All that is drawn.
pub(super) struct Scene<'a> {
    /// The run now.
    pub(super) picture: &'a Picture<'a>,
    /// The height to reach.
    pub(super) blocks: u64,
    /// Transactions committed in each second, the latest last.
    pub(super) history: &'a [u64],
    /// What was said meanwhile, the latest last.
    pub(super) notes: &'a [String],
}

/// A column of the table of nodes.
struct Column {
    name: &'static str,
    width: u16,
    /// The higher, the sooner it goes where the terminal is narrow.
    dispensable: u8,
    cell: fn(&Row) -> Span<'static>,
}

const COLUMNS: [Column; 11] = [
    Column { name: "node", width: 4, dispensable: 0, cell: |row| Span::raw(row.node.to_string()) },
    Column { name: "block", width: 7, dispensable: 0, cell: |row| Span::raw(row.height.to_string()) },
    Column {
        name: "tip",
        width: 6,
        dispensable: 8,
        cell: |row| Span::raw(row.tip.chars().take(6).collect::<String>()),
    },
    Column { name: "links", width: 5, dispensable: 2, cell: |row| Span::raw(row.links.to_string()) },
    Column { name: "wait", width: 5, dispensable: 1, cell: |row| Span::raw(count(row.waiting as u64)) },
    Column { name: "in", width: 8, dispensable: 4, cell: |row| Span::raw(bytes(row.bytes_in)) },
    Column { name: "out", width: 8, dispensable: 5, cell: |row| Span::raw(bytes(row.bytes_out)) },
    Column { name: "permits", width: 11, dispensable: 7, cell: |row| Span::raw(permits(&row.permits)) },
    Column { name: "rtt ms", width: 6, dispensable: 6, cell: |row| Span::raw(millis(row.rtt_ms)) },
    Column { name: "faults", width: 6, dispensable: 3, cell: |row| alarm(row.faults) },
    Column { name: "bans", width: 4, dispensable: 3, cell: |row| alarm(row.bans) },
];

impl Scene<'_> {
    /// Draws into `area`, whatever its size.
    pub(super) fn draw(&self, area: Rect, buffer: &mut Buffer) {
        let mut free = area;
        for line in [self.title(area.width), self.transactions(), self.network()] {
            put(&mut free, buffer, &line);
        }
        if usize::from(free.height) > self.picture.rows.len() + 2 {
            put(&mut free, buffer, &Line::default());
        }
        let latest = latest(self.notes, usize::from(area.width));
        let kept = u16::from(!latest.is_empty() && free.height > LEAST);
        let mut rows = Rect { height: free.height - kept, ..free };
        self.table(&mut rows, buffer);
        let free = Rect { height: rows.height + kept, ..rows };
        let wanted = if latest.is_empty() { 0 } else { latest.len() + 1 };
        let below = u16::try_from(wanted).unwrap_or(u16::MAX).min(free.height);
        let mut graph = Rect { height: free.height - below, ..free };
        if graph.height > GRAPH {
            put(&mut graph, buffer, &Line::default());
            self.graph(Rect { height: GRAPH, ..graph }, buffer);
        }
        let mut foot = Rect { y: free.bottom() - below, height: below, ..free };
        if usize::from(below) > latest.len() {
            put(&mut foot, buffer, &Line::default());
        }
        let fitting = latest.len().saturating_sub(usize::from(foot.height));
        for line in latest.into_iter().skip(fitting) {
            put(&mut foot, buffer, &Line::styled(line, Style::new().fg(Color::Yellow)));
        }
    }

    /// Height and how far it is, over the whole width.
    fn title(&self, width: u16) -> Line<'static> {
        let Picture { now, height, block_age, .. } = *self.picture;
        let head = format!("weir devnet {} s  block {height} of {}", now.as_secs(), self.blocks);
        let age =
            block_age.map_or_else(|| "  no block yet  ".into(), |age| format!("  {} old  ", seconds(age)));
        let left = usize::from(width).saturating_sub(head.len() + age.len() + 2).min(60);
        let done =
            usize::try_from(left as u64 * height.min(self.blocks) / self.blocks.max(1)).unwrap_or(left);
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let mut spans = vec![Span::styled(head, bold), Span::raw(age)];
        if left >= 10 {
            spans.push(Span::raw("["));
            spans.push(Span::styled("#".repeat(done), Style::new().fg(Color::Green)));
            spans.push(Span::styled("-".repeat(left - done), Style::new().fg(Color::DarkGray)));
            spans.push(Span::raw("]"));
        }
        Line::from(spans)
    }

    fn transactions(&self) -> Line<'static> {
        let Picture { submitted, committed, left, committed_per_s, .. } = *self.picture;
        let rate = committed_per_s.map_or_else(String::new, |rate| format!(" ({rate:.0}/s)"));
        let left = left.map_or_else(String::new, |left| format!(", lines left {left}"));
        let waiting = self.picture.rows.iter().map(|row| row.waiting).max().unwrap_or(0);
        Line::raw(format!("submitted {submitted}{left}, committed {committed}{rate}, waiting {waiting}"))
    }

    fn network(&self) -> Line<'static> {
        let rows = self.picture.rows;
        let up = rows.iter().filter(|row| row.up).count();
        let mut total = Permits::default();
        rows.iter().for_each(|row| total.add(row.permits));
        let received = rows.iter().map(|row| row.bytes_in).sum();
        let faults: u64 = rows.iter().map(|row| row.faults).sum();
        let bans: u64 = rows.iter().map(|row| row.bans).sum();
        let style =
            if faults + bans > 0 || up < rows.len() { Style::new().fg(Color::Red) } else { Style::new() };
        Line::from(vec![
            Span::styled(
                format!("nodes {up} of {} up, {} faults, {} bans", rows.len(), count(faults), count(bans)),
                style,
            ),
            Span::raw(format!(
                ", {} in, permits {} used of {}",
                bytes(received),
                count(total.entries_used),
                count(total.entries_granted),
            )),
        ])
    }

    /// A row per node, as many as fit, and how many do not.
    fn table(&self, free: &mut Rect, buffer: &mut Buffer) {
        let rows = self.picture.rows;
        let columns = fitting(free.width);
        let head = columns.iter().map(|column| right(&Span::raw(column.name), column.width));
        put(free, buffer, &spaced(head).style(Style::new().fg(Color::Cyan)));
        let room = usize::from(free.height);
        let shown = if rows.len() <= room { rows.len() } else { room.saturating_sub(1) };
        for row in rows.iter().take(shown) {
            let line = if row.up {
                spaced(columns.iter().map(|column| right(&(column.cell)(row), column.width)))
            } else {
                Line::styled(format!("{:>4} down", row.node), Style::new().fg(Color::Red))
            };
            put(free, buffer, &line);
        }
        let rest = rows.get(shown..).unwrap_or_default();
        if !rest.is_empty() {
            let up = || rest.iter().filter(|row| row.up);
            let lowest = up().map(|row| row.height).min().unwrap_or(0);
            let text = format!(
                "and {} more: {} up, lowest block {lowest}, {} faults",
                rest.len(),
                up().count(),
                rest.iter().map(|row| row.faults).sum::<u64>()
            );
            put(free, buffer, &Line::styled(text, Style::new().fg(Color::DarkGray)));
        }
    }

    fn graph(&self, mut area: Rect, buffer: &mut Buffer) {
        let width = usize::from(area.width);
        let recent = self.history.get(self.history.len().saturating_sub(width)..).unwrap_or_default();
        let most = recent.iter().max().copied().unwrap_or(0);
        let title =
            format!("committed in each of the last {} seconds, at most {}", recent.len(), count(most));
        put(&mut area, buffer, &Line::styled(title, Style::new().fg(Color::Cyan)));
        Sparkline::default().data(recent).style(Style::new().fg(Color::Green)).render(area, buffer);
    }
}

/// Draws one line at the top of what is free, cut at its width, and takes that row away.
fn put(free: &mut Rect, buffer: &mut Buffer, line: &Line<'_>) {
    if free.height > 0 {
        buffer.set_line(free.x, free.y, line, free.width);
        free.y += 1;
        free.height -= 1;
    }
}

/// The latest notes in lines of this width, whole notes in at most [`NOTES`] lines: of one that is longer alone, its end.
fn latest(notes: &[String], width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for note in notes.iter().rev() {
        let letters: Vec<char> = note.chars().collect();
        let folded: Vec<String> = letters.chunks(width.max(1)).map(|line| line.iter().collect()).collect();
        if !lines.is_empty() && lines.len() + folded.len() > NOTES {
            break;
        }
        lines.splice(..0, folded);
    }
    lines.split_off(lines.len().saturating_sub(NOTES))
}

/// The columns that fit this width, the most dispensable left out first.
fn fitting(width: u16) -> Vec<&'static Column> {
    let mut columns: Vec<_> = COLUMNS.iter().collect();
    let total =
        |columns: &[&Column]| columns.iter().map(|column| column.width + 1).sum::<u16>().saturating_sub(1);
    while total(&columns) > width {
        let Some(last) = columns.iter().map(|column| column.dispensable).max().filter(|most| *most > 0)
        else {
            break;
        };
        columns.retain(|column| column.dispensable < last);
    }
    columns
}

fn right(cell: &Span<'static>, width: u16) -> Span<'static> {
    Span::styled(format!("{:>width$}", cell.content, width = usize::from(width)), cell.style)
}

fn spaced(cells: impl Iterator<Item = Span<'static>>) -> Line<'static> {
    let mut spans = Vec::new();
    for cell in cells {
        if !spans.is_empty() {
            spans.push(Span::raw(" "));
        }
        spans.push(cell);
    }
    Line::from(spans)
}

fn alarm(value: u64) -> Span<'static> {
    let style = if value > 0 { Style::new().fg(Color::Red) } else { Style::new() };
    Span::styled(count(value), style)
}

fn permits(permits: &Permits) -> String {
    format!("{}/{}", count(permits.entries_used), count(permits.entries_granted))
}

fn millis(value: Option<f64>) -> String {
    value.map_or_else(
        || "-".into(),
        |value| if value < 1000.0 { format!("{value:.1}") } else { format!("{value:.0}") },
    )
}

fn seconds(age: Duration) -> String {
    format!("{:.1} s", age.as_secs_f64())
}

/// A number of at most four characters, up to 999 G.
fn count(value: u64) -> String {
    match value {
        0..=9_999 => value.to_string(),
        10_000..=999_999 => format!("{}k", value / 1_000),
        1_000_000..=999_999_999 => format!("{}M", value / 1_000_000),
        _ => format!("{}G", value / 1_000_000_000),
    }
}

/// Bytes in the largest unit that leaves a number of one to four digits.
fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes, 0);
    while value >= 10_000 && unit + 1 < UNITS.len() {
        value /= 1024;
        unit += 1;
    }
    format!("{value} {}", UNITS.get(unit).unwrap_or(&"B"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(nodes: usize) -> Vec<Row> {
        let permits =
            Permits { entries_granted: 123_456, entries_used: 120_000, bytes_granted: 9, bytes_used: 8 };
        let row = |node| Row {
            node,
            up: node != 5,
            height: 1_234_567,
            tip: "abcdef0123".into(),
            links: 63,
            waiting: 99_999,
            bytes_in: u64::from(u32::MAX) * 4096,
            bytes_out: u64::from(u32::MAX) * 4096,
            faults: 9_999_999,
            bans: 4_321,
            rtt_ms: Some(999.94),
            permits,
            ..Row::default()
        };
        (0..nodes).map(row).collect()
    }

    fn shown(nodes: usize, width: u16, height: u16, notes: &[String]) -> Vec<String> {
        let rows = rows(nodes);
        let picture = Picture {
            now: Duration::from_secs(75),
            height: 12,
            submitted: 15_000,
            committed: 14_000,
            left: Some(2_500),
            committed_per_s: Some(186.4),
            block_age: Some(Duration::from_millis(420)),
            rows: &rows,
        };
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        Scene { picture: &picture, blocks: 20, history: &[100, 200, 150], notes }.draw(area, &mut buffer);
        let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned();
        (0..height).map(row).collect()
    }

    #[test]
    fn every_column_of_every_node_fits_eighty_columns() {
        let lines = shown(7, 80, 24, &[]);
        let head =
            lines.iter().find(|line| line.contains("node block") || line.contains("node   block")).unwrap();
        for column in &COLUMNS {
            assert!(head.contains(column.name), "{}: {head}", column.name);
        }
        assert!(lines.iter().any(|line| line.ends_with("   9M 4321")), "{lines:#?}");
        assert!(lines.iter().any(|line| line.contains("   5 down")), "{lines:#?}");
        assert!(
            lines[0].contains("block 12 of 20") && lines[0].contains("0.4 s old") && lines[0].ends_with(']')
        );
        assert!(
            lines[1].contains("lines left 2500") && lines[1].contains("committed 14000 (186/s)"),
            "{}",
            lines[1]
        );
        assert!(lines[2].contains("permits 840k used of 864k"), "{}", lines[2]);
    }

    #[test]
    fn nodes_that_do_not_fit_are_counted() {
        for height in 5..40 {
            let lines = shown(30, 80, height, &[]);
            let nodes =
                lines.iter().filter(|line| line.contains("1234567 ") || line.ends_with("down")).count();
            let more =
                lines.iter().find_map(|line| line.strip_prefix("and ")?.split(' ').next()?.parse().ok());
            assert_eq!(nodes + more.unwrap_or(0), 30, "{height}: {lines:#?}");
        }
    }

    #[test]
    fn any_size_is_drawn() {
        let notes = vec!["a note".to_owned(); 9];
        for width in [0, 1, 10, 20, 40, 79, 80, 120, 200, 500] {
            for height in [0, 1, 2, 3, 4, 5, 10, 24, 50, 200] {
                shown(30, width, height, &notes);
            }
        }
    }

    #[test]
    fn a_narrow_terminal_loses_the_dispensable_columns_alone() {
        let names = |width| fitting(width).iter().map(|column| column.name).collect::<Vec<_>>();
        assert_eq!(names(80).len(), COLUMNS.len());
        assert_eq!(names(20), ["node", "block", "wait"]);
        assert_eq!(names(3), ["node", "block"]);
    }

    #[test]
    fn the_latest_notes_are_below_where_there_is_room() {
        let notes: Vec<String> = (0..9).map(|note| format!("note {note}")).collect();
        let lines = shown(7, 80, 24, &notes);
        assert_eq!(lines.last().unwrap(), "note 8");
        assert!(lines.iter().any(|line| line == "note 4") && !lines.iter().any(|line| line == "note 3"));
    }

    #[test]
    fn a_note_that_is_wider_than_the_terminal_goes_on_in_the_next_line() {
        let notes = ["first ".repeat(20), "x".repeat(170), "last".to_owned()];
        let lines = shown(7, 80, 24, &notes);
        let end: Vec<&str> = lines.iter().rev().take(4).map(String::as_str).collect();
        assert_eq!(end, ["last", &"x".repeat(10), &"x".repeat(80), &"x".repeat(80)]);
        assert!(lines.iter().all(|line| !line.contains("first")), "a note is shown whole or not at all");
        assert_eq!(latest(&["y".repeat(1000)], 80).len(), NOTES);
    }

    #[test]
    fn the_latest_note_is_shown_however_many_nodes_there_are() {
        for height in 9..40 {
            let lines = shown(30, 80, height, &["first".to_owned(), "last".to_owned()]);
            assert_eq!(lines.last().unwrap(), "last", "{height}: {lines:#?}");
            let rows =
                lines.iter().filter(|line| line.contains("1234567 ") || line.ends_with("down")).count();
            let more =
                lines.iter().find_map(|line| line.strip_prefix("and ")?.split(' ').next()?.parse().ok());
            assert_eq!(rows + more.unwrap_or(0), 30, "{height}: {lines:#?}");
        }
    }

    /// What an operator has in front of them: nothing is cut at the right, and every row is there or counted.
    #[test]
    fn the_usual_terminals_show_every_figure_whole() {
        let note = "node 22 blames the hostile node: invalid: an item that the application rejected";
        let notes = vec![note.to_owned(); 3];
        for (width, height) in [(80, 24), (120, 40), (200, 50)] {
            for nodes in [7, 30] {
                let lines = shown(nodes, width, height, &notes);
                let unlimited = shown(nodes, 1000, height, &notes);
                // the first line has the bar, which grows with the terminal
                assert_eq!(lines[1..], unlimited[1..], "{nodes} nodes on {width} x {height}");
                assert!(lines[0].ends_with(']') && unlimited[0].ends_with(']'));
                let rows = lines.iter().filter(|line| line.contains("abcdef")).count();
                let down = lines.iter().filter(|line| line.ends_with("5 down")).count();
                let more =
                    lines.iter().find_map(|line| line.strip_prefix("and ")?.split(' ').next()?.parse().ok());
                assert_eq!(rows + down + more.unwrap_or(0), nodes, "{nodes} nodes on {width} x {height}");
                assert_eq!(more.is_some(), nodes == 30 && height == 24);
            }
        }
    }

    #[test]
    fn sizes_and_counts_are_short() {
        assert_eq!((bytes(9_999), bytes(10_240)), ("9999 B".into(), "10 KiB".into()));
        for value in [0, 9_999, 10_000, 999_999, 1_000_000, 999_999_999, 999_999_999_999] {
            assert!(count(value).len() <= 4, "{value}");
        }
    }
}
