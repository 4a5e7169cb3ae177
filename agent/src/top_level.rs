//! Which labels are top-level domains of the public DNS.

/// Every top-level domain, one per line and sorted; docs/CONFIGURATION.md says from where and when.
const LIST: &str = include_str!("top_level.txt");

/// Whether a namespace of this name is a top-level domain.
pub fn is_top_level(label: &str) -> bool {
    lines().binary_search(&label).is_ok()
}

/// The lines of the list.
fn lines() -> &'static [&'static str] {
    static LINES: std::sync::OnceLock<Vec<&'static str>> = std::sync::OnceLock::new();
    LINES.get_or_init(|| LIST.lines().filter(|line| !line.starts_with('#')).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_top_level_domains() {
        assert!(lines().is_sorted());
        assert!(lines().len() > 1400);
        assert!(lines().iter().all(|line| crate::parse::label(line).is_ok()));
        for label in ["com", "dev", "app", "zw", "xn--p1ai", "aaa", "ck"] {
            assert!(is_top_level(label), "{label}");
        }
        for label in ["shop", "kube-system", "local", "internal", "co.uk", "", "#"] {
            assert_eq!(is_top_level(label), label == "shop", "{label}");
        }
    }
}
