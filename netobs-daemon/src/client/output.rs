//! Where the command line writes: coloured on a terminal unless `NO_COLOR` is set, and silent about a closed pipe.

use std::io::{self, Write};

use anyhow::Result;

/// Standard output, without colour where it is no terminal.
pub fn stdout() -> impl Write {
    io::BufWriter::new(anstream::AutoStream::auto(io::stdout()))
}

/// The output could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the output: {0}")]
pub struct OutputError(#[from] pub io::Error);

/// Turns the end of the reader behind a pipe (`| head`) into success.
pub fn ignore_closed_pipe(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if is_closed_pipe(&error) => Ok(()),
        other => other,
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<OutputError>().is_some_and(|error| error.0.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_outputs_own_pipe() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(ignore_closed_pipe(Err(OutputError(broken()).into())).is_ok());
        assert!(ignore_closed_pipe(Err(broken().into())).is_err());
        assert!(ignore_closed_pipe(Err(OutputError(io::ErrorKind::StorageFull.into()).into())).is_err());
    }
}
