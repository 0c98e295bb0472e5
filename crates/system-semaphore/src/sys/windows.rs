//! Windows semaphores: kernel objects with names.

use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};
use std::ptr;

use windows_sys::Win32::Foundation::{
    ERROR_ALREADY_EXISTS, GetLastError, HANDLE, SetLastError, WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::System::Threading::{
    CreateSemaphoreW, INFINITE, OpenSemaphoreW, ReleaseSemaphore, SEMAPHORE_MODIFY_STATE,
    SYNCHRONIZATION_SYNCHRONIZE, WaitForSingleObject,
};

/// A name as the system takes it: UTF-16 with a NUL at the end.
#[derive(Debug)]
pub(crate) struct Name(Vec<u16>);

impl Name {
    /// `None` if there is a NUL within.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let units: Vec<u16> = name.encode_utf16().chain([0]).collect();
        (units.iter().position(|unit| *unit == 0) == Some(units.len() - 1)).then_some(Self(units))
    }
}

/// An open semaphore. It is gone with its last handle, in whatever process.
#[derive(Debug)]
pub(crate) struct Semaphore(OwnedHandle);

/// What [`create`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Made,
    /// It was there, and what was said about the count and the maximum counts for nothing.
    Found,
}

/// The semaphore of this name, made if there is none.
pub(crate) fn create(name: &Name, count: i32, max: i32) -> io::Result<(Semaphore, Origin)> {
    // The last error is what tells the two apart, and not all successes set it.
    // SAFETY: takes a number
    unsafe { SetLastError(0) };
    // SAFETY: the name ends with a NUL, and no security attributes means the default ones
    let handle = unsafe { CreateSemaphoreW(ptr::null(), count, max, name.0.as_ptr()) };
    // SAFETY: takes nothing; before anything else of this thread can set another
    let error = unsafe { GetLastError() };
    let origin = if error == ERROR_ALREADY_EXISTS { Origin::Found } else { Origin::Made };
    Ok((semaphore(handle)?, origin))
}

/// The semaphore of this name (`ERROR_FILE_NOT_FOUND` if there is none). It is never made.
pub(crate) fn open_existing(name: &Name) -> io::Result<Semaphore> {
    let access = SYNCHRONIZATION_SYNCHRONIZE | SEMAPHORE_MODIFY_STATE;
    // SAFETY: the name ends with a NUL
    semaphore(unsafe { OpenSemaphoreW(access, 0, name.0.as_ptr()) })
}

fn semaphore(handle: HANDLE) -> io::Result<Semaphore> {
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just opened, and nobody else has it
    Ok(Semaphore(unsafe { OwnedHandle::from_raw_handle(handle) }))
}

impl Semaphore {
    /// Takes one, waiting for so many milliseconds (`None`: as long as it takes); `false` if there was none in time.
    pub(crate) fn wait(&self, milliseconds: Option<u32>) -> io::Result<bool> {
        // the largest number means for ever
        let patience = milliseconds.map_or(INFINITE, |milliseconds| milliseconds.min(INFINITE - 1));
        // SAFETY: the handle is open as long as `self` lives
        match unsafe { WaitForSingleObject(self.0.as_raw_handle(), patience) } {
            WAIT_OBJECT_0 => Ok(true),
            WAIT_TIMEOUT => Ok(false),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Adds so many, all or none (`ERROR_TOO_MANY_POSTS` beyond the maximum).
    pub(crate) fn release(&self, count: i32) -> io::Result<()> {
        // SAFETY: the handle is open as long as `self` lives, and nobody wants the count before
        let released = unsafe { ReleaseSemaphore(self.0.as_raw_handle(), count, ptr::null_mut()) };
        if released == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
