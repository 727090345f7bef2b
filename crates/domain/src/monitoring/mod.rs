//! What is to be seen of what happens, and by whom: diagnostic settings. What is recorded is in [`crate::audit`].

pub mod category;
pub mod diagnostic_setting;
