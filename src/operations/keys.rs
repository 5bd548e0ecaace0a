//! The life of subject keys: what there is, new versions, and the end of old ones. No key is shown.

pub mod retire;
pub mod rotate;
pub mod status;
