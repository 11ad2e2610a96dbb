//! What the running kernel can do and how it is laid out. Nothing here loads a program.

pub mod btf;
pub mod causes;
pub mod clock;
pub mod facts;
pub mod features;
pub mod offsets;
pub mod preflight;
pub mod privileges;
pub mod reasons;
pub mod scope;
pub mod symbols;
