//! What a terminal gets and a pipe does not: colours. And tables, for both.

use std::io::{self, IsTerminal};

use crate::telemetry;

/// Whether escape sequences are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    Plain,
    Colours,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    Red,
    Green,
    Yellow,
    /// No colour, but stronger.
    Bold,
}

impl Paint {
    /// For standard output: colours on a terminal, unless `NO_COLOR` is set and not empty.
    pub fn stdout() -> Paint {
        if io::stdout().is_terminal() && !telemetry::refuses_colours() {
            Paint::Colours
        } else {
            Paint::Plain
        }
    }

    pub fn word(self, word: &str, colour: Colour) -> String {
        let code = match colour {
            Colour::Red => 31,
            Colour::Green => 32,
            Colour::Yellow => 33,
            Colour::Bold => 1,
        };
        match self {
            Paint::Plain => word.to_owned(),
            Paint::Colours => format!("\x1b[{code}m{word}\x1b[0m"),
        }
    }
}

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub enum Column {
    Left(&'static str),
    /// For numbers.
    Right(&'static str),
}

/// Columns as wide as they need, two spaces apart, below a line of their names.
pub fn table(columns: &[Column], rows: &[Vec<String>], paint: Paint) -> String {
    let names = columns.iter().map(|column| match column {
        Column::Left(name) | Column::Right(name) => (*name).to_owned(),
    });
    let names: Vec<String> = names.collect();
    let width = |at: usize| {
        let cells = rows
            .iter()
            .chain([&names])
            .map(|row| row[at].chars().count());
        cells.max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(columns).zip(&widths);
        let padded = cells.map(|((cell, column), width)| match column {
            Column::Left(_) => format!("{cell:width$}"),
            Column::Right(_) => format!("{cell:>width$}"),
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut text = paint.word(&line(&names), Colour::Bold) + "\n";
    for row in rows {
        text += &line(row);
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_wide_as_it_needs() {
        let columns = [
            Column::Left("NAME"),
            Column::Right("SUM"),
            Column::Left("NOTE"),
        ];
        let rows = [["ä", "1", ""], ["longer", "12.50", "of two"]]
            .map(|row| row.map(str::to_owned).to_vec());
        let plain = "NAME      SUM  NOTE\nä           1\nlonger  12.50  of two\n";
        assert_eq!(table(&columns, &rows, Paint::Plain), plain);
        assert_eq!(
            table(&columns, &rows, Paint::Colours),
            plain.replacen(
                "NAME      SUM  NOTE",
                "\x1b[1mNAME      SUM  NOTE\x1b[0m",
                1
            )
        );
    }
}
