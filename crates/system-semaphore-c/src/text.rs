//! Texts that are given to C.

#![allow(unsafe_code, reason = "exported names")]
#![allow(non_camel_case_types, reason = "these are the names in C")]

use std::ffi::c_char;
use std::ptr;

/// A text that a function gave, in UTF-8, with a NUL behind it. To be freed by syssem_text_free().
#[derive(Debug)]
pub struct syssem_text(Box<str>);

impl syssem_text {
    pub(crate) fn new(text: impl Into<String>) -> Box<Self> {
        let mut text = text.into();
        text.push('\0');
        Box::new(Self(text.into_boxed_str()))
    }
}

/// Its characters, which stay as long as it does; NULL for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_text_data(text: Option<&syssem_text>) -> *const c_char {
    text.map_or(ptr::null(), |text| text.0.as_ptr().cast())
}

/// How many bytes it has, without the NUL behind it: native keys can have one within, too.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_text_length(text: Option<&syssem_text>) -> usize {
    text.map_or(0, |text| text.0.len() - 1)
}

/// Frees it. Nothing happens to NULL.
#[unsafe(no_mangle)]
pub extern "C" fn syssem_text_free(text: Option<Box<syssem_text>>) {
    drop(text);
}
