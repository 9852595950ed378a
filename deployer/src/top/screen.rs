//! The terminal: the table is drawn again with each sample, and keys change what it shows.
//!
//! A table of text needs no toolkit: each frame is written whole, over the one before.

use std::io::{self, Read as _, Stdout, Write};
use std::panic;
use std::thread;
use std::time::Duration;

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::style::{Attribute, SetAttribute};
use crossterm::terminal::{
    self, BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen,
};
use crossterm::{execute, queue};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, channel, unbounded_channel};
use tokio::time::{MissedTickBehavior, interval};

use super::keys::{Key, keys};
use super::sample::Sample;
use super::source::Reader;
use super::view::{View, aligned, cut, printable};
use crate::error::Error;

const KEYS: &str = "q quit  left/right sort  r reverse  / filter  up/down scroll";

/// A terminal in raw mode, with another screen. Dropped, it is as it was before.
struct Screen {
    out: Stdout,
}

impl Screen {
    fn open() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        let mut screen = Screen { out: io::stdout() };
        execute!(screen.out, EnterAlternateScreen, Hide)?;
        // A panic ends the process at once in a release.
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore();
            before(info);
        }));
        Ok(screen)
    }

    fn draw(&mut self, state: &State) -> io::Result<()> {
        let (width, height) = terminal::size()?;
        let (width, height) = (usize::from(width), usize::from(height));
        queue!(self.out, BeginSynchronizedUpdate, MoveTo(0, 0))?;
        for (at, line) in state.lines(height).iter().enumerate() {
            let highlighted = state.sample.is_some() && at == State::HEADER;
            if highlighted {
                queue!(self.out, SetAttribute(Attribute::Reverse))?;
            }
            write!(self.out, "{}", cut(line, width))?;
            if highlighted {
                queue!(self.out, SetAttribute(Attribute::Reset))?;
            }
            queue!(self.out, Clear(ClearType::UntilNewLine))?;
            if at + 1 < height {
                write!(self.out, "\r\n")?;
            }
        }
        queue!(self.out, Clear(ClearType::FromCursorDown), EndSynchronizedUpdate)?;
        self.out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    // The terminal may have gone.
    let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
    let _ = terminal::disable_raw_mode();
}

/// What is shown.
struct State {
    view: View,
    sample: Option<Sample>,
    /// Why the last reading failed.
    error: Option<String>,
    /// Whether keys are for the filter.
    typing: bool,
    /// How many clients are above the first that is shown.
    scrolled: usize,
}

/// Whether the command goes on after a key.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Draw,
    End,
}

impl State {
    /// The line of the table's header.
    const HEADER: usize = 1;

    fn new(view: View) -> Self {
        State { view, sample: None, error: None, typing: false, scrolled: 0 }
    }

    /// The lines of a screen.
    fn lines(&self, height: usize) -> Vec<String> {
        let mut lines = vec![self.status()];
        if let Some(sample) = &self.sample {
            let mut table = aligned(&self.view.table(sample)).into_iter();
            lines.extend(table.next());
            let room = height.saturating_sub(lines.len() + 1);
            let clients: Vec<String> = table.collect();
            let first = self.scrolled.min(clients.len().saturating_sub(room));
            lines.extend(clients.into_iter().skip(first).take(room));
        }
        lines.resize(height.saturating_sub(1), String::new());
        lines.push(match self.typing {
            true => format!("filter: {}_  (Enter to apply, Esc to clear)", printable(&self.view.filter)),
            false => KEYS.to_owned(),
        });
        lines
    }

    fn status(&self) -> String {
        let mut status = "otlp-gate".to_owned();
        if let Some(sample) = &self.sample {
            let failed: Vec<_> = sample.replicas.iter().filter(|it| it.error.is_some()).collect();
            let (all, read) = (sample.replicas.len(), sample.replicas.len() - failed.len());
            status = format!("{read} of {all} replicas, per second over {:.1} s", sample.seconds);
            for replica in failed {
                let error = replica.error.as_deref().unwrap_or_default();
                status.push_str(&format!("; {}: {}", printable(&replica.name), printable(error)));
            }
        } else if self.error.is_none() {
            status.push_str(": reading");
        }
        if !self.view.filter.is_empty() {
            status.push_str(&format!("; clients with `{}`", printable(&self.view.filter)));
        }
        if let Some(error) = &self.error {
            status.push_str(&format!("; {}", printable(error)));
        }
        status
    }

    fn key(&mut self, key: Key) -> Next {
        if key == Key::Interrupt {
            return Next::End;
        }
        if self.typing {
            match key {
                Key::Enter => self.typing = false,
                Key::Escape => {
                    self.typing = false;
                    self.view.filter.clear();
                }
                Key::Backspace => {
                    self.view.filter.pop();
                }
                Key::Character(character) => self.view.filter.push(character),
                _ => {}
            }
            self.scrolled = 0;
            return Next::Draw;
        }
        let shown = self.sample.as_ref().map_or(0, |sample| self.view.clients(sample).len());
        match key {
            Key::Character('q') => return Next::End,
            Key::Escape => self.view.filter.clear(),
            Key::Character('/') => self.typing = true,
            Key::Character('r') => self.view.reverse = !self.view.reverse,
            Key::Left => self.move_sort(-1),
            Key::Right => self.move_sort(1),
            Key::Up => self.scrolled = self.scrolled.saturating_sub(1),
            Key::Down => self.scrolled = (self.scrolled + 1).min(shown.saturating_sub(1)),
            _ => {}
        }
        Next::Draw
    }

    fn move_sort(&mut self, by: isize) {
        if let Some(sample) = &self.sample {
            self.view.move_sort(sample, by);
        }
    }
}

/// Shows samples until the user ends it.
///
/// # Errors
/// The terminal cannot be used, or the first reading fails.
pub(crate) async fn show(mut reader: Reader, view: View, every: Duration) -> Result<(), Error> {
    let cannot = |error: io::Error| Error::failed(format_args!("cannot use the terminal: {error}"));
    // A mistake such as a wrong context is shown on the usual screen.
    reader.read().await?;
    let mut screen = Screen::open().map_err(cannot)?;
    let mut typed = typed().map_err(cannot)?;
    let mut resized = signal(SignalKind::window_change()).map_err(cannot)?;
    let mut samples = samples(reader, every);
    let mut state = State::new(view);
    loop {
        screen.draw(&state).map_err(cannot)?;
        tokio::select! {
            key = typed.recv() => match key {
                Some(Ok(key)) => {
                    if state.key(key) == Next::End {
                        return Ok(());
                    }
                }
                Some(Err(error)) => return Err(cannot(error)),
                None => return Ok(()),
            },
            Some(sample) = samples.recv() => match sample {
                Ok(sample) => (state.sample, state.error) = (Some(sample), None),
                Err(error) => state.error = Some(error.to_string()),
            },
            _ = resized.recv() => {}
        }
    }
}

/// Samples, one each time. A replica that answers slowly does not delay keys.
fn samples(mut reader: Reader, every: Duration) -> Receiver<Result<Sample, Error>> {
    let (send, receive) = channel(1);
    tokio::spawn(async move {
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first one is now.
        ticks.tick().await;
        loop {
            ticks.tick().await;
            if send.send(reader.read().await).await.is_err() {
                return;
            }
        }
    });
    receive
}

/// The keys that are typed. The thread ends with the process.
fn typed() -> io::Result<UnboundedReceiver<io::Result<Key>>> {
    let (send, receive) = unbounded_channel();
    thread::Builder::new().spawn(move || {
        let mut bytes = [0; 256];
        loop {
            match io::stdin().lock().read(&mut bytes) {
                // The terminal has gone.
                Ok(0) => return,
                Ok(size) => {
                    for key in keys(bytes.get(..size).unwrap_or_default()) {
                        if send.send(Ok(key)).is_err() {
                            return;
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let _ = send.send(Err(error));
                    return;
                }
            }
        }
    })?;
    Ok(receive)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::sample::{ClientRates, Replica};
    use crate::top::view::Column;

    fn state(clients: usize) -> State {
        let client = |at| ClientRates { client: Some(format!("c{at:02}")), ..ClientRates::default() };
        let sample = Sample {
            seconds: 2.0,
            replicas: vec![Replica { name: "pod-1".to_owned(), error: None }],
            clients: (0..clients).map(client).collect(),
        };
        let view = View { sort: Column::Client, reverse: false, filter: String::new() };
        State { sample: Some(sample), ..State::new(view) }
    }

    fn first_client(state: &State) -> String {
        state.lines(10)[2].chars().take(3).collect()
    }

    #[test]
    fn a_screen_has_as_many_lines_as_the_terminal_and_scrolls() {
        let mut state = state(50);
        assert_eq!(state.lines(10).len(), 10);
        assert_eq!(first_client(&state), "c00");
        for _ in 0..100 {
            state.key(Key::Down);
        }
        assert!(state.lines(10)[8].starts_with("c49"), "{:?}", state.lines(10));
        for height in 0..4 {
            assert!(state.lines(height).len() <= height.max(1));
        }
    }

    #[test]
    fn keys_filter_sort_and_end() {
        let mut state = state(50);
        for key in "/4".chars().map(Key::Character) {
            assert_eq!(state.key(key), Next::Draw);
        }
        assert!(state.lines(10)[9].starts_with("filter: 4_"));
        // While a filter is typed, `q` is a part of it.
        assert_eq!(state.key(Key::Character('q')), Next::Draw);
        state.key(Key::Backspace);
        state.key(Key::Enter);
        assert_eq!(first_client(&state), "c04");
        state.key(Key::Character('r'));
        assert_eq!(first_client(&state), "c49");
        state.key(Key::Escape);
        state.key(Key::Character('r'));
        assert_eq!(first_client(&state), "c00");
        state.key(Key::Right);
        assert_eq!(state.view.sort, Column::Traces);
        state.key(Key::Left);
        assert_eq!(state.view.sort, Column::Client);
        assert_eq!(state.key(Key::Character('q')), Next::End);
        assert_eq!(state.key(Key::Interrupt), Next::End);
    }
}
