//! polycgi: one file in cgi-bin.
#[cfg(not(target_os = "linux"))]
compile_error!("polycgi needs Linux 5.10 or later: it passes descriptors, counts CGIs by record locks and splices.");

// -- words
pub mod cgi;
pub mod config;
pub mod page;
pub mod scgi;
