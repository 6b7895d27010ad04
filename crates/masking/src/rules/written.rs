//! How names are written in a rule file, so that what messages propose can be pasted.

/// Returns `name` as a TOML key: bare where that is allowed, otherwise quoted.
pub(crate) fn key(name: &str) -> String {
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.bytes().all(bare) {
        return name.to_owned();
    }
    string(name)
}

/// Returns `text` as a TOML basic string, escaped and with its quotes.
pub(crate) fn string(text: &str) -> String {
    let mut written = String::with_capacity(text.len() + 2);
    written.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => written.extend(['\\', c]),
            '\n' => written.push_str("\\n"),
            '\r' => written.push_str("\\r"),
            '\t' => written.push_str("\\t"),
            c if c.is_control() => written.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => written.push(c),
        }
    }
    written.push('"');
    written
}

/// Returns the header below which the columns of `table` have their rules.
pub(crate) fn columns_header(table: &str) -> String {
    format!("[table.{}.columns]", key(table))
}

#[cfg(test)]
mod tests {
    use lifeboat_document::parse;
    use lifeboat_model::Problems;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_names_that_need_it_are_quoted() {
        assert_eq!(key("user_id-2"), "user_id-2");
        assert_eq!(key("first name"), "\"first name\"");
        assert_eq!(
            columns_header("public.users"),
            "[table.\"public.users\".columns]"
        );
    }

    proptest! {
        #[test]
        fn every_name_reads_back_as_it_was(name in any::<String>()) {
            let mut problems = Problems::new();
            let text = format!("{} = {}\n", key(&name), string(&name));
            let table = parse("r.toml", &text, &mut problems);
            prop_assert!(problems.is_empty(), "{problems}");
            let (_, node) = table.get(&name).expect("the key reads back");
            prop_assert_eq!(&node.value, &lifeboat_document::Value::String(name));
        }
    }
}
