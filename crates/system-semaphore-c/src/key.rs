//! Keys: what names become.

#![allow(unsafe_code)]
#![allow(non_camel_case_types, reason = "these are the names in C")]

use std::ffi::c_char;
use std::mem::MaybeUninit;

use system_semaphore::{Key, KeyType, NativeIpcKey, SystemSemaphore};

use crate::border::{call, put, text, value};
use crate::status::{Failure, syssem_status};
use crate::text::syssem_text;

/// The type of key of this library's crash-safe semaphores (Linux), which a plain name means there.
pub const SYSSEM_ROBUST: u16 = 512;
/// The type of key of System V semaphores with Qt's project id, 'Q'; 1 to 255 are those with other ids.
pub const SYSSEM_SYSTEM_V: u16 = 81;
/// The type of key of POSIX named semaphores.
pub const SYSSEM_POSIX: u16 = 256;
/// The type of key of Windows kernel objects.
pub const SYSSEM_WINDOWS: u16 = 257;

/// How a key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub enum syssem_key_form {
    /// A plain name, which can be any text: "market".
    SYSSEM_NAME = 0,
    /// The text form of a native key: "robust:market", "posix:/market".
    SYSSEM_KEY_TEXT = 1,
}

/// The key that is written so.
pub(crate) fn read_key(key: &str, form: u32) -> Result<Key, Failure> {
    const NAME: u32 = syssem_key_form::SYSSEM_NAME as u32;
    const KEY_TEXT: u32 = syssem_key_form::SYSSEM_KEY_TEXT as u32;
    match form {
        NAME => Ok(key.into()),
        KEY_TEXT => Ok(key.parse::<NativeIpcKey>()?.into()),
        _ => Err(Failure::invalid(format!("there is no form of key {form}"))),
    }
}

/// Whether this platform has semaphores of this type. May be called from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_is_key_type_supported(key_type: u16) -> bool {
    value(false, || Ok(KeyType::from_number(key_type).is_ok_and(SystemSemaphore::is_key_type_supported)))
}

/// The native key of this type that suits the platform and keeps the name readable, in its text form, as Qt's
/// QSystemSemaphore::platformSafeKey makes it. May be called from any thread.
///
/// # Errors
/// SYSSEM_KEY_ERROR if there is no such type, SYSSEM_INVALID_ARGUMENT.
///
/// # Safety
/// `name` is NULL or ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syssem_platform_safe_key(
    name: *const c_char,
    key_type: u16,
    key_text: Option<&mut MaybeUninit<Box<syssem_text>>>,
) -> syssem_status {
    // SAFETY: the caller promised
    let name = unsafe { text(name, "name") };
    call(|| {
        let key = system_semaphore::platform_safe_key(name?, KeyType::from_number(key_type)?);
        put(key_text, syssem_text::new(key.to_string()), "key_text")
    })
}

/// The native key of this type that programs from Qt 4.4 on have used for a plain name, in its text form, as Qt's
/// QSystemSemaphore::legacyNativeKey makes it. May be called from any thread.
///
/// # Errors
/// SYSSEM_KEY_ERROR if there is no such type, SYSSEM_INVALID_ARGUMENT.
///
/// # Safety
/// `name` is NULL or ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syssem_legacy_native_key(
    name: *const c_char,
    key_type: u16,
    key_text: Option<&mut MaybeUninit<Box<syssem_text>>>,
) -> syssem_status {
    // SAFETY: the caller promised
    let name = unsafe { text(name, "name") };
    call(|| {
        let key = system_semaphore::legacy_native_key(name?, KeyType::from_number(key_type)?);
        put(key_text, syssem_text::new(key.to_string()), "key_text")
    })
}

/// The parts of a native key's text form: the number of its type, and its native name. Either may be NULL if it is not
/// asked for. May be called from any thread.
///
/// # Errors
/// SYSSEM_KEY_ERROR if the text is not that of a key, SYSSEM_INVALID_ARGUMENT.
///
/// # Safety
/// `key_text` is NULL or ends with a NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syssem_read_key_text(
    key_text: *const c_char,
    key_type: Option<&mut MaybeUninit<u16>>,
    native_name: Option<&mut MaybeUninit<Box<syssem_text>>>,
) -> syssem_status {
    // SAFETY: the caller promised
    let key_text = unsafe { text(key_text, "key_text") };
    call(|| {
        let key: NativeIpcKey = key_text?.parse()?;
        if let Some(place) = key_type {
            place.write(key.key_type().number());
        }
        if let Some(place) = native_name {
            place.write(syssem_text::new(key.native_key()));
        }
        Ok(())
    })
}
