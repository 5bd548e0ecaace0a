//! What the policy speaks of: objects, and what may be done to them.
//!
//! Both sets are closed: a name that is not listed here is refused wherever it enters.

use std::fmt;

use super::{Class, Invalid};

/// What may be done to an object of the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Seal a field of a class.
    Encrypt,
    /// Open a field of a class.
    Decrypt,
    /// Open a field of a class, showing only its mask.
    Mask,
    /// Move a field of a class under its newest key.
    Rewrap,
    /// Compute a blind index over values of a class.
    Index,
    /// Read policy, audit, keys, subjects or tenants.
    Read,
    /// Propose a policy change.
    Propose,
    /// Approve a policy change.
    Approve,
    /// Take a listed role in an emergency.
    Breakglass,
    /// Ask what the policy answers to another principal.
    Check,
    /// Export the audit log.
    Export,
    /// Rotate keys.
    Rotate,
    /// Retire key versions.
    Retire,
    /// Purge the root.
    Purge,
    /// Take a backup.
    Backup,
    /// Erase a subject.
    Erase,
    /// Reinstate an erased subject.
    Reinstate,
    /// Hold a subject.
    Hold,
    /// Close a subject.
    Close,
    /// Report what is held about a subject.
    Report,
    /// Create a tenant.
    Create,
    /// Destroy a tenant.
    Destroy,
}

impl Action {
    /// Every action with its name.
    pub const ALL: [(Self, &str); 22] = [
        (Self::Encrypt, "encrypt"),
        (Self::Decrypt, "decrypt"),
        (Self::Mask, "mask"),
        (Self::Rewrap, "rewrap"),
        (Self::Index, "index"),
        (Self::Read, "read"),
        (Self::Propose, "propose"),
        (Self::Approve, "approve"),
        (Self::Breakglass, "breakglass"),
        (Self::Check, "check"),
        (Self::Export, "export"),
        (Self::Rotate, "rotate"),
        (Self::Retire, "retire"),
        (Self::Purge, "purge"),
        (Self::Backup, "backup"),
        (Self::Erase, "erase"),
        (Self::Reinstate, "reinstate"),
        (Self::Hold, "hold"),
        (Self::Close, "close"),
        (Self::Report, "report"),
        (Self::Create, "create"),
        (Self::Destroy, "destroy"),
    ];

    /// Finds an action by name.
    ///
    /// # Errors
    /// [`Invalid`] if there is none of that name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .iter()
            .find_map(|(action, name)| (*name == text).then_some(*action))
            .ok_or(Invalid { rule: "an action, e.g. encrypt, decrypt, mask, index" })
    }

    /// The action's name.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find_map(|(action, name)| (*action == self).then_some(*name)).unwrap_or_default()
    }

    /// Whether this is an action on data classes, rather than on the control plane.
    pub fn is_on_data(self) -> bool {
        matches!(self, Self::Encrypt | Self::Decrypt | Self::Mask | Self::Rewrap | Self::Index)
    }

    /// The control-plane objects this action exists on (none for actions on data).
    pub fn control_objects(self) -> &'static [ControlObject] {
        use ControlObject::{Audit, Keys, Policy, Subjects, Tenants};
        match self {
            Self::Encrypt | Self::Decrypt | Self::Mask | Self::Rewrap | Self::Index => &[],
            Self::Read => &[Policy, Audit, Keys, Subjects, Tenants],
            Self::Propose | Self::Approve | Self::Breakglass | Self::Check => &[Policy],
            Self::Export => &[Audit],
            Self::Rotate | Self::Retire | Self::Purge | Self::Backup => &[Keys],
            Self::Erase | Self::Reinstate | Self::Hold | Self::Close | Self::Report => &[Subjects],
            Self::Create | Self::Destroy => &[Tenants],
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the policy governs beside data classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ControlObject {
    /// The policy itself.
    Policy,
    /// The access log.
    Audit,
    /// Keys.
    Keys,
    /// Customers.
    Subjects,
    /// Tenants.
    Tenants,
}

impl ControlObject {
    /// Every control-plane object.
    pub const ALL: [Self; 5] = [Self::Policy, Self::Audit, Self::Keys, Self::Subjects, Self::Tenants];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Audit => "audit",
            Self::Keys => "keys",
            Self::Subjects => "subjects",
            Self::Tenants => "tenants",
        }
    }
}

/// What a request wants to touch: a data class or a control-plane object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Object {
    /// A data class.
    Class(Class),
    /// A control-plane object.
    Control(ControlObject),
}

impl Object {
    /// Reads an object's name.
    ///
    /// # Errors
    /// [`Invalid`] if it is neither a class nor a control-plane object.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if let Some(object) = ControlObject::ALL.into_iter().find(|object| object.as_str() == text) {
            return Ok(Self::Control(object));
        }
        Class::parse(text)
            .map(Self::Class)
            .map_err(|_| Invalid { rule: "a class (pii/<category>/<name>) or policy, audit, keys, subjects, tenants" })
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Class(class) => class.as_str(),
            Self::Control(object) => object.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_and_their_names_are_one_to_one() {
        for (action, name) in Action::ALL {
            assert_eq!(Action::parse(name), Ok(action));
            assert_eq!(action.as_str(), name);
            assert_eq!(action.is_on_data(), action.control_objects().is_empty());
        }
    }
}
