//! Where a password comes from: a file, or whoever sits at the terminal. Never an argument.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Args;
use secrecy::SecretString;

#[derive(Debug, Args)]
pub(super) struct Password {
    /// Take the password from this file, its last line break left out; without it, it is asked for
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl Password {
    /// The password.
    pub(super) fn get(&self) -> anyhow::Result<SecretString> {
        let Some(path) = &self.password_file else {
            ensure!(
                io::stdin().is_terminal(),
                "there is nobody to ask at a terminal; give the password with --password-file"
            );
            let asked = rpassword::prompt_password("Password: ").context("failed to ask for the password")?;
            return Ok(asked.into());
        };
        let text =
            std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        Ok(text.strip_suffix('\r').unwrap_or(text).into())
    }
}
