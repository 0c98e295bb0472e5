//! What the fuzz targets of the mapped file share: names and files of their own ([`spot`]), what a stranger writes into
//! such a file ([`scribble`]), and the use of a semaphore in every way ([`visit`]).

pub mod choice;
pub mod scribble;
pub mod spot;
pub mod visit;
