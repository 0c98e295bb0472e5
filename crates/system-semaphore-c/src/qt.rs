//! What Qt's classes do, for the header `qsystemsemaphore.hpp`.

#![allow(unsafe_code)]
#![allow(non_camel_case_types, reason = "these are the names in C")]

use std::ffi::c_char;

use system_semaphore_qt::{AccessMode, QNativeIpcKey, QSystemSemaphore};

use crate::border::{given, sized_text, value};
use crate::status::Failure;
use crate::text::syssem_text;

/// A QNativeIpcKey. It may be read by several threads at once.
#[derive(Debug)]
pub struct syssem_qt_key(QNativeIpcKey);

/// A QSystemSemaphore. It may be used by all threads of the process at once.
#[derive(Debug)]
pub struct syssem_qt_semaphore(QSystemSemaphore);

/// What a function gives: NULL only after a wrong argument or a defect, of which syssem_last_error_message() tells.
type Given<T> = Option<Box<T>>;

fn give<T>(body: impl FnOnce() -> Result<T, Failure>) -> Given<T> {
    value(None, || Ok(Some(Box::new(body()?))))
}

fn give_text(body: impl FnOnce() -> Result<String, Failure>) -> Given<syssem_text> {
    value(None, || Ok(Some(syssem_text::new(body()?))))
}

fn mode(mode: i32) -> AccessMode {
    if mode == AccessMode::Create as i32 { AccessMode::Create } else { AccessMode::Open }
}

/// A key of this native name and type. Texts in this part are of `length` bytes; what is not UTF-8 is read as Qt reads it.
///
/// # Safety
/// So many bytes can be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syssem_qt_key_new(
    native_key: *const c_char,
    length: usize,
    key_type: u16,
) -> Option<Box<syssem_qt_key>> {
    // SAFETY: the caller promised
    let native_key = unsafe { sized_text(native_key, length) };
    give(|| Ok(syssem_qt_key(QNativeIpcKey::new(native_key, key_type))))
}

/// QNativeIpcKey::fromString().
///
/// # Safety
/// So many bytes can be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syssem_qt_key_from_text(
    key_text: *const c_char,
    length: usize,
) -> Option<Box<syssem_qt_key>> {
    // SAFETY: the caller promised
    let key_text = unsafe { sized_text(key_text, length) };
    give(|| Ok(syssem_qt_key(QNativeIpcKey::from_text(&key_text))))
}

/// QSystemSemaphore::platformSafeKey().
///
/// # Safety
/// So many bytes can be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syssem_qt_key_platform_safe(
    name: *const c_char,
    length: usize,
    key_type: u16,
) -> Option<Box<syssem_qt_key>> {
    // SAFETY: the caller promised
    let name = unsafe { sized_text(name, length) };
    give(|| Ok(syssem_qt_key(QNativeIpcKey::platform_safe(&name, key_type))))
}

/// QSystemSemaphore::legacyNativeKey().
///
/// # Safety
/// So many bytes can be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syssem_qt_key_legacy(
    name: *const c_char,
    length: usize,
    key_type: u16,
) -> Option<Box<syssem_qt_key>> {
    // SAFETY: the caller promised
    let name = unsafe { sized_text(name, length) };
    give(|| Ok(syssem_qt_key(QNativeIpcKey::legacy(&name, key_type))))
}

/// QNativeIpcKey::legacyDefaultTypeForOs().
#[unsafe(no_mangle)]
pub extern "C" fn syssem_qt_legacy_default_type() -> u16 {
    value(0, || Ok(QNativeIpcKey::legacy_default_type()))
}

/// Another key like this one.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_qt_key_clone(key: Option<&syssem_qt_key>) -> Option<Box<syssem_qt_key>> {
    give(|| Ok(syssem_qt_key(given(key, "key")?.0.clone())))
}

/// Frees a key. Nothing happens to NULL.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_qt_key_free(key: Option<Box<syssem_qt_key>>) {
    drop(key);
}

/// Whether the two are equal, in the plain names that they were made from, too.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_qt_key_equals(key: Option<&syssem_qt_key>, other: Option<&syssem_qt_key>) -> bool {
    value(false, || Ok(given(key, "key")?.0 == given(other, "other")?.0))
}

/// QNativeIpcKey::isEmpty().
#[unsafe(no_mangle)]
pub extern "C" fn syssem_qt_key_is_empty(key: Option<&syssem_qt_key>) -> bool {
    value(true, || Ok(given(key, "key")?.0.is_empty()))
}

/// QNativeIpcKey::isValid().
#[unsafe(no_mangle)]
pub extern "C" fn syssem_qt_key_is_valid(key: Option<&syssem_qt_key>) -> bool {
    value(false, || Ok(given(key, "key")?.0.is_valid()))
}

/// QNativeIpcKey::type().
#[unsafe(no_mangle)]
pub extern "C" fn syssem_qt_key_type(key: Option<&syssem_qt_key>) -> u16 {
    value(0, || Ok(given(key, "key")?.0.type_number()))
}

/// QNativeIpcKey::setType().
#[unsafe(no_mangle)]
pub extern "C" fn syssem_qt_key_set_type(key: Option<&mut syssem_qt_key>, key_type: u16) {
    value((), || {
        given(key, "key")?.0.set_type(key_type);
        Ok(())
    });
}

/// QNativeIpcKey::nativeKey().
#[unsafe(no_mangle)]
pub extern "C" fn syssem_qt_key_native(key: Option<&syssem_qt_key>) -> Option<Box<syssem_text>> {
    give_text(|| Ok(given(key, "key")?.0.native_key().to_owned()))
}

/// QNativeIpcKey::setNativeKey().
///
/// # Safety
/// So many bytes can be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syssem_qt_key_set_native(
    key: Option<&mut syssem_qt_key>,
    native_key: *const c_char,
    length: usize,
) {
    // SAFETY: the caller promised
    let native_key = unsafe { sized_text(native_key, length) };
    value((), || {
        given(key, "key")?.0.set_native_key(native_key);
        Ok(())
    });
}

/// QNativeIpcKey::toString().
#[unsafe(no_mangle)]
pub extern "C" fn syssem_qt_key_text(key: Option<&syssem_qt_key>) -> Option<Box<syssem_text>> {
    give_text(|| Ok(given(key, "key")?.0.to_text()))
}

/// A QSystemSemaphore from a plain name. `access_mode` is 0 (Open) or 1 (Create).
///
/// # Safety
/// So many bytes can be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syssem_qt_new(
    name: *const c_char,
    length: usize,
    initial_value: i32,
    access_mode: i32,
) -> Option<Box<syssem_qt_semaphore>> {
    // SAFETY: the caller promised
    let name = unsafe { sized_text(name, length) };
    give(|| Ok(syssem_qt_semaphore(QSystemSemaphore::new(&name, initial_value, mode(access_mode)))))
}

/// A QSystemSemaphore from a native key.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_qt_new_native(
    key: Option<&syssem_qt_key>,
    initial_value: i32,
    access_mode: i32,
) -> Option<Box<syssem_qt_semaphore>> {
    give(|| {
        let key = given(key, "key")?.0.clone();
        let semaphore = QSystemSemaphore::with_native_key(key, initial_value, mode(access_mode));
        Ok(syssem_qt_semaphore(semaphore))
    })
}

/// The destructor. No other thread may be using it. Nothing happens to NULL.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_qt_free(semaphore: Option<Box<syssem_qt_semaphore>>) {
    value((), || {
        drop(semaphore);
        Ok(())
    });
}

/// QSystemSemaphore::setKey().
///
/// # Safety
/// So many bytes can be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syssem_qt_set_key(
    semaphore: Option<&syssem_qt_semaphore>,
    name: *const c_char,
    length: usize,
    initial_value: i32,
    access_mode: i32,
) {
    // SAFETY: the caller promised
    let name = unsafe { sized_text(name, length) };
    value((), || {
        given(semaphore, "semaphore")?.0.set_key(&name, initial_value, mode(access_mode));
        Ok(())
    });
}

/// QSystemSemaphore::setNativeKey().
#[unsafe(no_mangle)]
pub extern "C" fn syssem_qt_set_native_key(
    semaphore: Option<&syssem_qt_semaphore>,
    key: Option<&syssem_qt_key>,
    initial_value: i32,
    access_mode: i32,
) {
    value((), || {
        let key = given(key, "key")?.0.clone();
        given(semaphore, "semaphore")?.0.set_native_key(key, initial_value, mode(access_mode));
        Ok(())
    });
}

/// QSystemSemaphore::key().
#[unsafe(no_mangle)]
pub extern "C" fn syssem_qt_key_name(semaphore: Option<&syssem_qt_semaphore>) -> Option<Box<syssem_text>> {
    give_text(|| Ok(given(semaphore, "semaphore")?.0.key()))
}

/// QSystemSemaphore::nativeIpcKey().
#[unsafe(no_mangle)]
pub extern "C" fn syssem_qt_native_key(
    semaphore: Option<&syssem_qt_semaphore>,
) -> Option<Box<syssem_qt_key>> {
    give(|| Ok(syssem_qt_key(given(semaphore, "semaphore")?.0.native_key())))
}

/// QSystemSemaphore::isKeyTypeSupported().
#[unsafe(no_mangle)]
pub extern "C" fn syssem_qt_is_key_type_supported(key_type: u16) -> bool {
    value(false, || Ok(QSystemSemaphore::is_key_type_supported(key_type)))
}

/// QSystemSemaphore::acquire(), of `n`; they are the process's until it releases them, or ends.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_qt_acquire(semaphore: Option<&syssem_qt_semaphore>, n: i32) -> bool {
    value(false, || Ok(given(semaphore, "semaphore")?.0.acquire(n)))
}

/// The same, waiting at most so many milliseconds; without an end if that is negative.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_qt_try_acquire(
    semaphore: Option<&syssem_qt_semaphore>,
    n: i32,
    timeout: i32,
) -> bool {
    value(false, || Ok(given(semaphore, "semaphore")?.0.try_acquire(n, timeout)))
}

/// QSystemSemaphore::release().
#[unsafe(no_mangle)]
pub extern "C" fn syssem_qt_release(semaphore: Option<&syssem_qt_semaphore>, n: i32) -> bool {
    value(false, || Ok(given(semaphore, "semaphore")?.0.release(n)))
}

/// Gives up ownership of `n` permits that this process holds: they stay taken, also when it ends. False if it held fewer,
/// which are forgotten.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_qt_forget(semaphore: Option<&syssem_qt_semaphore>, n: i32) -> bool {
    value(false, || Ok(given(semaphore, "semaphore")?.0.forget(n)))
}

/// How many permits are free; -1 on an error, which is set.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_qt_available(semaphore: Option<&syssem_qt_semaphore>) -> i64 {
    value(-1, || Ok(given(semaphore, "semaphore")?.0.available()))
}

/// QSystemSemaphore::error().
#[unsafe(no_mangle)]
pub extern "C" fn syssem_qt_error(semaphore: Option<&syssem_qt_semaphore>) -> i32 {
    value(0, || Ok(given(semaphore, "semaphore")?.0.error() as i32))
}

/// QSystemSemaphore::errorString().
#[unsafe(no_mangle)]
pub extern "C" fn syssem_qt_error_string(
    semaphore: Option<&syssem_qt_semaphore>,
) -> Option<Box<syssem_text>> {
    give_text(|| Ok(given(semaphore, "semaphore")?.0.error_string()))
}
