//! The whole service over real mTLS on real sled: what it answers, what it refuses, and what its log then says.

mod fields;
mod guard;
mod keys;
mod moments;
mod policy;
mod provable;
mod refusals;
mod retention;
mod subjects;
mod tenants;
mod why;
