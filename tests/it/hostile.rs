//! What the world does to a server – kills, power cuts, slow and full disks, clients that hang up – and what must hold all
//! the same: nothing acknowledged is lost, nothing happens without its record, nothing readable is left behind.

mod broken;
mod canary;
mod cancel;
mod coverage;
mod crash;
mod erased;
mod flipped;
mod halves;
mod left;
mod load;
mod power;
mod revoked;
mod scan;
mod scarce;
mod sealing;
mod site;
mod slow;
mod unwritable;
mod whole;
