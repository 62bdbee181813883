//! The first line of a report: which column is which field of `stats`.

use anyhow::bail;
use csv::StringRecord;

use crate::reconcile::columns::{Dimension, Measure};

/// A field of `stats` that a report can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Dimension(Dimension),
    Measure(Measure),
}

impl Field {
    /// All of them, those to group by first.
    pub fn all() -> impl Iterator<Item = Field> {
        let dimensions = Dimension::ALL.into_iter().map(Field::Dimension);
        dimensions.chain(Measure::ALL.into_iter().map(Field::Measure))
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Field::Dimension(dimension) => dimension.as_str(),
            Field::Measure(measure) => measure.as_str(),
        }
    }

    /// The field of this name.
    pub fn named(name: &str) -> Option<Field> {
        Field::all().find(|field| field.as_str() == name)
    }

    /// The names that TUNE's API and pages give it, without what is no letter or digit; an earlier one is preferred. Of the
    /// clicks all are meant, as they are in the feed: TUNE's plain clicks are unique ones if a network has it so.
    fn names(self) -> &'static [&'static str] {
        match self {
            Field::Dimension(Dimension::Date) => &["statdate", "date", "day"],
            Field::Dimension(Dimension::Hour) => &["stathour", "hour"],
            Field::Dimension(Dimension::OfferId) => &["statofferid", "offerid"],
            Field::Dimension(Dimension::AffiliateId) => {
                &["stataffiliateid", "affiliateid", "partnerid"]
            }
            Field::Dimension(Dimension::AdvertiserId) => &["statadvertiserid", "advertiserid"],
            Field::Dimension(Dimension::GoalId) => &["statgoalid", "goalid"],
            Field::Dimension(Dimension::Currency) => &["statcurrency", "currency", "currencies"],
            Field::Measure(Measure::Impressions) => &["statimpressions", "impressions"],
            Field::Measure(Measure::Clicks) => {
                &["statgrossclicks", "grossclicks", "statclicks", "clicks"]
            }
            Field::Measure(Measure::Conversions) => &["statconversions", "conversions"],
            Field::Measure(Measure::Payout) => &["statpayout", "payout", "cost"],
            Field::Measure(Measure::Revenue) => &["statrevenue", "revenue"],
            Field::Measure(Measure::SaleAmount) => &["statsaleamount", "saleamount", "salesamount"],
        }
    }
}

/// What somebody says of a field: the name of its column, or nothing to leave it out.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    pub field: Field,
    pub name: String,
}

/// The names of the columns, and what they are.
#[derive(Debug)]
pub struct Head {
    pub names: Vec<String>,
    fields: Vec<(usize, Field)>,
}

impl Head {
    /// # Errors
    /// A column that was named is not there or stands for two fields, two columns could be the same field, or there is
    /// nothing to compare.
    pub fn new(names: &StringRecord, columns: &[Column]) -> anyhow::Result<Head> {
        let names: Vec<String> = names.iter().map(|name| name.trim().to_owned()).collect();
        let mut fields: Vec<(usize, Field)> = Vec::new();
        for field in Field::all() {
            let given = columns.iter().find(|column| column.field == field);
            let Some(at) = (match given {
                Some(column) if column.name.is_empty() => None,
                Some(column) => Some(position(&names, column)?),
                None => known(&names, field)?,
            }) else {
                continue;
            };
            if let Some((_, other)) = fields.iter().find(|(taken, _)| *taken == at) {
                bail!(
                    "column {:?} cannot be both {} and {}",
                    names[at],
                    other.as_str(),
                    field.as_str()
                );
            }
            fields.push((at, field));
        }
        if !fields
            .iter()
            .any(|(_, field)| matches!(field, Field::Measure(_)))
        {
            bail!(
                "none of its columns is known to be one of {}: it has {}; name one with --column, such as --column \
                 payout=\"Total payout\"",
                Measure::ALL.map(Measure::as_str).join(", "),
                list(&names)
            );
        }
        Ok(Head { names, fields })
    }

    /// How many columns are known.
    pub fn known(&self) -> usize {
        self.fields.len()
    }

    /// The columns that are known and wanted, with their places.
    pub fn columns_of(
        &self,
        wanted: impl Fn(Field) -> bool,
    ) -> impl Iterator<Item = (usize, Field)> {
        let fields = self.fields.iter().copied();
        fields.filter(move |(_, field)| wanted(*field))
    }

    pub fn dimensions(&self) -> Vec<Dimension> {
        let fields = self.fields.iter();
        fields
            .filter_map(|(_, field)| match field {
                Field::Dimension(dimension) => Some(*dimension),
                Field::Measure(_) => None,
            })
            .collect()
    }

    pub fn measures(&self) -> Vec<Measure> {
        let fields = self.fields.iter();
        fields
            .filter_map(|(_, field)| match field {
                Field::Measure(measure) => Some(*measure),
                Field::Dimension(_) => None,
            })
            .collect()
    }

    pub fn unused(&self) -> Vec<String> {
        let unused = self.names.iter().enumerate().filter(|(at, name)| {
            !name.is_empty() && !self.fields.iter().any(|(used, _)| used == at)
        });
        unused.map(|(_, name)| name.clone()).collect()
    }

    pub fn clicks_may_be_unique(&self) -> bool {
        let clicks = self.columns_of(|field| field == Field::Measure(Measure::Clicks));
        clicks
            .into_iter()
            .any(|(at, _)| !plain(&self.names[at]).contains("gross"))
    }

    /// A cell as an error names it.
    pub fn place(&self, line: u64, at: usize, cell: &str) -> String {
        format!("line {line}, column {:?}: {cell:?}", self.names[at])
    }
}

fn position(names: &[String], column: &Column) -> anyhow::Result<usize> {
    let mut found = names
        .iter()
        .enumerate()
        .filter(|(_, name)| **name == column.name.trim());
    match (found.next(), found.next()) {
        (Some((at, _)), None) => Ok(at),
        (Some(_), Some(_)) => bail!("it has two columns {:?}", column.name),
        (None, _) => bail!("it has no column {:?}: it has {}", column.name, list(names)),
    }
}

fn known(names: &[String], field: Field) -> anyhow::Result<Option<usize>> {
    for wanted in field.names() {
        let mut found = names
            .iter()
            .enumerate()
            .filter(|(_, name)| plain(name) == *wanted);
        match (found.next(), found.next()) {
            (None, _) => {}
            (Some((at, _)), None) => return Ok(Some(at)),
            (Some((_, one)), Some((_, other))) => bail!(
                "columns {one:?} and {other:?} could both be {field}: name one with --column {field}=…",
                field = field.as_str()
            ),
        }
    }
    Ok(None)
}

/// A name's letters and digits in lower case.
fn plain(name: &str) -> String {
    let kept = name.chars().filter(char::is_ascii_alphanumeric);
    kept.map(|c| c.to_ascii_lowercase()).collect()
}

fn list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    quoted.join(", ")
}
