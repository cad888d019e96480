//! A view that is drawn anew every second, until it is interrupted.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use super::exit::{Exit, Failure};
use super::report::Report;

/// How often it is drawn.
const EVERY: Duration = Duration::from_secs(1);

/// Draws `report` until nobody reads any more. A terminal shows the whole picture anew; everything else gets one after the
/// other.
pub fn live(report: impl Fn() -> Result<Report, Failure>) -> Result<Report, Failure> {
    let terminal = io::stdout().is_terminal();
    loop {
        let mut text = report()?.out;
        if terminal {
            // Home, every line cleared to its end, and what is below it too: nothing flickers.
            text = format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"));
        }
        let mut stdout = io::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Report::default()),
            Err(error) => return Err(Failure::new(Exit::Failed, format!("standard output: {error}"))),
            Ok(()) => {}
        }
        std::thread::sleep(EVERY);
    }
}
