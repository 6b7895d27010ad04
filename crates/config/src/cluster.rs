//! Sources of kind `postgres`: how a cluster is reached, and how its log is kept.

use std::time::Duration;

use lifeboat_document::Reader;

use crate::config::{Cluster, ReplicationSlot, WalKeeping};
use crate::keys::is_reference;
use crate::read::{Context, optional_path};

/// What a slot may make the server keep unless somebody says otherwise: 16 GiB.
const KEEP_BYTES_MAX: u64 = 16 << 30;

/// How far back any moment can be restored unless somebody says otherwise: a week.
const POINT_IN_TIME: Duration = Duration::from_secs(7 * 24 * 3600);

/// Reads what is particular to a cluster; `None` if it cannot be connected to.
pub(crate) fn cluster(reader: &Reader<'_>, context: &Context<'_>) -> Option<Cluster> {
    let hint = "a connection string, such as `url = \"host=/run/postgresql dbname=postgres\"`";
    let url = reader.required_string("url", hint);
    if url.as_deref().is_some_and(holds_password) {
        let hint = "take it out, and write `password = \"file:PATH\"` or use ~/.pgpass; if it was \
                    real, change it";
        reader.reject("url", "`url` holds a password", Some(hint.to_owned()));
    }
    let cluster = Cluster {
        url: url.unwrap_or_default(),
        password: password(reader),
        programs: optional_path(reader, "programs", context),
        wal: keeping(reader),
        point_in_time: reader.duration("point_in_time").unwrap_or(POINT_IN_TIME),
        heartbeat: reader.boolean("heartbeat").unwrap_or(true),
        slot: slot(reader),
        checks: reader.strings("checks").unwrap_or_default(),
    };
    (!cluster.url.is_empty() && !holds_password(&cluster.url)).then_some(cluster)
}

/// Reports whether a connection string has a password in it, in either of its forms.
pub(crate) fn holds_password(url: &str) -> bool {
    let (before_query, query) = url.split_once('?').unwrap_or((url, ""));
    let in_authority = before_query.split_once("://").is_some_and(|(_, rest)| {
        let authority = rest.split('/').next().unwrap_or_default();
        let user = authority.rsplit_once('@').map(|(user, _)| user);
        user.is_some_and(|user| user.contains(':'))
    });
    let in_query = query.split('&').any(|pair| pair.starts_with("password="));
    // What comes before each `=`, the last value left out.
    let mut names = url.rsplit('=').skip(1);
    let in_words =
        !url.contains("://") && names.any(|before| before.trim_end().ends_with("password"));
    in_authority || in_query || in_words
}

pub(crate) fn password(reader: &Reader<'_>) -> Option<String> {
    let text = reader.string("password")?;
    if is_reference(&text) {
        return Some(text);
    }
    let hint = "write `env:NAME`, `file:PATH` or `command:LINE`, never the password itself";
    let message = "the password is not a reference";
    reader.reject("password", message, Some(hint.to_owned()));
    None
}

fn keeping(reader: &Reader<'_>) -> WalKeeping {
    match reader.string("wal").as_deref() {
        None | Some("archived") => WalKeeping::Archived,
        Some("in-snapshot") => WalKeeping::InSnapshot,
        Some(other) => {
            let message = format!("`{other}` is no way to keep the log");
            let hint = "one of: archived, in-snapshot".to_owned();
            reader.reject("wal", message, Some(hint));
            WalKeeping::Archived
        }
    }
}

fn slot(reader: &Reader<'_>) -> Option<ReplicationSlot> {
    let keep = reader.integer("slot_keep_gib").map(u64::try_from);
    let name = slot_name(reader);
    let keep_bytes_max = match keep {
        None => KEEP_BYTES_MAX,
        Some(Ok(gib @ 1..=1_048_576)) => gib << 30,
        Some(Ok(0)) if name.is_none() => return None,
        Some(_) => {
            let message = "`slot_keep_gib` must be 1 to 1048576";
            let hint = "0, which means no slot at all, goes without `slot`".to_owned();
            reader.reject("slot_keep_gib", message, Some(hint));
            KEEP_BYTES_MAX
        }
    };
    Some(ReplicationSlot {
        name,
        keep_bytes_max,
    })
}

fn slot_name(reader: &Reader<'_>) -> Option<String> {
    let name = reader.string("slot")?;
    let is_sound = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if name.is_empty() || name.len() > 63 || !name.bytes().all(is_sound) {
        let message = format!("`{name}` is no name of a replication slot");
        let hint = "up to 63 lower-case letters, digits and underscores".to_owned();
        reader.reject("slot", message, Some(hint));
        return None;
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_connection_strings_are_noticed() {
        for bad in [
            "postgresql://app:secret@db/shop",
            "postgres://db/shop?sslmode=require&password=secret",
            "host=db password=secret user=app",
            "password = 'secret'",
        ] {
            assert!(holds_password(bad), "{bad}");
        }
        for good in [
            "postgresql://app@db:5432/shop?host=/run/postgresql",
            "host=db passfile=/etc/pgpass user=password",
            "postgresql:///shop",
        ] {
            assert!(!holds_password(good), "{good}");
        }
    }
}
