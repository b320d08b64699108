//! The settings file, as mounted from a ConfigMap.
//!
//! A ConfigMap volume is replaced as a whole by swapping a symbolic link, so watching the file itself would
//! miss the change. Comparing what it holds with what was read last is cheap, and right on every volume.

use std::path::PathBuf;
use std::sync::Mutex;

use serde::Deserialize;
use tracing::{info, warn};

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    pub title: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self { title: "Shop".to_owned() }
    }
}

struct Read {
    text: Option<String>,
    settings: Settings,
}

pub struct SettingsFile {
    path: PathBuf,
    last: Mutex<Read>,
}

impl SettingsFile {
    pub fn new(path: String) -> Self {
        let file = Self {
            path: path.into(),
            last: Mutex::new(Read { text: None, settings: Settings::default() }),
        };
        file.current();
        file
    }

    /// The settings as the file has them now; the last good ones while it is missing or cannot be read.
    pub fn current(&self) -> Settings {
        let mut last = self.last.lock().expect("no holder of the lock panics");
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(_) => return last.settings.clone(),
        };
        if last.text.as_deref() == Some(text.as_str()) {
            return last.settings.clone();
        }
        match toml::from_str::<Settings>(&text) {
            Ok(settings) => {
                info!(path = %self.path.display(), title = settings.title, "settings read");
                last.settings = settings;
            }
            Err(cause) => warn!(path = %self.path.display(), %cause, "settings kept: the file is wrong"),
        }
        last.text = Some(text);
        last.settings.clone()
    }
}
