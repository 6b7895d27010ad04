//! A look ahead of a refresh, by the same checks that the run begins with. Changes nothing.

use lifeboat_config::Environment;
use lifeboat_repository::Role;
use serde::Serialize;

use super::{RefreshPlan, Way, database, file, folder};
use crate::error::OperationError;
use crate::place::Opened;
use crate::session::Session;

/// What a look ahead of a refresh found sound, and what only the run can tell.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Preflight {
    /// What was looked at, a line each.
    pub checked: Vec<String>,
    /// What was not, a line each.
    pub left_to_run: Vec<String>,
}

impl Preflight {
    pub(super) fn checked(&mut self, what: impl Into<String>) {
        self.checked.push(what.into());
    }

    pub(super) fn left_to_run(&mut self, what: impl Into<String>) {
        self.left_to_run.push(what.into());
    }

    /// Says that the columns which the rules are for are not at hand.
    pub(super) fn rules_alone(&mut self) {
        self.checked("the rules and their key");
        self.left_to_run(
            "whether the rules fit the columns: the snapshot must be restored for that",
        );
    }
}

impl Session {
    /// Looks for what a refresh would refuse before it does anything dear: its target, the rules and
    /// their key, the key that keeps the copy. Changes nothing.
    ///
    /// # Errors
    /// Fails as the refresh would.
    pub async fn preflight_refresh(
        &self,
        environment: &Environment,
        plan: &RefreshPlan,
    ) -> Result<Preflight, OperationError> {
        let home = self.open_region_for(environment, &environment.home).await?;
        self.can_keep(environment, plan, &home).await?;
        let mut found = match &plan.way {
            Way::File { target, .. } => file::preflight(self, plan, target)?,
            Way::Folder { target, .. } => folder::preflight(self, plan, target)?,
            Way::Database(way) => {
                database::preflight(self, environment, (plan, way), &home).await?
            }
        };
        if plan.way.makes_copy() {
            found.checked(format!(
                "region `{}` and the key that keeps the copy",
                home.region
            ));
        }
        Ok(found)
    }

    /// Makes sure, before anything is masked, that there is a key which can keep the copy.
    pub(super) async fn can_keep(
        &self,
        environment: &Environment,
        plan: &RefreshPlan,
        home: &Opened,
    ) -> Result<(), OperationError> {
        if plan.way.makes_copy() {
            let opening = self.open_repository(environment, home, Role::Writer);
            opening.await?;
        }
        Ok(())
    }
}
