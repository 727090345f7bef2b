//! Azure SQL: what a server is to keycard. Its databases and logins are not served yet.

pub mod administrator;
