//! When a store fails and how: decided from the call alone, so that a plan can be replayed.

use lifeboat_model::ErrorKind;

use crate::op::Op;

/// What happens to one call.
///
/// A fault that does not fit the call, such as a cut answer to a `put`, does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The call fails with this kind and does nothing.
    Fail(ErrorKind),
    /// The call does its work, but the reply is lost: a `Transient` error.
    LoseReply,
    /// A `get` or `get_range` answers with fewer bytes than there are.
    Truncate,
    /// A `get` or `get_range` answers with one bit changed.
    FlipBit,
    /// A `list` leaves out the objects that were put in the last so many calls.
    StaleList {
        /// How many calls back, of any kind, this `list` not counted.
        calls: u64,
    },
}

impl Fault {
    /// Tells whether the fault can do anything to a call of this kind.
    pub fn fits(self, op: Op) -> bool {
        match self {
            Fault::Fail(_) | Fault::LoseReply => true,
            Fault::Truncate | Fault::FlipBit => matches!(op, Op::Get | Op::GetRange),
            Fault::StaleList { .. } => op == Op::List,
        }
    }
}

/// The calls a rule counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// All.
    Any,
    /// Those of one kind.
    Of(Op),
}

/// How likely each fault is for a call it fits, from 0 to 1. They add up; beyond 1 the later ones
/// give way.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FaultRates {
    /// A `Transient` failure before anything is done.
    pub fail: f64,
    /// The reply of a call that did its work is lost.
    pub lose_reply: f64,
    /// An answer is cut.
    pub truncate: f64,
    /// An answer has one bit changed.
    pub flip_bit: f64,
    /// A listing is stale.
    pub stale_list: f64,
    /// How many calls back a stale listing forgets.
    pub stale_list_calls: u64,
}

/// Decides which calls fail, and how. Rules come first, in the order given, then chance.
#[derive(Debug, Clone, Default)]
pub struct FaultPlan {
    rules: Vec<Rule>,
    chance: Option<Chance>,
}

#[derive(Debug, Clone)]
struct Rule {
    calls: Calls,
    first: u64,
    last: u64,
    fault: Fault,
}

#[derive(Debug, Clone)]
struct Chance {
    seed: u64,
    rates: FaultRates,
}

/// What a plan knows of a call. All numbers begin at 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallFacts<'a> {
    pub(super) op: Op,
    pub(super) key: &'a str,
    /// Its number among all calls.
    pub(super) number: u64,
    /// Its number among the calls of its kind.
    pub(super) number_of_op: u64,
    /// Its number among the calls of its kind with this key.
    pub(super) number_of_key: u64,
}

impl FaultPlan {
    /// Makes the plan in which nothing fails.
    pub fn none() -> Self {
        Self::default()
    }

    /// Makes the plan of a process that dies when it makes call `number`: that call and all after
    /// it fail and do nothing.
    pub fn crash_before(number: u64) -> Self {
        Self::none().since(Calls::Any, number, Fault::Fail(ErrorKind::Failed))
    }

    /// Makes the plan of a process that dies when call `number` has done its work: nobody hears of
    /// it, and all calls after it fail and do nothing.
    pub fn crash_after(number: u64) -> Self {
        Self::none().at(Calls::Any, number, Fault::LoseReply).since(
            Calls::Any,
            number + 1,
            Fault::Fail(ErrorKind::Failed),
        )
    }

    /// Makes the plan of a store that is full from its `number`-th `put` on.
    pub fn full_since_put(number: u64) -> Self {
        let full = Fault::Fail(ErrorKind::NoSpace);
        Self::none().since(Calls::Of(Op::Put), number, full)
    }

    /// Makes the plan in which chance decides.
    ///
    /// The fate of a call follows from the seed, its kind, its key and how often that pair was
    /// called before. Calls that overtake each other therefore keep their fates, and a retry can
    /// meet a better one.
    pub fn seeded(seed: u64, rates: FaultRates) -> Self {
        Self {
            rules: Vec::new(),
            chance: Some(Chance { seed, rates }),
        }
    }

    /// Adds a fault for the `number`-th, counted from 1, of `calls`.
    #[must_use]
    pub fn at(self, calls: Calls, number: u64, fault: Fault) -> Self {
        self.rule(calls, number, number, fault)
    }

    /// Adds a fault for the `number`-th, counted from 1, of `calls` and all after it.
    #[must_use]
    pub fn since(self, calls: Calls, number: u64, fault: Fault) -> Self {
        self.rule(calls, number, u64::MAX, fault)
    }

    fn rule(mut self, calls: Calls, first: u64, last: u64, fault: Fault) -> Self {
        self.rules.push(Rule {
            calls,
            first,
            last,
            fault,
        });
        self
    }

    pub(super) fn decide(&self, call: &CallFacts<'_>) -> Option<Fault> {
        let ruled = self.rules.iter().find(|rule| rule.covers(call));
        ruled
            .map(|rule| rule.fault)
            .or_else(|| self.chance.as_ref()?.draw(call))
    }

    /// Returns a number that follows from the plan's seed and the call: which bit, how short.
    pub(super) fn detail(&self, call: &CallFacts<'_>) -> u64 {
        let seed = self.chance.as_ref().map_or(0, |chance| chance.seed);
        hash(seed, "lifeboat fault detail", call)
    }
}

impl Rule {
    fn covers(&self, call: &CallFacts<'_>) -> bool {
        let number = match self.calls {
            Calls::Any => Some(call.number),
            Calls::Of(op) if op == call.op => Some(call.number_of_op),
            Calls::Of(_) => None,
        };
        self.fault.fits(call.op)
            && number.is_some_and(|number| (self.first..=self.last).contains(&number))
    }
}

impl Chance {
    fn draw(&self, call: &CallFacts<'_>) -> Option<Fault> {
        let rates = &self.rates;
        let stale_list = Fault::StaleList {
            calls: rates.stale_list_calls,
        };
        let mut left = unit(hash(self.seed, "lifeboat fault choice", call));
        for (rate, fault) in [
            (rates.fail, Fault::Fail(ErrorKind::Transient)),
            (rates.lose_reply, Fault::LoseReply),
            (rates.truncate, Fault::Truncate),
            (rates.flip_bit, Fault::FlipBit),
            (rates.stale_list, stale_list),
        ] {
            if fault.fits(call.op) {
                if left < rate {
                    return Some(fault);
                }
                left -= rate;
            }
        }
        None
    }
}

/// Spreads a hash over 0 to 1, 1 left out.
fn unit(hash: u64) -> f64 {
    // An f64 holds 53 bits exactly.
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

fn hash(seed: u64, purpose: &str, call: &CallFacts<'_>) -> u64 {
    let mut hasher = blake3::Hasher::new_derive_key(purpose);
    hasher.update(&seed.to_le_bytes());
    hasher.update(&call.number_of_key.to_le_bytes());
    hasher.update(call.op.to_string().as_bytes());
    hasher.update(b" ");
    hasher.update(call.key.as_bytes());
    let mut first = [0; 8];
    hasher.finalize_xof().fill(&mut first);
    u64::from_le_bytes(first)
}
