//! What is seen only in many events together.

pub mod flood;
mod source;

#[cfg(test)]
mod tests;
