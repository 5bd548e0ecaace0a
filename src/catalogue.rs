//! The catalogue: which personal data there is, why it may be touched, which roles there are, who is behind which
//! principals, and how many customers each may reach.
//!
//! Every class, purpose and role that a policy or a request names must be listed here; what isn't, does not exist. So a
//! mistyped name is an error when the policy is loaded, and never a rule that silently matches nothing.
//!
//! INVARIANT: classes of one category agree on their retention, because a category is one key, and erasing is destroying it.

mod budget;
mod file;
mod problem;

use std::{collections::HashMap, sync::Arc};

pub use budget::{Budget, Budgets, least};
pub(crate) use file::toml_problem;
pub use problem::Problem;
pub(crate) use problem::line_at;

use crate::id::{Category, Class, PersonId, Principal, Purpose, Role};

/// The purpose of whatever is done to control-plane objects.
pub const OPERATE: &str = "operate";

/// The longest value that any class may allow, in bytes.
pub const VALUE_BYTES_MAX: usize = 65_536;

/// The longest catalogue file, in bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;

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

impl Kind {
    /// Every kind with its name in the file.
    pub const ALL: [(Self, &str); 11] = [
        (Self::Name, "name"),
        (Self::Address, "address"),
        (Self::Timezone, "timezone"),
        (Self::Ip, "ip"),
        (Self::Email, "email"),
        (Self::Phone, "phone"),
        (Self::TaxId, "tax-id"),
        (Self::Payment, "payment"),
        (Self::Usage, "usage"),
        (Self::Geolocation, "geolocation"),
        (Self::Text, "text"),
    ];
}

/// When the retention clock of a category starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RetentionStart {
    /// When the subject is closed.
    Closure,
    /// When a value is sealed.
    Seal,
}

/// How long a category is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Retention {
    /// When the clock starts.
    pub from: RetentionStart,
    /// How many days later the category's key is due to be destroyed.
    pub days: u32,
}

/// How long one version of a key seals for a category that is kept from seal on, in seconds: then those values go with it.
const MONTH_SECS: u64 = 30 * DAY_SECS;
const DAY_SECS: u64 = 86_400;

impl Retention {
    /// How long a version of the category's key seals, in seconds; `None`: as long as any.
    pub fn seals_for_secs(self) -> Option<u64> {
        match self.from {
            RetentionStart::Closure => None,
            RetentionStart::Seal => Some(MONTH_SECS),
        }
    }

    /// When a category is due to be erased of a subject that was closed, both since 1970; `None`: closing starts no clock.
    pub fn due_after_closure(self, closed_unix_secs: u64) -> Option<u64> {
        match self.from {
            RetentionStart::Closure => Some(closed_unix_secs.saturating_add(self.secs())),
            RetentionStart::Seal => None,
        }
    }

    /// When a version of the category's key is due to be destroyed, since 1970: the last value that it may have sealed was kept for
    /// its time then. `None`: sealing starts no clock.
    pub fn due_after_seal(self, created_unix_secs: u64) -> Option<u64> {
        match self.from {
            RetentionStart::Closure => None,
            RetentionStart::Seal => Some(created_unix_secs.saturating_add(MONTH_SECS).saturating_add(self.secs())),
        }
    }

    fn secs(self) -> u64 {
        u64::from(self.days) * DAY_SECS
    }
}

/// One class of personal data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassSpec {
    /// Its name.
    pub class: Class,
    /// Its category: the unit of key, retention and erasure.
    pub category: Category,
    /// What kind of value it holds, which decides mask and normaliser.
    pub kind: Kind,
    /// The longest value, in bytes; at most [`VALUE_BYTES_MAX`].
    pub max_bytes: usize,
    /// How long it is kept; the same throughout its category.
    pub retention: Retention,
    /// What it is, for people.
    pub about: String,
}

/// One purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurposeSpec {
    /// Its name.
    pub purpose: Purpose,
    /// What it is, for people.
    pub about: String,
}

/// One role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleSpec {
    /// Its name, with `role:`.
    pub role: Role,
    /// What it is, for people.
    pub about: String,
    /// Whether a principal with the `breakglass` action may give it to itself for a while.
    pub emergency: bool,
}

/// One person.
///
/// What two must do is done by two of these, never by two principals of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonSpec {
    /// Its name.
    pub id: PersonId,
    /// Every principal it acts as, in the order of the file; no other person acts as one of them.
    pub principals: Vec<Principal>,
}

/// Every class, purpose, role and person there is. Look-ups by text allocate nothing.
#[derive(Debug, Default)]
pub struct Catalogue {
    classes: Vec<Arc<ClassSpec>>,
    purposes: Vec<PurposeSpec>,
    roles: Vec<RoleSpec>,
    class_by_name: HashMap<Class, Arc<ClassSpec>>,
    purpose_by_name: HashMap<Purpose, usize>,
    role_by_name: HashMap<Role, usize>,
    persons: Vec<PersonSpec>,
    person_by_principal: HashMap<Principal, usize>,
    budgets: Budgets,
}

impl Catalogue {
    /// Reads a catalogue file; `file_name` is how problems name it.
    ///
    /// # Errors
    /// Every [`Problem`] found, in the order of lines; for text that is not TOML of the right shape, the first.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Vec<Problem>> {
        file::parse(file_name, text)
    }

    /// A class by name.
    pub fn class(&self, name: &str) -> Option<&Arc<ClassSpec>> {
        self.class_by_name.get(name)
    }

    /// Every class, in the order of the file.
    pub fn classes(&self) -> impl Iterator<Item = &Arc<ClassSpec>> {
        self.classes.iter()
    }

    /// A purpose by name.
    pub fn purpose(&self, name: &str) -> Option<&Purpose> {
        self.purpose_by_name.get_key_value(name).map(|(purpose, _)| purpose)
    }

    /// Every purpose, in the order of the file.
    pub fn purposes(&self) -> impl Iterator<Item = &PurposeSpec> {
        self.purposes.iter()
    }

    /// A role by name, with `role:`.
    pub fn role(&self, name: &str) -> Option<&RoleSpec> {
        self.role_by_name.get(name).and_then(|at| self.roles.get(*at))
    }

    /// Every role, in the order of the file.
    pub fn roles(&self) -> impl Iterator<Item = &RoleSpec> {
        self.roles.iter()
    }

    /// The person behind a principal, if it is listed.
    pub fn person_of(&self, principal: &Principal) -> Option<&PersonSpec> {
        self.person_by_principal.get(principal).and_then(|at| self.persons.get(*at))
    }

    /// Every person, in the order of the file.
    pub fn persons(&self) -> impl Iterator<Item = &PersonSpec> {
        self.persons.iter()
    }

    /// How many customers may be reached.
    pub fn budgets(&self) -> &Budgets {
        &self.budgets
    }

    /// Whether any class is of this category.
    pub fn has_category(&self, name: &str) -> bool {
        self.classes.iter().any(|spec| spec.category.as_str() == name)
    }

    /// How long a category is kept.
    pub fn retention(&self, category: &str) -> Option<Retention> {
        self.classes.iter().find(|spec| spec.category.as_str() == category).map(|spec| spec.retention)
    }
}
