//! Files: those of a folder that is watched, or those that somebody named.

use std::fs::{self, File, Metadata};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{self, Path, PathBuf};
use std::time::UNIX_EPOCH;

use tokio::task::block_in_place;

use super::object::{Bytes, Listed, Object, ObjectError, Position, Version, described};

/// Bytes by which a file is known again.
const BEGINNING_BYTES: u64 = 1024;
/// More than that is not kept of what stands before a position.
const BEFORE_MAX: usize = 1 << 20;

/// Files by what they are called in `positions`.
#[derive(Clone, Debug)]
pub enum Files {
    /// All files of a folder and its folders, called by their paths within it.
    Folder(PathBuf),
    /// These, called by their paths from the root on.
    Named(Vec<PathBuf>),
}

impl Files {
    /// Everything that is there, sorted by name, and what of the named ones cannot be looked at.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn list(&self) -> Result<(Vec<Listed>, Vec<ObjectError>), ObjectError> {
        block_in_place(|| {
            let (mut found, mut missed) = (Vec::new(), Vec::new());
            match self {
                Files::Folder(folder) => {
                    let mut paths = Vec::new();
                    walk(folder, &mut paths)?;
                    for (path, metadata) in paths {
                        let name = path.strip_prefix(folder).unwrap_or(&path);
                        found.push(listed(name, &metadata));
                    }
                }
                Files::Named(paths) => {
                    for path in paths {
                        match fs::metadata(path) {
                            Ok(metadata) => found.push(listed(path, &metadata)),
                            Err(error) => missed.push(failed("look at", path, error)),
                        }
                    }
                }
            }
            found.sort_by(|a, b| a.name.cmp(&b.name));
            Ok((found, missed))
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        match self {
            Files::Folder(folder) => folder.join(name),
            Files::Named(_) => PathBuf::from(name),
        }
    }

    /// Where a file is, among those of all folders.
    pub fn address(&self, name: &str) -> String {
        let path = self.path(name);
        let whole = path::absolute(&path).unwrap_or(path);
        whole.to_string_lossy().into_owned()
    }

    /// Opens a file, behind the position where that is one of this file.
    ///
    /// # Errors
    /// It is gone or cannot be read.
    pub async fn open(
        &self,
        listed: &Listed,
        position: Option<&Position>,
        max_bytes: usize,
    ) -> Result<Object, ObjectError> {
        let path = self.path(&listed.name);
        let opened = block_in_place(|| open(&path, &listed.version, position));
        let (file, position, beginning) = opened.map_err(|error| match error.kind() {
            ErrorKind::NotFound => ObjectError::Changed(listed.name.clone()),
            _ => failed("read", &path, error),
        })?;
        Object::open(
            listed,
            Bytes::File(file),
            position,
            Some(beginning),
            max_bytes,
        )
        .await
    }
}

fn failed(doing: &str, path: &Path, error: std::io::Error) -> ObjectError {
    ObjectError::File(format!("cannot {doing} {}", path.display()), error)
}

/// The files below a folder. What is hidden or not complete yet is left; links to folders are not followed.
///
/// # Errors
/// A folder cannot be read.
pub fn walk(folder: &Path, found: &mut Vec<(PathBuf, Metadata)>) -> Result<(), ObjectError> {
    let entries = fs::read_dir(folder).map_err(|error| failed("list", folder, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| failed("list", folder, error))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') || name.ends_with(".tmp") {
            continue;
        }
        let path = entry.path();
        match (entry.file_type(), fs::metadata(&path)) {
            (Ok(kind), _) if kind.is_dir() => walk(&path, found)?,
            (_, Ok(metadata)) if metadata.is_file() => found.push((path, metadata)),
            (_, Err(error)) if error.kind() != ErrorKind::NotFound => {
                return Err(failed("look at", &path, error));
            }
            // Gone since, or neither a file nor a folder.
            _ => {}
        }
    }
    Ok(())
}

fn listed(name: &Path, metadata: &Metadata) -> Listed {
    let modified = metadata.modified().unwrap_or(UNIX_EPOCH);
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Listed {
        name: name.to_string_lossy().into_owned(),
        version: Version {
            size: metadata.len(),
            modified: i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
            etag: None,
        },
    }
}

/// The file, at the position if it is to go on there, and how it begins.
fn open<'a>(
    path: &Path,
    version: &Version,
    position: Option<&'a Position>,
) -> std::io::Result<(File, Option<&'a Position>, String)> {
    let mut file = File::open(path)?;
    let mut beginning = Vec::new();
    file.by_ref()
        .take(BEGINNING_BYTES)
        .read_to_end(&mut beginning)?;
    let position = match position {
        Some(position) if is_of(position, version, &beginning, &file)? => Some(position),
        _ => None,
    };
    let first_byte = position.map_or(0, Position::first_byte);
    file.seek(SeekFrom::Start(first_byte))?;
    Ok((file, position, described(&beginning)))
}

/// Whether a position is one of this file. Its bytes are asked however equal the versions are: the file may have been written
/// anew since it was listed.
fn is_of(
    position: &Position,
    version: &Version,
    beginning: &[u8],
    file: &File,
) -> std::io::Result<bool> {
    if !position.survives(version) {
        return Ok(false);
    }
    let length = length_of(position.beginning.as_deref());
    let same_part = length.and_then(|length| beginning.get(..length));
    if same_part.map(described) != position.beginning {
        return Ok(false);
    }
    if position.is_packed {
        return Ok(true);
    }
    // A position that was saved without it is not trusted.
    let length = length_of(position.before.as_deref()).filter(|length| *length <= BEFORE_MAX);
    let Some(length) = length else {
        return Ok(false);
    };
    let Some(first) = position.first_byte().checked_sub(length as u64) else {
        return Ok(false);
    };
    let mut before = vec![0; length];
    match file.read_exact_at(&mut before, first) {
        Ok(()) => Ok(Some(described(&before)) == position.before),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// How many bytes were described.
fn length_of(description: Option<&str>) -> Option<usize> {
    description?.split_once(' ')?.0.parse().ok()
}

#[cfg(test)]
#[path = "file_tests.rs"]
mod tests;
