//! Which hub a command is about: the options that say so, and what follows from them.

use std::path::PathBuf;

use anyhow::Context as _;
use rollcall_core::limits;
use rollcall_program::config::DATA_FOLDER;
use rollcall_store::read_private;

use crate::config::{self, Config};

/// The options.
#[derive(clap::Args)]
pub struct Place {
    /// Configuration; without one everything is as deploy/examples/hub.toml says
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keys, and databases unless they are on PostgreSQL [default: as configured, else /var/lib/rollcall]
    #[arg(long, value_name = "DIR", env = "ROLLCALL_DATA")]
    data: Option<PathBuf>,
}

/// Where a hub's people and events are kept.
#[derive(Clone)]
pub enum Store {
    /// In files of the data folder.
    Files,
    /// In a PostgreSQL database.
    Server {
        /// With a password, perhaps.
        url: String,
    },
}

impl Place {
    /// The configuration and the data folder.
    pub fn read(&self) -> anyhow::Result<(Config, PathBuf)> {
        let config = self.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
        let data = self.data.clone().or_else(|| config.data_folder.clone());
        Ok((config, data.unwrap_or_else(|| DATA_FOLDER.into())))
    }
}

impl Store {
    /// As configured.
    pub fn of(config: &config::Store) -> anyhow::Result<Self> {
        if let Some(url) = &config.url {
            return Ok(Self::Server { url: url.0.clone() });
        }
        let Some(path) = &config.url_file else { return Ok(Self::Files) };
        let bytes = read_private(path, limits::CONFIG_SIZE_BYTES)?;
        let text = std::str::from_utf8(&bytes).with_context(|| format!("{} is not text", path.display()))?;
        Ok(Self::Server { url: text.trim().to_owned() })
    }
}
