//! A production configuration folder, with one of everything a file backup must bring back.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use crate::DemoError;

/// Makes the folder that the demo backs up as the files of production.
#[derive(Debug)]
pub struct ConfigFolder;

/// Relative path, content.
const FILES: [(&str, &str); 6] = [
    (
        "shop.toml",
        "[server]\nlisten = \"0.0.0.0:8443\"\nworkers = 8\n\n[database]\npath = \
         \"/srv/shop/shop.db\"\nbusy_timeout_ms = 5000\n",
    ),
    (
        "features.json",
        "{\n  \"checkout_v2\": true,\n  \"gift_cards\": { \"enabled\": true, \"max_cents\": 20000 \
         }\n}\n",
    ),
    (
        "nginx/sites/shop.conf",
        "server {\n    listen 443 ssl;\n    server_name shop.quillandpost.net;\n    location / { \
         proxy_pass http://127.0.0.1:8443; }\n}\n",
    ),
    (
        "nginx/mime.types",
        "types {\n    text/html html;\n    text/css css;\n    application/json json;\n}\n",
    ),
    (
        "mail/templates/Bestellung bestätigt.txt",
        "Guten Tag,\n\nwir haben Ihre Bestellung erhalten.\n",
    ),
    ("mail/queue.lock", ""),
];

const SCRIPT: &str = "bin/health-check";

impl ConfigFolder {
    /// Creates the folder `dir`: nested files, one of them empty and one with a name beyond ASCII,
    /// an executable script, a symbolic link, a private file and an empty folder.
    ///
    /// # Errors
    /// Fails if `dir` exists or cannot be written.
    pub fn create(dir: &Path) -> Result<(), DemoError> {
        write(dir).map_err(DemoError::io("create the configuration folder", dir))
    }
}

fn write(dir: &Path) -> std::io::Result<()> {
    if let Some(parent) = dir.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::create_dir(dir)?;
    for folder in ["bin", "nginx/sites", "nginx/enabled", "mail/templates"] {
        fs::create_dir_all(dir.join(folder))?;
    }
    fs::create_dir(dir.join("spool"))?;
    for (path, text) in FILES {
        fs::write(dir.join(path), text)?;
        set_mode(&dir.join(path), 0o644)?;
    }
    set_mode(&dir.join("shop.toml"), 0o600)?;
    fs::write(
        dir.join(SCRIPT),
        "#!/bin/sh\nexec curl --fail --silent --max-time 2 https://127.0.0.1:8443/health\n",
    )?;
    set_mode(&dir.join(SCRIPT), 0o755)?;
    symlink("../sites/shop.conf", dir.join("nginx/enabled/shop.conf"))
}

/// Sets the mode by itself, because the process's umask would change one that is given at creation.
fn set_mode(path: &Path, mode: u32) -> std::io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use lifeboat_model::{Diagnose as _, ErrorKind};

    use super::*;

    #[test]
    fn the_folder_has_one_of_everything() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("etc/shop");
        ConfigFolder::create(&dir).unwrap();

        let mode = |path| fs::metadata(dir.join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(SCRIPT), 0o755);
        assert_eq!(mode("shop.toml"), 0o600);
        assert!(fs::read_dir(dir.join("spool")).unwrap().next().is_none());
        let link = dir.join("nginx/enabled/shop.conf");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::read_to_string(&link).unwrap().contains("proxy_pass"));
    }

    #[test]
    fn an_existing_folder_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let error = ConfigFolder::create(temp.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(fs::read_dir(temp.path()).unwrap().next().is_none());
    }
}
