//! Who runs this process.

use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;
use std::ptr;

/// The effective user id.
#[allow(clippy::unnecessary_cast, reason = "it is signed on QNX")]
pub(crate) fn effective_id() -> u32 {
    // SAFETY: takes nothing and cannot fail
    (unsafe { libc::geteuid() }) as u32
}

/// The name of the effective user in the user database; its number where it has none.
pub(crate) fn name() -> String {
    let id = effective_id();
    let mut strings = vec![0u8; 1024];
    loop {
        let mut entry = MaybeUninit::<libc::passwd>::uninit();
        let mut found = ptr::null_mut();
        let buffer = strings.as_mut_ptr().cast::<c_char>();
        // SAFETY: all pointers are to live memory of the sizes given
        let error =
            unsafe { libc::getpwuid_r(id as _, entry.as_mut_ptr(), buffer, strings.len(), &mut found) };
        match error {
            libc::ERANGE if strings.len() < 1 << 20 => strings.resize(strings.len() * 2, 0),
            0 if !found.is_null() => {
                // SAFETY: `found` is not null, so it points to `entry`, filled in
                let name = unsafe { (*found).pw_name };
                // SAFETY: a filled-in entry's name is a C string in `strings`, which is still alive
                return unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned();
            }
            _ => return id.to_string(),
        }
    }
}
