//! E-mail providers open to the public: a domain that says nothing about who has the address.

/// Whether everybody can have an address there. `domain` is in lower case.
pub(super) fn is_public(domain: &str) -> bool {
    PUBLIC.contains(&domain)
}

const PUBLIC: [&str; 74] = [
    "126.com",
    "163.com",
    "alice.it",
    "aol.com",
    "att.net",
    "bellsouth.net",
    "bigpond.com",
    "bluewin.ch",
    "bol.com.br",
    "btinternet.com",
    "centrum.cz",
    "comcast.net",
    "cox.net",
    "daum.net",
    "docomo.ne.jp",
    "email.cz",
    "fastmail.com",
    "foxmail.com",
    "free.fr",
    "freemail.hu",
    "freenet.de",
    "gmail.com",
    "gmx.at",
    "gmx.ch",
    "gmx.com",
    "gmx.de",
    "gmx.net",
    "googlemail.com",
    "hanmail.net",
    "home.nl",
    "hotmail.co.uk",
    "hotmail.com",
    "hotmail.de",
    "hotmail.es",
    "hotmail.fr",
    "hotmail.it",
    "icloud.com",
    "inbox.lv",
    "interia.pl",
    "kpnmail.nl",
    "laposte.net",
    "libero.it",
    "live.com",
    "mac.com",
    "mail.com",
    "mail.ru",
    "me.com",
    "msn.com",
    "naver.com",
    "o2.pl",
    "onet.pl",
    "orange.fr",
    "outlook.com",
    "outlook.de",
    "outlook.fr",
    "proton.me",
    "protonmail.com",
    "qq.com",
    "rediffmail.com",
    "sbcglobal.net",
    "seznam.cz",
    "sina.com",
    "t-online.de",
    "uol.com.br",
    "verizon.net",
    "virgilio.it",
    "wanadoo.fr",
    "web.de",
    "wp.pl",
    "yahoo.co.jp",
    "yahoo.co.uk",
    "yahoo.com",
    "yandex.ru",
    "ymail.com",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_in_lower_case() {
        assert!(PUBLIC.is_sorted());
        assert!(PUBLIC.iter().all(|domain| domain.to_lowercase() == *domain));
    }

    #[test]
    fn only_a_whole_domain_counts() {
        assert!(is_public("gmail.com"));
        for private in ["acme.example", "mail.gmail.com", "gmail.com.acme.example", "xgmail.com", "gmail", ""] {
            assert!(!is_public(private), "{private}");
        }
    }
}
