//! What the kinds of compute resources differ in, one row each: type, names, identities, what asks for tokens.
//!
//! A further kind is a row here, its `Manner` in `wire/src/arm/compute.rs`, and a file of its own where it has more.

use serde::{Deserialize, Serialize};

use super::PowerState;
use super::attachment::EndpointKind;
use crate::directory::identity_block::{
    IdentityBlockError, IdentityRequest, IdentityType, MapEntry,
};
use crate::resources::ResourceError;

/// What kind of resource runs the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ComputeKind {
    /// Microsoft.Compute/virtualMachines.
    VirtualMachine,
    /// Microsoft.Web/sites: App Service and Functions.
    Site,
    /// Microsoft.Compute/virtualMachineScaleSets.
    ScaleSet,
    /// Microsoft.Web/sites/slots: a site beside a site, with identities of its own.
    Slot,
    /// Microsoft.ContainerService/managedClusters: AKS. Its nodes are scale sets in a group of its own.
    ManagedCluster,
    /// Microsoft.HybridCompute/machines: servers outside Azure, by Arc.
    ArcMachine,
    /// Microsoft.App/containerApps.
    ContainerApp,
}

/// A row: how resources of a kind behave.
#[derive(Debug)]
struct Rules {
    resource_type: &'static str,
    name: NameRule,
    part_of: Option<ComputeKind>,
    identity: IdentityRule,
    without_identity: WithoutIdentity,
    runs: Runs,
    /// Whether what was just made runs.
    made: PowerState,
}

/// Which identities a kind may have.
#[derive(Debug)]
struct IdentityRule {
    types: &'static [IdentityType],
    /// How many user-assigned ones there have to be where the type has any.
    user_assigned_exactly: Option<usize>,
}

/// Which names a kind has, besides letters and digits. Source: Azure naming rules.
#[derive(Debug)]
struct NameRule {
    chars_min: usize,
    chars_max: usize,
    /// What may stand among letters and digits.
    marks: &'static str,
    letters: Letters,
    unique: Unique,
}

/// Which letters a name may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Letters {
    /// Every letter, in either case.
    Any,
    /// Those from `a` to `z`, of which one has to be the first.
    Small,
}

/// Where there is only one resource of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unique {
    /// In its group, or the resource that it is a part of.
    WhereItIs,
    /// Everywhere: the name is part of a host name.
    Everywhere,
}

/// What a PUT without an `identity` member does to the identities that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WithoutIdentity {
    /// They stay.
    Keeps,
    /// They go, as everything that a PUT does not name.
    Removes,
}

/// What of a resource asks for tokens, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Runs {
    /// The resource itself.
    Itself(EndpointKind),
    /// Its instances.
    Instances(EndpointKind),
    /// Nothing that keycard has a local endpoint for.
    Nothing,
}

/// Of virtual machines and sets of them.
const MACHINE_NAME: NameRule = NameRule { chars_min: 1, chars_max: 64, marks: "-_.", ..ANY_NAME };

const ANY_NAME: NameRule = NameRule {
    chars_min: 1,
    chars_max: 0,
    marks: "",
    letters: Letters::Any,
    unique: Unique::WhereItIs,
};

const EVERY_IDENTITY: IdentityRule = IdentityRule {
    types: &[
        IdentityType::None,
        IdentityType::SystemAssigned,
        IdentityType::UserAssigned,
        IdentityType::SystemAndUserAssigned,
    ],
    user_assigned_exactly: None,
};

const VIRTUAL_MACHINE: Rules = Rules {
    resource_type: "Microsoft.Compute/virtualMachines",
    name: MACHINE_NAME,
    part_of: None,
    identity: EVERY_IDENTITY,
    without_identity: WithoutIdentity::Keeps,
    runs: Runs::Itself(EndpointKind::Imds),
    made: PowerState::Running,
};

const SITE: Rules = Rules {
    resource_type: "Microsoft.Web/sites",
    name: NameRule {
        chars_min: 2,
        chars_max: 60,
        marks: "-",
        unique: Unique::Everywhere,
        ..ANY_NAME
    },
    part_of: None,
    identity: EVERY_IDENTITY,
    without_identity: WithoutIdentity::Removes,
    runs: Runs::Itself(EndpointKind::AppService),
    made: PowerState::Running,
};

const SCALE_SET: Rules = Rules {
    resource_type: "Microsoft.Compute/virtualMachineScaleSets",
    name: MACHINE_NAME,
    part_of: None,
    identity: EVERY_IDENTITY,
    without_identity: WithoutIdentity::Keeps,
    runs: Runs::Instances(EndpointKind::Imds),
    made: PowerState::Running,
};

const SLOT: Rules = Rules {
    resource_type: "Microsoft.Web/sites/slots",
    name: NameRule { chars_min: 2, chars_max: 59, marks: "-", ..ANY_NAME },
    part_of: Some(ComputeKind::Site),
    ..SITE
};

const MANAGED_CLUSTER: Rules = Rules {
    resource_type: "Microsoft.ContainerService/managedClusters",
    name: NameRule { chars_min: 1, chars_max: 63, marks: "-_", ..ANY_NAME },
    part_of: None,
    identity: IdentityRule {
        types: &[IdentityType::None, IdentityType::SystemAssigned, IdentityType::UserAssigned],
        user_assigned_exactly: Some(1),
    },
    without_identity: WithoutIdentity::Keeps,
    runs: Runs::Nothing,
    made: PowerState::Running,
};

const ARC_MACHINE: Rules = Rules {
    resource_type: "Microsoft.HybridCompute/machines",
    name: NameRule { chars_min: 1, chars_max: 54, marks: "-_.", ..ANY_NAME },
    part_of: None,
    identity: IdentityRule {
        types: &[IdentityType::None, IdentityType::SystemAssigned],
        user_assigned_exactly: None,
    },
    without_identity: WithoutIdentity::Keeps,
    runs: Runs::Itself(EndpointKind::Arc),
    made: PowerState::Stopped,
};

const CONTAINER_APP: Rules = Rules {
    resource_type: "Microsoft.App/containerApps",
    name: NameRule { chars_min: 2, chars_max: 32, marks: "-", letters: Letters::Small, ..ANY_NAME },
    part_of: None,
    identity: EVERY_IDENTITY,
    without_identity: WithoutIdentity::Removes,
    runs: Runs::Itself(EndpointKind::AppService),
    made: PowerState::Running,
};

impl ComputeKind {
    const ALL: [Self; 7] = [
        Self::VirtualMachine,
        Self::Site,
        Self::ScaleSet,
        Self::Slot,
        Self::ManagedCluster,
        Self::ArcMachine,
        Self::ContainerApp,
    ];

    const fn rules(self) -> &'static Rules {
        match self {
            Self::VirtualMachine => &VIRTUAL_MACHINE,
            Self::Site => &SITE,
            Self::ScaleSet => &SCALE_SET,
            Self::Slot => &SLOT,
            Self::ManagedCluster => &MANAGED_CLUSTER,
            Self::ArcMachine => &ARC_MACHINE,
            Self::ContainerApp => &CONTAINER_APP,
        }
    }

    /// The kind of this resource type.
    pub fn of_type(resource_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.resource_type().eq_ignore_ascii_case(resource_type))
    }

    /// The resource type.
    pub const fn resource_type(self) -> &'static str {
        self.rules().resource_type
    }

    /// Where the workloads of such a resource ask for tokens.
    pub const fn endpoint(self) -> Option<EndpointKind> {
        match self.rules().runs {
            Runs::Itself(endpoint) | Runs::Instances(endpoint) => Some(endpoint),
            Runs::Nothing => None,
        }
    }

    /// Whether what was just made runs.
    pub(super) const fn power_when_made(self) -> PowerState {
        self.rules().made
    }

    /// Whether the resource itself asks for tokens, and not by its instances.
    pub(super) const fn runs_itself(self) -> bool {
        matches!(self.rules().runs, Runs::Itself(_))
    }

    /// Whether the resource is a part of another compute resource, without which it cannot be.
    pub(super) const fn is_part(self) -> bool {
        self.rules().part_of.is_some()
    }

    /// Whether it can go to another group. A part goes with what it is a part of, and a cluster stays with its nodes.
    pub(crate) const fn can_move(self) -> bool {
        !self.is_part() && !matches!(self, Self::ManagedCluster)
    }

    /// Whether no two resources of the kind may have one name, in whatever group, subscription or tenant.
    pub(super) const fn has_one_of_a_name(self) -> bool {
        matches!(self.rules().name.unique, Unique::Everywhere)
    }

    pub(super) const fn without_identity(self) -> WithoutIdentity {
        self.rules().without_identity
    }

    /// Refuses identities that no resource of the kind may have.
    pub(super) fn check_identity(
        self,
        request: &IdentityRequest,
    ) -> Result<(), IdentityBlockError> {
        let rule = &self.rules().identity;
        if !rule.types.contains(&request.identity_type) {
            return Err(IdentityBlockError::TypeUnsupported {
                resource_type: self.resource_type(),
                requested: request.identity_type,
                supported: rule.types,
            });
        }
        let listed = request.user_assigned.as_deref().unwrap_or_default();
        let count = listed.iter().filter(|(_, entry)| *entry == MapEntry::Assign).count();
        match rule.user_assigned_exactly.filter(|_| request.identity_type.has_user()) {
            Some(expected) if count != expected => {
                Err(IdentityBlockError::CountUnexpected { count, expected })
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn check_name(self, name: &str) -> Result<(), ResourceError> {
        let rule = &self.rules().name;
        let has_letters = match rule.letters {
            Letters::Any => name.chars().all(|c| c.is_alphanumeric() || rule.marks.contains(c)),
            Letters::Small => {
                let is_small = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
                name.starts_with(|c: char| c.is_ascii_lowercase())
                    && name.chars().all(|c| is_small(c) || rule.marks.contains(c))
            }
        };
        let is_valid = (rule.chars_min..=rule.chars_max).contains(&name.chars().count())
            && has_letters
            && !name.starts_with(['-', '_', '.'])
            && !name.ends_with(['-', '.']);
        if is_valid {
            Ok(())
        } else {
            Err(ResourceError::NameInvalid {
                resource_type: self.resource_type(),
                name: name.to_owned(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_type_and_has_its_names() {
        for kind in ComputeKind::ALL {
            let shouted = kind.resource_type().to_uppercase();
            assert_eq!(ComputeKind::of_type(&shouted), Some(kind), "{shouted}");
        }
        assert_eq!(ComputeKind::of_type("Microsoft.KeyVault/vaults"), None);
        for (kind, right, wrong) in [
            (ComputeKind::VirtualMachine, &["v", "v_m.1-a"][..], &["", "-v", "v.", "v/m"][..]),
            (ComputeKind::ScaleSet, &["s"], &["_s"]),
            (ComputeKind::Site, &["ab", "a-b"], &["a", "ab-", "a.b", "a_b"]),
            (ComputeKind::Slot, &["staging"], &["s"]),
            (ComputeKind::ManagedCluster, &["c", "C_1-a"], &["c.1", "c-"]),
            (ComputeKind::ArcMachine, &["m", "M_1.a"], &["m/1", ".m"]),
            (ComputeKind::ContainerApp, &["ab", "a-1"], &["a", "1a", "Ab", "a_b", "a-"]),
        ] {
            for name in right {
                assert!(kind.check_name(name).is_ok(), "{kind:?} {name}");
            }
            for name in wrong {
                assert!(kind.check_name(name).is_err(), "{kind:?} {name}");
            }
            let longest = "x".repeat(kind.rules().name.chars_max);
            assert!(kind.check_name(&longest).is_ok(), "{kind:?}");
            assert!(kind.check_name(&format!("{longest}x")).is_err(), "{kind:?}");
        }
    }
}
