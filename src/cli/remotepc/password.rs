//! Password of a user: from a file or a prompt at the terminal, never from an argument.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Args;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use secrecy::SecretString;

#[derive(Debug, Args)]
pub(super) struct Password {
    /// Take the password from this file, its last line break left out; without it, it is asked for
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Restores the terminal's settings when it is dropped: a prompt that a signal ends leaves the echo off.
struct Echo(Option<Termios>);

impl Echo {
    fn of_terminal() -> Self {
        Self(tcgetattr(io::stdin()).ok())
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        if let Some(settings) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, settings);
        }
    }
}

impl Password {
    /// The password.
    pub(super) async fn get(&self) -> anyhow::Result<SecretString> {
        let Some(path) = &self.password_file else {
            ensure!(
                io::stdin().is_terminal(),
                "a password can be typed only at a terminal; pass --password-file"
            );
            let _echo = Echo::of_terminal();
            // In a thread of its own, so that a signal ends the command.
            let asking = tokio::task::spawn_blocking(|| rpassword::prompt_password("Password: "));
            let asked = asking.await?.context("failed to ask for the password")?;
            return Ok(asked.into());
        };
        let text =
            std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        Ok(text.strip_suffix('\r').unwrap_or(text).into())
    }
}
