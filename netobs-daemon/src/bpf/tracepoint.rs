//! Programs at tracepoints of the kernel: BTF tracepoints, or raw ones where the kernel refuses those.

use aya::Btf;
use aya::programs::{BtfTracePoint, RawTracePoint};

use super::attached::Attached;
use super::load::{Loaded, ProgramError};

/// A tracepoint that there are programs for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// Its name, without that of its group; also that of the program for the BTF tracepoint.
    pub name: &'static str,
    /// The program for the raw tracepoint.
    pub raw: &'static str,
}

/// A program at a tracepoint.
#[derive(Debug)]
pub struct Tracepoint {
    /// The program.
    pub program: Attached,
    /// Why it is only a raw tracepoint; `None`: it is a BTF one.
    pub raw_because: Option<String>,
}

impl Tracepoint {
    /// Loads a program for the tracepoint and attaches it. `btf` is the running kernel's, or why there is none to use.
    pub fn attach(loaded: &mut Loaded, point: Point, btf: Result<&Btf, &str>) -> Result<Self, ProgramError> {
        let raw_because = match btf.map(|btf| typed(loaded, point, btf)) {
            Ok(Ok(program)) => return Ok(Self { program, raw_because: None }),
            Ok(Err(error)) => error.to_string(),
            Err(why) => why.to_owned(),
        };
        match raw(loaded, point) {
            Ok(program) => Ok(Self { program, raw_because: Some(raw_because) }),
            Err(error) => Err(ProgramError::Both { first: raw_because, then: Box::new(error) }),
        }
    }
}

fn typed(loaded: &mut Loaded, point: Point, btf: &Btf) -> Result<Attached, ProgramError> {
    let program: &mut BtfTracePoint = loaded.program(point.name)?;
    program.load(point.name, btf)?;
    let link = program.attach()?;
    let link = program.take_link(link)?;
    Attached::new(program.fd()?, link)
}

fn raw(loaded: &mut Loaded, point: Point) -> Result<Attached, ProgramError> {
    let program: &mut RawTracePoint = loaded.program(point.raw)?;
    program.load()?;
    let link = program.attach(point.name)?;
    let link = program.take_link(link)?;
    Attached::new(program.fd()?, link)
}
