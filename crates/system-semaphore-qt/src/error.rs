//! Qt's error numbers and texts.

use std::io;

use system_semaphore::{Error, ErrorKind, KeyType};

/// `QSystemSemaphore::SystemSemaphoreError`, with its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SemaphoreError {
    /// Nothing went wrong.
    #[default]
    NoError = 0,
    /// It belongs to another user.
    PermissionDenied = 1,
    /// The key cannot name a semaphore.
    KeyError = 2,
    /// One of that name exists already.
    AlreadyExists = 3,
    /// There is none, or it was removed.
    NotFound = 4,
    /// A limit was met.
    OutOfResources = 5,
    /// Anything else; the text tells.
    UnknownError = 6,
}

/// What was being done when something went wrong. Qt's texts begin with the name of its own function.
#[derive(Clone, Copy, Debug)]
pub(crate) enum During {
    Open,
    Acquire,
    Release,
    /// What Qt cannot do.
    Ask,
}

impl During {
    fn function(self, key_type: Option<KeyType>) -> &'static str {
        match (self, key_type) {
            (Self::Open, _) => "QSystemSemaphore::handle",
            (Self::Acquire, Some(KeyType::Posix)) => "QSystemSemaphore::modifySemaphore (sem_wait)",
            (Self::Release, Some(KeyType::Posix)) => "QSystemSemaphore::modifySemaphore (sem_post)",
            (Self::Acquire | Self::Release, _) => "QSystemSemaphore::modifySemaphore",
            (Self::Ask, _) => "QSystemSemaphore::available",
        }
    }
}

/// The number and the text for an error of the library's.
pub(crate) fn translate(
    error: &Error,
    during: During,
    key_type: Option<KeyType>,
) -> (SemaphoreError, String) {
    let function = during.function(key_type);
    let (number, text) = match error.kind() {
        ErrorKind::PermissionDenied => (SemaphoreError::PermissionDenied, "permission denied".to_owned()),
        ErrorKind::AlreadyExists => (SemaphoreError::AlreadyExists, "already exists".to_owned()),
        ErrorKind::NotFound => (SemaphoreError::NotFound, "does not exist".to_owned()),
        ErrorKind::OutOfResources => (SemaphoreError::OutOfResources, "out of resources".to_owned()),
        ErrorKind::KeyError => return key_error(error, key_type),
        _ => (SemaphoreError::UnknownError, unknown(error)),
    };
    (number, format!("{function}: {text}"))
}

/// A key that cannot be used, in Qt's words as far as it has any.
fn key_error(error: &Error, key_type: Option<KeyType>) -> (SemaphoreError, String) {
    let system = error.raw_os_error();
    let text = match key_type {
        // the key file could be neither made nor, being there, looked through to what it links to
        Some(KeyType::SystemV(_)) => match system {
            Some(number) if number != ELOOP => "unable to make key".to_owned(),
            _ => "ftok failed".to_owned(),
        },
        Some(KeyType::Posix) if system == Some(ENAMETOOLONG) => "key too long".to_owned(),
        _ => error.to_string(),
    };
    (SemaphoreError::KeyError, handle_text(key_type, &text))
}

// of Linux; elsewhere the text is another one
const ELOOP: i32 = 40;
const ENAMETOOLONG: i32 = 36;

/// A text about the key. Qt has a colon too many on System V, for which it takes what is no type, too.
pub(crate) fn handle_text(key_type: Option<KeyType>, text: &str) -> String {
    match key_type {
        Some(KeyType::SystemV(_)) | None => format!("QSystemSemaphore::handle:: {text}"),
        Some(_) => format!("QSystemSemaphore::handle: {text}"),
    }
}

fn unknown(error: &Error) -> String {
    match error.raw_os_error() {
        Some(number) => unknown_number(number),
        None => format!("unknown error: {error}"),
    }
}

/// The text for an error of the system's.
pub(crate) fn unknown_number(number: i32) -> String {
    let text = io::Error::from_raw_os_error(number).to_string();
    // without "(os error 22)"
    let text = text.rsplit_once(" (os error").map_or(&*text, |(text, _)| text);
    format!("unknown error: {text}")
}
