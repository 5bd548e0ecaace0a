//! The catalogue.

/// What kind of value a class holds: it decides how the value is normalised for a blind index and how it is masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A person's name.
    Name,
    /// A postal address.
    Address,
    /// An IANA time zone.
    Timezone,
    /// An IPv4 or IPv6 address.
    Ip,
    /// An e-mail address.
    Email,
    /// A telephone number.
    Phone,
    /// A tax id.
    TaxId,
    /// A card number or a bank account number.
    Payment,
    /// How a service was used.
    Usage,
    /// A place on the earth.
    Geolocation,
    /// Any other text.
    Text,
}
