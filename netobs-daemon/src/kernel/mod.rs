//! What the running kernel can do and how it is laid out. Nothing here loads a program.

pub mod btf;
pub mod offsets;
