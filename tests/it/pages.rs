//! What README.md, CONTRIBUTING.md, CHANGELOG.md and the pages under docs/ say works: their configuration, their commands, their
//! links. Their SQL is run by `recipes`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use hydrant::config;

/// A page, as it is in the repository.
pub struct Page {
    /// Its path below the project's folder.
    pub path: String,
    pub text: String,
}

/// Every page that users read.
pub fn pages() -> Vec<Page> {
    let mut paths: Vec<String> = fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|file| format!("docs/{}", file.unwrap().file_name().display()))
        .filter(|path| path.ends_with(".md"))
        .collect();
    paths.extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(str::to_owned));
    paths.sort();
    paths.iter().map(|path| page(path)).collect()
}

/// The page at this path below the project's folder.
pub fn page(path: &str) -> Page {
    let text =
        fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    Page {
        path: path.to_owned(),
        text,
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

impl Page {
    /// The code blocks of one language.
    pub fn blocks(&self, language: &str) -> Vec<&str> {
        self.text
            .split(&format!("\n```{language}\n"))
            .skip(1)
            .map(|rest| rest.split("```").next().unwrap())
            .collect()
    }

    /// The SQL that asks something.
    pub fn queries(&self) -> Vec<&str> {
        self.sql(true)
    }

    /// The SQL that changes something.
    pub fn changes(&self) -> Vec<&str> {
        self.sql(false)
    }

    fn sql(&self, asks: bool) -> Vec<&str> {
        let mut blocks = self.blocks("sql");
        blocks.retain(|sql| (sql.starts_with("select") || sql.starts_with("with")) == asks);
        blocks
    }

    /// Its text without the code blocks.
    fn prose(&self) -> String {
        self.text.split("\n```").step_by(2).collect()
    }

    /// Every command line: of its shell blocks, of what terminals show, and of its prose.
    fn command_lines(&self) -> Vec<String> {
        let sh = self.blocks("sh").concat().replace("\\\n", " ");
        let shown = self.blocks("text").concat();
        let prose = self.prose();
        let typed = sh
            .lines()
            .chain(shown.lines().filter_map(|line| line.strip_prefix("$ ")));
        typed
            .flat_map(|line| line.split(" #").next().unwrap().split(['|', ';', '>', '&']))
            .chain(prose.split('`').skip(1).step_by(2))
            .map(|line| line.trim().to_owned())
            .collect()
    }

    /// What its links point to, other sites left out.
    fn links(&self) -> Vec<String> {
        let prose = self.prose();
        let targets = prose
            .split("](")
            .skip(1)
            .map(|rest| rest.split(')').next().unwrap());
        targets
            .filter(|target| !target.contains("://"))
            .map(str::to_owned)
            .collect()
    }

    /// What a link to a part of it may name: its headings, as GitHub spells them, and ids.
    pub fn anchors(&self) -> BTreeSet<String> {
        let headings = self.text.lines().filter_map(|line| {
            let (marks, heading) = line.split_once(' ')?;
            let is_heading = !marks.is_empty() && marks.chars().all(|c| c == '#');
            is_heading.then(|| heading.trim().to_lowercase())
        });
        let spelled = headings.map(|heading| {
            let kept = heading
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
            kept.collect::<String>().replace(' ', "-")
        });
        let ids = self.text.split(" id=\"").skip(1);
        spelled
            .chain(ids.map(|rest| rest.split('"').next().unwrap().to_owned()))
            .collect()
    }
}

/// A short example leaves out what each configuration must have.
fn completed(toml: &str) -> String {
    let mut toml = toml.to_owned();
    if !toml.contains("[database]") {
        toml.push_str("\n[database]\nurl = \"postgres://hydrant@localhost/hydrant\"\n");
    }
    if !toml.contains("[source.") {
        toml.push_str("\n[source.any]\ntype = \"file\"\nformat = \"hasoffers\"\npath = \"/tmp\"\n");
    }
    toml
}

#[test]
fn their_configuration_and_policies_are_valid() {
    let folder = tempfile::tempdir().unwrap();
    for page in pages() {
        for toml in page.blocks("toml") {
            let file = folder.path().join("hydrant.toml");
            fs::write(&file, completed(toml)).unwrap();
            if let Err(error) = config::load(Some(&file)) {
                panic!("{}: {error:#}\n{toml}", page.path);
            }
        }
        for json in page.blocks("json") {
            if let Err(error) = serde_json::from_str::<serde_json::Value>(json) {
                panic!("{}: {error}\n{json}", page.path);
            }
        }
    }
}

#[test]
fn their_commands_exist() {
    let mut commands = 0;
    for page in pages() {
        for line in page.command_lines() {
            let words: Vec<&str> = line
                .split_whitespace()
                .skip_while(|word| word.contains('='))
                .collect();
            let known = match words[..] {
                ["make", target, ..] => makes(target),
                [program, ref arguments @ ..] if program.ends_with("hydrant") => {
                    commands += 1;
                    takes(arguments)
                }
                _ => continue,
            };
            assert!(known, "{}: {line}", page.path);
        }
    }
    assert!(commands > 30, "{commands} commands");
}

/// Whether the Makefile has this target.
fn makes(target: &str) -> bool {
    let dry = Command::new("make")
        .args(["-n", target])
        .current_dir(root())
        .output();
    dry.unwrap().status.success()
}

/// Whether the program has such a command, and it such options.
pub fn takes(arguments: &[&str]) -> bool {
    let mut command = hydrant::cli::command();
    command.build();
    let mut command = &command;
    let mut named = false;
    for word in arguments {
        if let Some(option) = word.strip_prefix("--") {
            let option = option.split('=').next();
            if !command
                .get_arguments()
                .any(|argument| argument.get_long() == option)
            {
                return false;
            }
        } else if let Some(subcommand) = command.find_subcommand(word) {
            (command, named) = (subcommand, true);
        } else if !named {
            return false;
        }
    }
    true
}

#[test]
fn their_links_lead_somewhere() {
    for page in pages() {
        for link in page.links() {
            let (path, anchor) = link.split_once('#').unwrap_or((link.as_str(), ""));
            let target = match path {
                "" => page.path.clone(),
                path => {
                    let folder = Path::new(&page.path).parent().unwrap();
                    folder.join(path).display().to_string()
                }
            };
            assert!(root().join(&target).exists(), "{}: {link}", page.path);
            if !anchor.is_empty() {
                let anchors = self::page(&target).anchors();
                assert!(anchors.contains(anchor), "{}: {link}", page.path);
            }
        }
    }
}
