//! An export of TUNE's stats report: which column is what, and what each group of it adds up to.

mod head;

use std::collections::BTreeMap;

use anyhow::{Context, anyhow, bail};
use csv::StringRecord;

use self::head::Head;
pub use self::head::{Column, Field};
use super::columns::{Amounts, Dimension, Group, Measure};
use super::number::{DecimalMark, Readings};
use crate::amount::Amount;

/// What a report says.
#[derive(Debug)]
pub struct Report {
    /// What it groups by, of what `stats` groups by.
    pub dimensions: Vec<Dimension>,
    /// What it adds up, of what `stats` adds up.
    pub measures: Vec<Measure>,
    /// The names of columns that are not looked at.
    pub unused: Vec<String>,
    /// Whether its clicks may be unique clicks alone: TUNE counts them under that name if told so.
    pub clicks_may_be_unique: bool,
    pub groups: BTreeMap<Group, Sum>,
    /// Rows without that of the totals.
    pub rows: usize,
    /// What its row of totals says, if there is one.
    pub total: Option<Amounts>,
}

/// What the rows of a group add up to.
#[derive(Debug, Default)]
pub struct Sum {
    /// The line of the first row.
    pub line: u64,
    pub rows: usize,
    pub amounts: Amounts,
}

/// A row that is not empty, and its line.
struct Row {
    line: u64,
    cells: StringRecord,
}

impl Report {
    /// Reads a file's bytes.
    ///
    /// # Errors
    /// A sentence with line and column: it is no such report, or can be read in more than one way.
    pub fn read(
        bytes: &[u8],
        columns: &[Column],
        mark: Option<DecimalMark>,
    ) -> anyhow::Result<Report> {
        let text = std::str::from_utf8(bytes)
            .context("it is not UTF-8 text: export it as CSV in UTF-8, not as a workbook")?;
        let text = text.trim_start_matches('\u{feff}');
        let (head, mut rows) = open(text, columns)?;
        let total = take_total(&head, &mut rows);
        let mark = match mark {
            Some(mark) => Some(mark),
            None => decimal_mark(&head, rows.iter().chain(&total))?,
        };
        let mut report = Report {
            dimensions: head.dimensions(),
            measures: head.measures(),
            unused: head.unused(),
            clicks_may_be_unique: head.clicks_may_be_unique(),
            groups: BTreeMap::new(),
            rows: rows.len(),
            total: None,
        };
        for row in &rows {
            let sum = report.groups.entry(group(&head, row)?).or_insert(Sum {
                line: row.line,
                ..Sum::default()
            });
            sum.rows += 1;
            sum.amounts.add_all(&amounts(&head, row, mark)?)?;
        }
        report.total = total.map(|row| amounts(&head, &row, mark)).transpose()?;
        Ok(report)
    }

    /// What all rows add up to.
    ///
    /// # Errors
    /// That is beyond any amount.
    pub fn sum(&self) -> anyhow::Result<Amounts> {
        let mut sum = Amounts::default();
        for group in self.groups.values() {
            sum.add_all(&group.amounts)?;
        }
        Ok(sum)
    }
}

/// Reads the table with the delimiter by which most columns are known.
fn open(text: &str, columns: &[Column]) -> anyhow::Result<(Head, Vec<Row>)> {
    let mut best: Option<(Head, u8)> = None;
    let mut trouble = None;
    for delimiter in [b',', b';', b'\t'] {
        let mut reader = reader(text, delimiter);
        let names = reader.headers().context("its first line cannot be read")?;
        if names.is_empty() {
            continue;
        }
        match Head::new(names, columns) {
            Ok(head)
                if best
                    .as_ref()
                    .is_none_or(|(best, _)| head.known() > best.known()) =>
            {
                best = Some((head, delimiter));
            }
            Ok(_) => {}
            // What is wrong is told by the delimiter that gives the most columns.
            Err(error) if trouble.as_ref().is_none_or(|(most, _)| names.len() > *most) => {
                trouble = Some((names.len(), error));
            }
            Err(_) => {}
        }
    }
    let (head, delimiter) = match (best, trouble) {
        (Some(best), _) => best,
        (None, Some((_, error))) => return Err(error),
        (None, None) => bail!("it is empty"),
    };
    let mut rows = Vec::new();
    let mut reader = reader(text, delimiter);
    for cells in reader.records() {
        let cells = cells.context("it cannot be read as CSV")?;
        let line = cells.position().map_or(0, csv::Position::line);
        if cells.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        if cells.len() != head.names.len() {
            bail!(
                "line {line} has {} cells where the first line has {}",
                cells.len(),
                head.names.len()
            );
        }
        rows.push(Row { line, cells });
    }
    if rows.is_empty() {
        bail!("it has no rows below its first line");
    }
    Ok((head, rows))
}

fn reader(text: &str, delimiter: u8) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .from_reader(text.as_bytes())
}

/// Takes the row of the totals away. It says so in a cell and belongs to no group, or it is the last one and has no value to
/// group by, not even a day.
fn take_total(head: &Head, rows: &mut Vec<Row>) -> Option<Row> {
    let grouped = || head.columns_of(|field| matches!(field, Field::Dimension(_)));
    let is_blank = |row: &Row| grouped().all(|(at, _)| row.cells[at].trim().is_empty());
    let by_day = grouped().any(|(_, field)| field == Field::Dimension(Dimension::Date));
    let said = rows
        .iter()
        .position(|row| says_total(row) && (is_blank(row) || group(head, row).is_err()));
    let last = rows.len().checked_sub(1);
    let at = said.or_else(|| last.filter(|at| by_day && is_blank(&rows[*at])))?;
    Some(rows.remove(at))
}

fn says_total(row: &Row) -> bool {
    row.cells.iter().any(|cell| {
        let cell = cell.trim().trim_end_matches(':').trim_end().to_lowercase();
        matches!(cell.as_str(), "total" | "totals" | "grand total")
    })
}

/// The decimal mark that the cells give away; none where no cell does.
fn decimal_mark<'a>(
    head: &Head,
    rows: impl Iterator<Item = &'a Row>,
) -> anyhow::Result<Option<DecimalMark>> {
    let mut told: Option<(DecimalMark, String)> = None;
    for row in rows {
        for (at, field) in head.columns_of(|field| matches!(field, Field::Measure(_))) {
            let Some(mark) = readings(field, &row.cells[at]).tells() else {
                continue;
            };
            match &told {
                None => told = Some((mark, head.place(row.line, at, &row.cells[at]))),
                Some((other, place)) if *other != mark => bail!(
                    "its decimal mark is a {} in {place}, and a {} in {}: say --decimal-mark",
                    other.as_str(),
                    mark.as_str(),
                    head.place(row.line, at, &row.cells[at])
                ),
                Some(_) => {}
            }
        }
    }
    Ok(told.map(|(mark, _)| mark))
}

fn readings(field: Field, cell: &str) -> Readings {
    let readings = Readings::of(cell);
    match field {
        Field::Measure(measure) if !measure.is_money() => readings.as_count(),
        _ => readings,
    }
}

fn group(head: &Head, row: &Row) -> anyhow::Result<Group> {
    let columns = head.columns_of(|field| matches!(field, Field::Dimension(_)));
    let values = columns.filter_map(|(at, field)| match field {
        Field::Dimension(dimension) => Some(dimension.read(&row.cells[at]).ok_or_else(|| {
            let wanted = match dimension {
                Dimension::Date => "a day such as 2026-11-03",
                Dimension::Hour => "an hour from 0 to 23",
                _ => "a whole number",
            };
            anyhow!(
                "{}: {wanted} is expected",
                head.place(row.line, at, &row.cells[at])
            )
        })),
        Field::Measure(_) => None,
    });
    values.collect()
}

fn amounts(head: &Head, row: &Row, mark: Option<DecimalMark>) -> anyhow::Result<Amounts> {
    let mut amounts = Amounts::default();
    for (at, field) in head.columns_of(|field| matches!(field, Field::Measure(_))) {
        let Field::Measure(measure) = field else {
            continue;
        };
        let readings = readings(field, &row.cells[at]);
        amounts.add(
            measure,
            value(readings, mark)
                .map_err(|why| anyhow!("{}: {why}", head.place(row.line, at, &row.cells[at])))?,
        )?;
    }
    Ok(amounts)
}

fn value(readings: Readings, mark: Option<DecimalMark>) -> Result<Amount, String> {
    match (readings.value(mark), mark) {
        (Some(value), _) => Ok(value),
        (None, None) if readings.is_number() => Err(
            "it could have decimals or thousands, and no other cell tells: say --decimal-mark point or comma".to_owned(),
        ),
        (None, Some(mark)) if readings.is_number() => {
            Err(format!("it is no number with a {} before the decimals", mark.as_str()))
        }
        (None, _) => Err("it is no number".to_owned()),
    }
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
