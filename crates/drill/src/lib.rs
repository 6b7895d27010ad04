//! Restore drills: scenarios, phase clock, checks, verdict, evidence.
