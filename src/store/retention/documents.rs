//! What may be about a person in the feeds beside HasOffers: by when it came, because a time that others tell may be missing or
//! wrong.
//!
//! A conversion of Everflow is what its versions come to: these are blanked, and laid over each other again.

use super::blanks::{Blanking, Target, Then, columns};
use super::marks::Whose;
use super::{Run, midnight};
use crate::formats::everflow::fields::{personal_of_clicks, personal_of_conversions};
use crate::formats::everflow::tables::CONVERSIONS;
use crate::formats::recurly;
use crate::formats::value::Day;
use crate::store::connection::quote_literal;
use crate::store::fault::Fault;

impl Run<'_> {
    /// Blanks what came before this day.
    pub(super) async fn blank_documents(
        &mut self,
        before: Day,
        keep: &[String],
    ) -> Result<(), Fault> {
        let blanking = self.blanking(Whose::Documents, before, keep).await?;
        let targets = targets(&blanking, keep);
        self.blank_all(targets, blanking).await
    }
}

fn targets(blanking: &Blanking, keep: &[String]) -> Vec<Target> {
    let unseen = match blanking.mark.complete_before {
        None => "true".to_owned(),
        Some(complete) => format!("t.received_at >= {}", midnight(complete)),
    };
    let before = midnight(blanking.before);
    let old = format!("{unseen} and t.received_at < {before}");
    let variants = format!("t.event_type in ('click_variant', 'impression_variant') and {old}");
    // What comes late for a conversion is as old as that. Of what comes all the time the run would find no end.
    let versions = format!(
        "{unseen} and t.received_at < {began}::timestamptz and (t.received_at < {before} or exists (
             select from everflow_conversions c
             where c.network_id = t.network_id and c.conversion_id = t.conversion_id and c.received_at < {before}
         ))",
        began = quote_literal(&blanking.began),
    );
    let clicks = columns(personal_of_clicks(), keep);
    let conversions = columns(personal_of_conversions(), keep);
    let usages = columns(recurly::event::personal(), keep);
    vec![
        Target::of_columns("everflow_clicks", &old, &clicks),
        Target::of_columns("everflow_impressions", &old, &clicks),
        Target::of_members("everflow_other", "body", &variants, &clicks),
        Target {
            then: Then::Lay(&CONVERSIONS),
            ..Target::of_members(
                "everflow_conversion_versions",
                "content",
                &versions,
                &conversions,
            )
        },
        Target::of_columns("recurly_usage_events", &old, &usages),
    ]
}
