//! What the fuzz targets of the mapped file share: names and files of their own ([`test_file`]), what a stranger writes into
//! such a file ([`scribble`]), and the use of a semaphore in every way ([`session`]).

pub mod choice;
pub mod scribble;
pub mod session;
pub mod test_file;
