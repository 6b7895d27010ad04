//! What a database has by its name and not by what is in it: settings and grants, which a copy takes
//! over from the database whose place it takes.

use tokio_postgres::Row;

use super::names::{literal, quoted};
use crate::backup::get;
use crate::connect::SqlSession;
use crate::error::PostgresError;

const SETTINGS: &str = "
    SELECT r.rolname::text, pg_catalog.split_part(c, '=', 1),
           pg_catalog.substr(c, pg_catalog.strpos(c, '=') + 1)
      FROM pg_catalog.pg_db_role_setting s
      JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
      LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole
     CROSS JOIN LATERAL unnest(s.setconfig) c WHERE d.datname = $1";

const GRANTS: &str = "
    SELECT COALESCE(r.rolname::text, ''), a.privilege_type::text, a.is_grantable
      FROM pg_catalog.pg_database d CROSS JOIN LATERAL pg_catalog.aclexplode(d.datacl) a
      LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee
     WHERE d.datname = $1 AND a.grantee <> d.datdba";

/// Gives `new` the settings and grants of `old`. What the role may not give is told and left out:
/// `new` serves without it.
pub(super) async fn take_over(
    session: &SqlSession,
    old: &str,
    new: &str,
) -> Result<(), PostgresError> {
    for statement in statements(session, old, new).await? {
        if let Err(error) = session.batch_execute(&statement).await {
            let answer = crate::error::ServerAnswer::new(&error);
            tracing::warn!("not taken over from the old database: `{statement}`: {answer}");
        }
    }
    Ok(())
}

async fn statements(
    session: &SqlSession,
    old: &str,
    new: &str,
) -> Result<Vec<String>, PostgresError> {
    let fail = PostgresError::server("read the settings of the old database");
    let mut statements = Vec::new();
    for row in session.query(SETTINGS, &[&old]).await.map_err(&fail)? {
        statements.push(setting(&row, new)?);
    }
    let limit = "SELECT datconnlimit FROM pg_catalog.pg_database WHERE datname = $1";
    let row = session.query_one(limit, &[&old]).await.map_err(&fail)?;
    let limit: i32 = get(&row, 0)?;
    statements.push(format!(
        "ALTER DATABASE {} CONNECTION LIMIT {limit}",
        quoted(new)
    ));
    let is_granted = "SELECT datacl IS NOT NULL FROM pg_catalog.pg_database WHERE datname = $1";
    let row = session
        .query_one(is_granted, &[&old])
        .await
        .map_err(&fail)?;
    if get::<bool>(&row, 0)? {
        let new = quoted(new);
        statements.push(format!("REVOKE ALL ON DATABASE {new} FROM PUBLIC"));
    }
    for row in session.query(GRANTS, &[&old]).await.map_err(&fail)? {
        statements.push(grant(&row, new)?);
    }
    Ok(statements)
}

fn setting(row: &Row, new: &str) -> Result<String, PostgresError> {
    let role: Option<String> = get(row, 0)?;
    let (name, value): (String, String) = (get(row, 1)?, get(row, 2)?);
    let of = match role {
        Some(role) => format!("ROLE {} IN DATABASE {}", quoted(&role), quoted(new)),
        None => format!("DATABASE {}", quoted(new)),
    };
    let is_list =
        name == "search_path" || name == "temp_tablespaces" || name.ends_with("preload_libraries");
    let value = match is_list {
        true => list(&value),
        false => literal(&value),
    };
    Ok(format!("ALTER {of} SET {} = {value}", quoted(&name)))
}

/// Writes the items of a list one by one, each quoted: as one text they would be one item.
fn list(value: &str) -> String {
    let mut items = vec![String::new()];
    let mut in_quotes = false;
    for c in value.chars() {
        match c {
            '"' => in_quotes = !in_quotes,
            ',' if !in_quotes => items.push(String::new()),
            c if !in_quotes && c.is_whitespace() => {}
            c => items.last_mut().expect("there is one").push(c),
        }
    }
    let items = items.iter().map(|item| literal(item));
    items.collect::<Vec<_>>().join(", ")
}

fn grant(row: &Row, new: &str) -> Result<String, PostgresError> {
    let (role, privilege): (String, String) = (get(row, 0)?, get(row, 1)?);
    let role = match role.is_empty() {
        true => "PUBLIC".to_owned(),
        false => quoted(&role),
    };
    let option = if get::<bool>(row, 2)? {
        " WITH GRANT OPTION"
    } else {
        ""
    };
    Ok(format!(
        "GRANT {privilege} ON DATABASE {} TO {role}{option}",
        quoted(new)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_of_a_list_stay_items_and_nothing_else() {
        assert_eq!(list("\"$user\", public"), "'$user', 'public'");
        assert_eq!(list("\"Odd, name\",b"), "'Odd, name', 'b'");
        assert_eq!(list("a;ALTER/**/ROLE/**/app"), "'a;ALTER/**/ROLE/**/app'");
    }
}
