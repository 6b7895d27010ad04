//! Progress bars on a terminal; elsewhere a log line for each phase.

use std::sync::Mutex;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use lifeboat_runtime::Progress;

/// Shows how far an operation is.
#[derive(Default)]
pub(crate) struct Bars {
    bar: Mutex<Option<ProgressBar>>,
}

impl Bars {
    fn set(&self, next: Option<ProgressBar>) {
        let before = std::mem::replace(&mut *self.bar.lock().expect("no holder panics"), next);
        if let Some(bar) = before {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.set(None);
    }
}

impl Progress for Bars {
    fn phase(&self, name: &str, total_bytes: u64) {
        tracing::info!("{name}");
        let bar = match total_bytes {
            0 => ProgressBar::new_spinner(),
            total => ProgressBar::new(total),
        };
        // Off a terminal this draws nothing.
        bar.set_draw_target(ProgressDrawTarget::stderr());
        let template = match total_bytes {
            0 => "{spinner} {msg} {bytes} {binary_bytes_per_sec}",
            _ => "{msg} [{wide_bar}] {bytes}/{total_bytes} {binary_bytes_per_sec} ETA {eta}",
        };
        bar.set_style(ProgressStyle::with_template(template).expect("the template is valid"));
        bar.set_message(name.to_owned());
        self.set(Some(bar));
    }

    fn advance(&self, bytes: u64) {
        if let Some(bar) = &*self.bar.lock().expect("no holder panics") {
            bar.inc(bytes);
        }
    }

    fn warn(&self, message: &str) {
        tracing::warn!("{message}");
    }
}
