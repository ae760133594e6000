//! `--record`: the picture over time as one animated SVG, drawn from the cells that a terminal would show.

use std::fmt::Write as _;
use std::path::PathBuf;

use ratatui::buffer::{Buffer, Cell};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};

use super::draw::Scene;
use crate::error::Failure;
use crate::output;

/// Columns and rows of the recorded terminal.
const SIZE: Rect = Rect { x: 0, y: 0, width: 80, height: 22 };
/// Pixels of a cell.
const CELL: (u16, u16) = (8, 17);
/// Pixels around all cells.
const MARGIN: u16 = 12;
/// Pictures in a recording, at most: a longer run keeps its first.
const FRAMES: usize = 120;
/// The colours of the terminal.
const GROUND: &str = "#11151c";
const TEXT: &str = "#d0d7de";

/// Pictures so far, one a second.
pub(super) struct Recording {
    path: PathBuf,
    frames: Vec<Buffer>, // <= FRAMES
}

impl Recording {
    /// An empty one, for this file.
    pub(super) fn new(path: PathBuf) -> Self {
        output::hold();
        Self { path, frames: Vec::new() }
    }

    /// Adds a picture.
    pub(super) fn add(&mut self, scene: &Scene<'_>) {
        if self.frames.len() < FRAMES {
            let mut buffer = Buffer::empty(SIZE);
            scene.draw(SIZE, &mut buffer);
            self.frames.push(buffer);
        }
    }

    /// Writes the file.
    pub(super) fn write(self) -> Result<(), Failure> {
        output::release();
        std::fs::write(&self.path, svg(&self.frames))
            .map_err(|error| Failure::run(format!("--record: cannot write {}: {error}", self.path.display())))
    }
}

fn svg(frames: &[Buffer]) -> String {
    let (width, height) = (SIZE.width * CELL.0 + 2 * MARGIN, SIZE.height * CELL.1 + 2 * MARGIN);
    let count = frames.len().max(1);
    #[allow(clippy::cast_precision_loss)] // at most FRAMES
    let share = 100.0 / count as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace\" font-size=\"13\" fill=\"{TEXT}\">\n\
         <style>g{{visibility:hidden;animation:f {count}s step-end infinite}}\
         @keyframes f{{0%{{visibility:visible}}{share:.4}%{{visibility:hidden}}}}text{{white-space:pre}}</style>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{GROUND}\"/>\n"
    );
    for (second, frame) in frames.iter().enumerate() {
        let _ = writeln!(out, "<g style=\"animation-delay:{second}s\">");
        for row in 0..SIZE.height {
            cells(frame, row, &mut out);
        }
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    out
}

/// One row: a text for each run of cells that look alike, placed by its column so that no font can shift it.
fn cells(frame: &Buffer, row: u16, out: &mut String) {
    let mut column = 0;
    while let Some(first) = frame.cell((column, row)) {
        let (start, look) = (column, look(first));
        let mut text = String::new();
        while let Some(cell) = frame.cell((column, row)).filter(|cell| self::look(cell) == look) {
            text.push_str(cell.symbol());
            column += 1;
        }
        if !text.trim().is_empty() {
            let (x, y) = (MARGIN + start * CELL.0, MARGIN + row * CELL.1 + 13);
            let (text, width) = (escape(&text), (column - start) * CELL.0);
            let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\" textLength=\"{width}\"{look}>{text}</text>");
        }
    }
}

fn look(cell: &Cell) -> String {
    let colour = match cell.fg {
        Color::Green => Some("#3fb950"),
        Color::Red => Some("#f85149"),
        Color::Yellow => Some("#d29922"),
        Color::Cyan => Some("#58a6ff"),
        Color::DarkGray => Some("#6e7681"),
        _ => None,
    };
    let mut out = colour.map_or_else(String::new, |colour| format!(" fill=\"{colour}\""));
    if cell.modifier.contains(Modifier::BOLD) {
        out.push_str(" font-weight=\"bold\"");
    }
    out
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::style::Style;

    #[test]
    fn runs_of_one_look_are_one_text_at_their_column() {
        let mut frame = Buffer::empty(SIZE);
        frame.set_string(2, 1, "a<b", Style::default());
        frame.set_string(5, 1, "red", Style::default().fg(Color::Red));
        let picture = svg(&[frame.clone(), frame]);
        assert!(picture.contains(">  a&lt;b</text>"), "{picture}");
        assert!(picture.contains("<text x=\"52\" y=\"42\" textLength=\"24\" fill=\"#f85149\">red</text>"));
        assert_eq!(picture.matches("<g ").count(), 2);
        assert!(picture.contains("animation:f 2s") && picture.contains("50.0000%"));
    }
}
