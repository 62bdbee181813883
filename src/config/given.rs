//! What the file and the environment say: each key's value as it was written, and where it stands.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::Path;

use toml::de::{DeArray, DeTable, DeValue};

use super::{Warning, unknown};

/// Variables that set keys begin like this; two underscores stand between the parts of a key.
const PREFIX: &str = "HYDRANT__";
/// The key that DATABASE_URL sets, too.
const DATABASE_URL: &str = "database.url";
/// The ends of other keys whose value nobody may see either.
const SECRETS: [&str; 2] = [".secrets", ".secret_access_key"];

/// Values by dotted key. The methods named for a kind of value ask for a key as that kind, and note a problem if it is none.
#[derive(Default)]
pub struct Given {
    file: Option<String>,
    values: BTreeMap<String, (Value, Place)>,
    /// The tables of the file, those without a key of their own too.
    tables: BTreeMap<String, Place>,
    /// Every key that was asked for.
    pub known: Vec<String>,
    /// What is wrong, a sentence each.
    pub problems: Vec<String>,
    pub warnings: Vec<Warning>,
}

#[derive(Clone)]
enum Value {
    /// From the environment: text or number, as the key wants.
    Raw(String),
    Text(String),
    Integer(String),
    /// Texts, and nothing else.
    List(Vec<String>),
    /// A kind that no key has.
    Other(String),
}

enum Place {
    Line(usize),
    Variable(String),
}

impl Given {
    /// As if these keys alone were set, by variables; an empty one is not.
    pub fn of(keys: &[(&str, &str)]) -> Given {
        let mut given = Given::default();
        for (key, value) in keys {
            given.add_variable(&variable(key), OsString::from(value));
        }
        given
    }

    /// Reads the file and over it the variables.
    ///
    /// # Errors
    /// The file cannot be read or is not TOML.
    pub fn read(
        file: Option<&Path>,
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> anyhow::Result<Given> {
        let mut given = Given::default();
        if let Some(path) = file {
            given.file = Some(path.display().to_string());
            given.read_file(path)?;
        }
        // In the order of names DATABASE_URL comes first, so the key's own variable overrides it.
        let variables = variables.collect::<BTreeMap<_, _>>();
        let database_url = variables.get(OsStr::new("DATABASE_URL")).cloned();
        for (name, value) in variables {
            given.add_variable(&name.to_string_lossy(), value);
        }
        given.warn_if_unused(&database_url.unwrap_or_default());
        Ok(given)
    }

    /// Who sets DATABASE_URL means that database, and would look at another.
    fn warn_if_unused(&mut self, database_url: &OsStr) {
        let Some((value, place @ Place::Line(_))) = self.values.get(DATABASE_URL) else {
            return;
        };
        let is_same = matches!(value, Value::Text(text) if database_url == text.as_str());
        if !database_url.is_empty() && !is_same {
            let place = self.words(place);
            self.warnings.push(Warning {
                found: format!("the variable DATABASE_URL is not used, because database.url is set ({place})"),
                advice: "set HYDRANT__DATABASE__URL instead, which overrides the file, or remove the file's line",
            });
        }
    }

    fn read_file(&mut self, path: &Path) -> anyhow::Result<()> {
        let name = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            anyhow::anyhow!("the configuration file {name} cannot be read: {error}")
        })?;
        let line_of = |at: usize| 1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        let document = DeTable::parse(&text).map_err(|error| {
            let line = line_of(error.span().map_or(0, |span| span.start));
            anyhow::anyhow!("{name}, line {line}: this is not TOML: {}", error.message())
        })?;
        self.add_table("", document.get_ref(), &line_of);
        Ok(())
    }

    fn add_table(&mut self, above: &str, table: &DeTable<'_>, line_of: &dyn Fn(usize) -> usize) {
        for (key, value) in table.iter() {
            let place = Place::Line(line_of(key.span().start));
            let key = format!("{above}{}", key.get_ref());
            let value = match value.get_ref() {
                DeValue::Table(table) => {
                    self.add_table(&format!("{key}."), table, line_of);
                    self.tables.insert(key, place);
                    continue;
                }
                DeValue::String(text) => Value::Text(text.clone().into_owned()),
                DeValue::Integer(number) => {
                    match i64::from_str_radix(number.as_str(), number.radix()) {
                        Ok(number) => Value::Integer(number.to_string()),
                        Err(_) => Value::Other(number.to_string()),
                    }
                }
                DeValue::Float(number) => Value::Other(number.to_string()),
                DeValue::Boolean(flag) => Value::Other(flag.to_string()),
                DeValue::Datetime(time) => Value::Other(time.to_string()),
                DeValue::Array(items) => match texts(items) {
                    Some(texts) => Value::List(texts),
                    None => Value::Other("[…]".to_owned()),
                },
            };
            self.values.insert(key, (value, place));
        }
    }

    fn add_variable(&mut self, name: &str, value: OsString) {
        let key = match name.strip_prefix(PREFIX) {
            Some(key) => key.to_ascii_lowercase().replace("__", "."),
            None if name == "DATABASE_URL" && !self.values.contains_key(DATABASE_URL) => {
                DATABASE_URL.to_owned()
            }
            None => return,
        };
        match value.into_string() {
            Ok(text) if text.is_empty() => {}
            Ok(text) => {
                let place = Place::Variable(name.to_owned());
                self.values.insert(key, (Value::Raw(text), place));
            }
            Err(_) => self
                .problems
                .push(format!("the variable {name} must be UTF-8")),
        }
    }

    /// The names that stand below `table`, as in `[source.name]`.
    pub fn names_in(&self, table: &str) -> BTreeSet<String> {
        let below = |key: &String| Some(key.strip_prefix(table)?.strip_prefix('.')?.to_owned());
        let tables = self.tables.keys().filter_map(below);
        let tables = tables.map(|rest| rest.split('.').next().unwrap_or_default().to_owned());
        let keys = self.values.keys().filter_map(below);
        let keys = keys.filter_map(|rest| Some(rest.split_once('.')?.0.to_owned()));
        tables.chain(keys).collect()
    }

    /// The keys of a table that may have any names, with their texts.
    pub fn texts_in(&mut self, table: &str) -> BTreeMap<String, String> {
        let below = |key: &String| Some(key.strip_prefix(table)?.strip_prefix('.')?.to_owned());
        let names: Vec<String> = self.values.keys().filter_map(below).collect();
        let mut texts = BTreeMap::new();
        for name in names {
            if let Some(text) = self.text(&format!("{table}.{name}")) {
                texts.insert(name, text);
            }
        }
        texts
    }

    fn ask(&mut self, key: &str) -> Option<Value> {
        self.known.push(key.to_owned());
        self.values.get(key).map(|(value, _)| value.clone())
    }

    pub fn number(&mut self, key: &str, range: RangeInclusive<u64>, default: u64) -> u64 {
        let (text, hint) = match self.ask(key) {
            None => return default,
            Some(Value::Raw(text) | Value::Integer(text)) => (text, ""),
            Some(Value::Text(_)) => (String::new(), ", without quotes"),
            Some(Value::List(_) | Value::Other(_)) => (String::new(), ""),
        };
        match text.trim().parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let (least, most) = range.into_inner();
                let allowed = format!("must be a whole number from {least} to {most}{hint}");
                self.refuse(key, &allowed);
                default
            }
        }
    }

    /// A number without a default.
    pub fn optional_number(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let default = *range.start();
        let number = self.number(key, range, default);
        self.values.contains_key(key).then_some(number)
    }

    /// A number of things or bytes in memory.
    pub fn size(&mut self, key: &str, range: RangeInclusive<u64>, default: u64) -> usize {
        self.number(key, range, default) as usize
    }

    pub fn text(&mut self, key: &str) -> Option<String> {
        match self.ask(key)? {
            Value::Raw(text) | Value::Text(text) if !text.is_empty() => return Some(text),
            Value::Raw(_) | Value::Text(_) => self.refuse(key, "must not be empty"),
            Value::Integer(_) | Value::List(_) | Value::Other(_) => {
                self.refuse(key, "must be text, in quotes");
            }
        }
        None
    }

    /// Text that may be empty.
    pub fn text_or_nothing(&mut self, key: &str, default: &str) -> String {
        match self.values.get(key) {
            Some((Value::Text(text), _)) if text.is_empty() => {
                self.ask(key);
                String::new()
            }
            _ => self.text(key).unwrap_or_else(|| default.to_owned()),
        }
    }

    /// Texts; from the environment with commas between them.
    pub fn list(&mut self, key: &str) -> Vec<String> {
        match self.ask(key) {
            None => return Vec::new(),
            Some(Value::List(texts)) => return texts,
            Some(Value::Raw(text)) => {
                return text.split(',').map(|one| one.trim().to_owned()).collect();
            }
            Some(Value::Text(_) | Value::Integer(_) | Value::Other(_)) => {
                self.refuse(key, "must be a list of texts, such as [\"one\", \"other\"]");
            }
        }
        Vec::new()
    }

    /// Whether a key is set, be it to nothing.
    pub fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    pub fn required_list(&mut self, key: &str) -> Vec<String> {
        if !self.has(key) {
            self.miss(key, "");
        }
        self.list(key)
    }

    pub fn required_text(&mut self, key: &str) -> String {
        let text = self.text(key);
        if !self.has(key) {
            self.miss(key, "");
        }
        text.unwrap_or_default()
    }

    /// Text that is often digits alone: those need no quotes.
    pub fn id(&mut self, key: &str) -> Option<String> {
        match self.values.get(key) {
            Some((Value::Integer(number), _)) => {
                let number = number.clone();
                self.ask(key);
                Some(number)
            }
            _ => self.text(key),
        }
    }

    /// One of a few words. Without a default, one of them must be given.
    pub fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)], default: Option<T>) -> T {
        let asked = self.ask(key);
        let words: Vec<String> = choices
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        let allowed = format!("must be {}", words.join(" or "));
        let default_or_first = default.unwrap_or(choices[0].1);
        match asked {
            None => {
                if default.is_none() {
                    self.miss(key, &format!("it {allowed}; "));
                }
                default_or_first
            }
            Some(Value::Raw(text) | Value::Text(text)) => {
                match choices.iter().find(|(word, _)| *word == text) {
                    Some((_, choice)) => *choice,
                    None => {
                        self.refuse(key, &allowed);
                        default_or_first
                    }
                }
            }
            Some(_) => {
                self.refuse(key, &allowed);
                default_or_first
            }
        }
    }

    pub fn address(&mut self, key: &str, default: SocketAddr) -> SocketAddr {
        let Some(text) = self.text(key) else {
            return default;
        };
        text.parse().unwrap_or_else(|_| {
            self.refuse(
                key,
                "must be an IP address and a port, such as 127.0.0.1:9464 or 0.0.0.0:9464",
            );
            default
        })
    }

    /// Notes that a key's value is not allowed.
    pub fn refuse(&mut self, key: &str, allowed: &str) {
        let shown = match self.values.get(key) {
            Some((Value::Raw(text) | Value::Text(text), _)) => format!("{text:?}"),
            Some((Value::Integer(text) | Value::Other(text), _)) => text.clone(),
            Some((Value::List(texts), _)) => format!("{texts:?}"),
            None => String::new(),
        };
        let problem = format!("{} {allowed}", self.said(key, shown));
        self.problems.push(problem);
    }

    /// A key with its value and its place, to begin a sentence.
    pub fn said(&self, key: &str, value: impl Display) -> String {
        let place = match self.values.get(key) {
            Some((_, place)) => self.words(place),
            None => "by default".to_owned(),
        };
        if is_secret(key) {
            format!("{key} ({place})")
        } else {
            format!("{key} = {value} ({place})")
        }
    }

    fn words(&self, place: &Place) -> String {
        match place {
            Place::Line(line) => {
                format!("{}, line {line}", self.file.as_deref().unwrap_or_default())
            }
            Place::Variable(name) => name.clone(),
        }
    }

    fn miss(&mut self, key: &str, allowed: &str) {
        let file = match (&self.file, key.rsplit_once('.')) {
            (Some(file), Some((table, _))) => format!("in [{table}] of {file}"),
            _ => "in a file that --config names".to_owned(),
        };
        let other = if key == DATABASE_URL {
            " or DATABASE_URL"
        } else {
            ""
        };
        let problem = format!(
            "{key} is missing: {allowed}set it {file}, or as {}{other}",
            variable(key)
        );
        self.problems.push(problem);
    }

    /// Notes every key and every empty table that nobody asked for.
    pub fn refuse_unknown(&mut self) {
        let is_known = |table: &str| {
            table == "source" || self.known.iter().any(|key| unknown::is_below(key, table))
        };
        let has_keys = |table: &str| self.values.keys().any(|key| unknown::is_below(key, table));
        let mut found = Vec::new();
        for (key, (_, place)) in &self.values {
            let place_words = self.words(place);
            if self.known.contains(key) {
                continue;
            }
            found.push(match place {
                _ if is_known(key) => format!("{key} ({place_words}) must be a table: [{key}]"),
                Place::Line(_) => {
                    let hint = unknown::hint(key, &self.known, str::to_owned);
                    format!("{key} ({place_words}) is not a key of hydrant: {hint}")
                }
                Place::Variable(name) => {
                    let hint = unknown::hint(key, &self.known, variable);
                    format!("the variable {name} sets no key of hydrant: {hint}")
                }
            });
        }
        for (table, place) in &self.tables {
            if !is_known(table) && !has_keys(table) {
                found.push(format!(
                    "[{table}] ({}) is not a table of hydrant: there are {}",
                    self.words(place),
                    unknown::TABLES
                ));
            }
        }
        self.problems.append(&mut found);
    }
}

/// Whether nobody may see the value of a key.
fn is_secret(key: &str) -> bool {
    key == DATABASE_URL || SECRETS.iter().any(|end| key.ends_with(end))
}

/// The items of an array of texts; None where one is none.
fn texts(items: &DeArray<'_>) -> Option<Vec<String>> {
    let mut items = items.iter().map(|item| item.get_ref());
    items.try_fold(Vec::new(), |mut texts, item| match item {
        DeValue::String(text) => {
            texts.push(text.clone().into_owned());
            Some(texts)
        }
        _ => None,
    })
}

/// The variable that sets a key.
fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_ascii_uppercase().replace('.', "__"))
}
