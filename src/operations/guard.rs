//! The guard: how many different customers each principal has reached in this minute, hour and day, against the budgets of the
//! policy.
//!
//! It is asked after the policy has allowed and before any key is looked for, so what it refuses depends on no customer's data.
//! Whoever asks again for a customer it has reached in the same stretch spends nothing. What is found missing, erased or
//! forged counts as reached: probing is what budgets are against. A blind index that is computed counts as a customer, since
//! that is what it finds.
//!
//! Minutes, hours and days are those of the process: a clock that is wrong neither opens them nor holds them. So are the counts: a
//! restart begins new ones. An answer that went stale and was made again spends once.
//!
//! INVARIANT: a principal's account holds at most its day's budget of ids, and all accounts together [`REACHED_MAX`]; past that
//! nothing new is reached.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::FieldError;
use crate::{catalogue::Budget, id::Principal};

/// How many ids all accounts hold together; about 48 bytes each.
const REACHED_MAX: usize = 4_000_000;

const MINUTE_SECS: u64 = 60;
const HOUR_SECS: u64 = 3_600;
const DAY_SECS: u64 = 86_400;

/// Every principal's account of this day.
#[derive(Default)]
pub struct Guard {
    today: Mutex<Today>,
    reached: Arc<AtomicUsize>,
}

#[derive(Default)]
struct Today {
    day: u64,
    accounts: HashMap<Principal, Arc<Mutex<Account>>>,
}

/// What one principal has reached today.
struct Account {
    /// By id: the last minute in which it was reached.
    reached: HashMap<[u8; 16], u64>,
    minute: Count,
    hour: Count,
    day: u32,
    total: Arc<AtomicUsize>,
}

/// How many were reached in the stretch of this number.
#[derive(Default)]
struct Count {
    number: u64,
    reached: u32,
}

impl Guard {
    /// A principal's account, for spending at `now_secs` (of the monotonic clock) within `budget`; without one, nothing is counted.
    pub(super) fn account(&self, principal: &Principal, budget: Option<Budget>, now_secs: u64) -> Spending {
        let account = budget.map(|budget| (self.of_today(principal, now_secs / DAY_SECS), budget));
        Spending { account, now_secs }
    }

    fn of_today(&self, principal: &Principal, day: u64) -> Arc<Mutex<Account>> {
        let mut today = lock(&self.today);
        if today.day < day {
            *today = Today { day, accounts: HashMap::new() };
        }
        if let Some(account) = today.accounts.get(principal) {
            return Arc::clone(account);
        }
        let account = Arc::new(Mutex::new(Account {
            reached: HashMap::new(),
            minute: Count::default(),
            hour: Count::default(),
            day: 0,
            total: Arc::clone(&self.reached),
        }));
        today.accounts.insert(principal.clone(), Arc::clone(&account));
        account
    }
}

/// One request's spending.
pub(super) struct Spending {
    account: Option<(Arc<Mutex<Account>>, Budget)>,
    now_secs: u64,
}

impl Spending {
    /// Reaches a customer, known by its tag or by a blind index.
    ///
    /// # Errors
    /// The stretch in which the budget is spent; then nothing was.
    pub(super) fn spend(&self, id: [u8; 16]) -> Result<(), FieldError> {
        match &self.account {
            Some((account, budget)) => lock(account).spend(id, *budget, self.now_secs),
            None => Ok(()),
        }
    }
}

impl Account {
    fn spend(&mut self, id: [u8; 16], budget: Budget, now_secs: u64) -> Result<(), FieldError> {
        let (minute, hour) = (now_secs / MINUTE_SECS, now_secs / HOUR_SECS);
        self.minute.turn_to(minute);
        self.hour.turn_to(hour);
        // Requests come here in any order within the second: an older reading belongs to the stretch that has begun.
        let minute = self.minute.number;
        let entry = self.reached.entry(id);
        let last = match &entry {
            Entry::Occupied(known) => Some(*known.get()),
            Entry::Vacant(_) => None,
        };
        let is_new_in_minute = last != Some(minute);
        let is_new_in_hour = last.is_none_or(|last| last / (HOUR_SECS / MINUTE_SECS) != self.hour.number);
        if is_new_in_minute && self.minute.reached >= budget.minute {
            return Err(FieldError::OVER_MINUTE);
        }
        if is_new_in_hour && self.hour.reached >= budget.hour {
            return Err(FieldError::OVER_HOUR);
        }
        if last.is_none() {
            if self.day >= budget.day || self.total.load(Ordering::Relaxed) >= REACHED_MAX {
                return Err(FieldError::OVER_DAY);
            }
            self.total.fetch_add(1, Ordering::Relaxed);
            self.day += 1;
        }
        self.minute.reached += u32::from(is_new_in_minute);
        self.hour.reached += u32::from(is_new_in_hour);
        entry.insert_entry(minute);
        Ok(())
    }
}

impl Count {
    fn turn_to(&mut self, number: u64) {
        if self.number < number {
            *self = Self { number, reached: 0 };
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.total.fetch_sub(self.reached.len(), Ordering::Relaxed);
    }
}

/// A panic while counting leaves counts that are right or too high.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const BUDGET: Budget = Budget { minute: 2, hour: 3, day: 4 };
    /// The first second of a day.
    const DAY: u64 = 20_000 * DAY_SECS;

    fn who(name: &str) -> Principal {
        Principal::parse(&format!("spiffe://a/{name}")).unwrap()
    }

    fn id(n: u32) -> [u8; 16] {
        u128::from(n).to_be_bytes()
    }

    fn spend(guard: &Guard, name: &str, n: u32, now: u64) -> Result<(), FieldError> {
        guard.account(&who(name), Some(BUDGET), now).spend(id(n))
    }

    #[test]
    fn each_stretch_has_its_own_budget_of_different_customers() {
        let guard = Guard::default();
        let ask = |n, now| spend(&guard, "jo", n, DAY + now);
        assert_eq!(
            [ask(1, 0), ask(2, 0), ask(1, 59), ask(3, 59)],
            [Ok(()), Ok(()), Ok(()), Err(FieldError::OVER_MINUTE)]
        );
        assert_eq!([ask(3, 60), ask(4, 61), ask(1, 61)], [Ok(()), Err(FieldError::OVER_HOUR), Ok(())]);
        assert_eq!([ask(4, 3_600), ask(5, 3_600)], [Ok(()), Err(FieldError::OVER_DAY)]);
        assert_eq!([ask(1, 86_399), ask(5, 86_399), ask(5, 86_400)], [Ok(()), Err(FieldError::OVER_DAY), Ok(())]);
    }

    #[test]
    fn a_customer_known_from_before_counts_again_in_a_new_minute_and_hour() {
        let guard = Guard::default();
        let ask = |n, now| spend(&guard, "jo", n, DAY + now);
        assert_eq!([ask(1, 0), ask(2, 0), ask(3, 60)], [Ok(()); 3]);
        assert_eq!([ask(1, 60), ask(2, 60)], [Ok(()), Err(FieldError::OVER_MINUTE)]);
        assert_eq!([ask(1, 3_600), ask(2, 3_600), ask(3, 3_600)], [Ok(()), Ok(()), Err(FieldError::OVER_MINUTE)]);
        assert_eq!([ask(3, 3_660), ask(4, 3_720)], [Ok(()), Err(FieldError::OVER_HOUR)]);
    }

    #[test]
    fn nobody_spends_from_the_account_of_another() {
        let guard = Guard::default();
        assert_eq!([spend(&guard, "jo", 1, DAY), spend(&guard, "jo", 2, DAY)], [Ok(()); 2]);
        assert_eq!(spend(&guard, "jo", 3, DAY), Err(FieldError::OVER_MINUTE));
        assert_eq!(spend(&guard, "kim", 3, DAY), Ok(()));
        assert_eq!(guard.account(&who("jo"), None, DAY).spend(id(3)), Ok(()));
    }

    #[test]
    fn a_clock_that_reads_less_opens_no_stretch_again() {
        let guard = Guard::default();
        let now = DAY + 2 * HOUR_SECS;
        assert_eq!([spend(&guard, "jo", 1, now), spend(&guard, "jo", 2, now)], [Ok(()); 2]);
        for back in [1, 60, 3_600, 86_400] {
            assert_eq!(spend(&guard, "jo", 3, now - back), Err(FieldError::OVER_MINUTE), "{back}");
        }
    }

    #[test]
    fn a_new_day_gives_back_the_memory_of_the_last() {
        let guard = Guard::default();
        assert_eq!([spend(&guard, "jo", 1, DAY), spend(&guard, "kim", 1, DAY)], [Ok(()); 2]);
        assert_eq!(guard.reached.load(Ordering::Relaxed), 2);
        assert_eq!(spend(&guard, "jo", 1, DAY + DAY_SECS), Ok(()));
        assert_eq!(guard.reached.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn when_all_accounts_are_full_nothing_new_is_reached() {
        let guard = Guard::default();
        assert_eq!(spend(&guard, "jo", 1, DAY), Ok(()));
        guard.reached.store(REACHED_MAX, Ordering::Relaxed);
        assert_eq!([spend(&guard, "jo", 2, DAY), spend(&guard, "jo", 1, DAY)], [Err(FieldError::OVER_DAY), Ok(())]);
    }

    proptest! {
        /// However requests come, no stretch ever holds more different customers than its budget, and nobody is refused
        /// while every stretch has room.
        #[test]
        fn no_stretch_holds_more_than_its_budget(steps in prop::collection::vec((0u32..6, 0u64..1_500), 1..200)) {
            let guard = Guard::default();
            let mut now = DAY;
            let mut reached: HashMap<(u64, u64), HashSet<u32>> = HashMap::new();
            for (n, wait) in steps {
                now += wait;
                let room = |reached: &HashMap<(u64, u64), HashSet<u32>>| {
                    [(MINUTE_SECS, BUDGET.minute), (HOUR_SECS, BUDGET.hour), (DAY_SECS, BUDGET.day)].iter().all(|(secs, max)| {
                        let known = reached.get(&(*secs, now / secs));
                        known.is_none_or(|known| known.contains(&n) || known.len() < *max as usize)
                    })
                };
                let expected = room(&reached);
                prop_assert_eq!(spend(&guard, "jo", n, now).is_ok(), expected);
                if expected {
                    for secs in [MINUTE_SECS, HOUR_SECS, DAY_SECS] {
                        reached.entry((secs, now / secs)).or_default().insert(n);
                    }
                }
            }
        }
    }
}
