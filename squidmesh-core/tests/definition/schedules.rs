//! The rules about cron triggers.

use schemars::JsonSchema;
use squidmesh_core::definition::DefinitionError as E;
use squidmesh_core::{Field, Trigger};

use crate::declared::{chain, errors};

/// A payload without defaults.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is looked at")]
struct Night {
    date: String,
}

#[test]
fn a_cron_trigger_needs_a_valid_expression() {
    for expression in
        ["", "  ", "* * * *", "61 * * * *", "0 3 * * * Europe/Berlin", "every day", "* * * * *\n*", "0 0 30 2 *"]
    {
        let found = errors(chain().trigger(Trigger::cron("nightly").expression(expression).time_zone("UTC")));
        assert!(
            matches!(found.as_slice(), [E::InvalidCronExpression { trigger, .. }] if trigger == "nightly"),
            "{expression:?}: {found:?}"
        );
    }
    assert!(chain().trigger(Trigger::cron("c").expression("0 3 * * 1-5").time_zone("UTC")).build().is_ok());
}

#[test]
fn a_cron_trigger_needs_a_known_time_zone() {
    for time_zone in ["", "Europe/Atlantis", "+01:00", "../etc/passwd"] {
        let found = errors(chain().trigger(Trigger::cron("nightly").expression("0 3 * * *").time_zone(time_zone)));
        let (trigger, time_zone) = ("nightly".to_owned(), time_zone.to_owned());
        assert_eq!(found, [E::InvalidTimeZone { trigger, time_zone }]);
    }
    assert!(chain().trigger(Trigger::cron("c").expression("0 3 * * *").time_zone("Europe/Berlin")).build().is_ok());
}

#[test]
fn a_cron_trigger_takes_no_payload_without_defaults() {
    let cron = || Trigger::cron("nightly").expression("0 3 * * *").time_zone("UTC");
    for trigger in [cron().field(Field::string("day")), cron().payload::<Night>()] {
        let found = errors(chain().trigger(trigger));
        assert!(
            matches!(found.as_slice(), [E::CronPayloadWithoutDefaults { trigger, .. }] if trigger == "nightly"),
            "{found:?}"
        );
    }
    let filled = cron().field(Field::string("day").default_today()).field(Field::integer("limit").optional());
    assert!(chain().trigger(filled).build().is_ok());
}

#[test]
fn a_manual_trigger_has_no_schedule() {
    let found = errors(chain().trigger(Trigger::manual("t").time_zone("UTC")));
    assert_eq!(found, [E::CronOptionOnManualTrigger { trigger: "t".to_owned(), option: "time_zone" }]);
}
