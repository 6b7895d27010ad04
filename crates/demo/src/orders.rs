//! Orders and the payments that cover them.

use jiff::{SignedDuration, Timestamp};
use rand::RngExt;

use crate::numbers::card;
use crate::people::moment;

/// One row of `orders`, without the customer's part.
pub(crate) struct Order {
    pub(crate) status: &'static str,
    pub(crate) total_cents: i64,
    pub(crate) placed_at: Timestamp,
}

/// One row of `payments`, without the order's part.
pub(crate) struct Payment {
    pub(crate) method: &'static str,
    pub(crate) card_number: Option<String>,
    pub(crate) amount_cents: i64,
    pub(crate) paid_at: Timestamp,
}

impl Order {
    /// Draws an order placed between `since` and `now`.
    pub(crate) fn draw_past(rng: &mut impl RngExt, since: Timestamp, now: Timestamp) -> Self {
        let status = match rng.random_range(0..100) {
            0..5 => "pending",
            5..15 => "cancelled",
            15..21 => "paid",
            21..29 => "shipped",
            _ => "delivered",
        };
        Self {
            status,
            total_cents: total_cents(rng),
            placed_at: moment(rng, since, now),
        }
    }

    /// Draws an order that is placed and paid at `now`.
    pub(crate) fn draw_paid(rng: &mut impl RngExt, now: Timestamp) -> Self {
        Self {
            status: "paid",
            total_cents: total_cents(rng),
            placed_at: now,
        }
    }

    /// Draws the payments that make [`crate::INVARIANT_SQL`] hold for this order.
    pub(crate) fn payments(&self, rng: &mut impl RngExt, now: Timestamp) -> Vec<Payment> {
        match self.status {
            "pending" | "cancelled" => Vec::new(),
            _ => cover(rng, self.total_cents, self.placed_at, now),
        }
    }
}

/// Draws payments over `total_cents`, made soon after `placed_at` but not after `now`.
///
/// One in thirty customers pays a part with a voucher.
pub(crate) fn cover(
    rng: &mut impl RngExt,
    total_cents: i64,
    placed_at: Timestamp,
    now: Timestamp,
) -> Vec<Payment> {
    let wait = SignedDuration::from_secs(rng.random_range(5..7_200));
    let paid_at = (placed_at + wait).min(now);
    let voucher_cents = if rng.random_ratio(1, 30) && total_cents > 2_000 {
        1_000
    } else {
        0
    };
    let by_card = rng.random_ratio(9, 10);
    let mut payments = vec![Payment {
        method: if by_card { "card" } else { "transfer" },
        card_number: by_card.then(|| card(rng)),
        amount_cents: total_cents - voucher_cents,
        paid_at,
    }];
    if voucher_cents > 0 {
        payments.push(Payment {
            method: "voucher",
            card_number: None,
            amount_cents: voucher_cents,
            paid_at,
        });
    }
    payments
}

/// Draws a basket's price: mostly small, now and then large.
fn total_cents(rng: &mut impl RngExt) -> i64 {
    let small = rng.random_range(499..9_999);
    if rng.random_ratio(1, 12) {
        small * 8
    } else {
        small
    }
}
