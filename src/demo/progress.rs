//! How far something is: on a terminal one line that changes, elsewhere a line now and then.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::report::line;

pub struct Progress {
    label: &'static str,
    bar: ProgressBar,
    /// Elsewhere than on a terminal: how long from one line to the next.
    pause: Duration,
    told: Instant,
}

impl Progress {
    pub fn new(label: &'static str, pause: Duration) -> Progress {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout());
        if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
            bar.set_style(style);
        }
        Progress {
            label,
            bar,
            pause,
            told: Instant::now(),
        }
    }

    pub fn tell(&mut self, words: &str) {
        if !self.bar.is_hidden() {
            self.bar.set_message(format!("  {:<12}{words}", self.label));
            self.bar.tick();
        } else if self.told.elapsed() >= self.pause {
            self.told = Instant::now();
            line(self.label, words, None);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
