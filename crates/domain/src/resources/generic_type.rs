//! The types of resources that keycard keeps as their clients send them: it knows where they stand, how they are named and
//! whether they carry identities, and nothing of what they do.
//!
//! Source: Azure Resource Manager, "Naming rules and restrictions for Azure resources"; Microsoft Entra, "Azure services
//! that can use managed identities to access other services".

/// A type whose resources are kept as they are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GenericType {
    /// With its namespace, as Azure spells it: `Microsoft.Network/virtualNetworks`.
    pub name: &'static str,
    /// Where its resources stand.
    pub place: Place,
    /// Whether its resources carry an identity block.
    pub has_identity: bool,
    /// How its resources are named.
    pub naming: Naming,
}

/// Where the resources of a type stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a location, which a new resource has to name.
    Regional,
    /// Everywhere: a location may be named.
    Global,
    /// Where the resource is that they are a part of.
    Part,
}

/// How the resources of a type are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// 1 to 260 letters, digits and `-`, `_`, `.`, `(`, `)`; unique in its resource group or parent.
    Local,
    /// The name is a host's, so that no other resource of the type may have it, in whatever subscription.
    Host {
        /// Least characters.
        chars_min: usize,
        /// Most characters.
        chars_max: usize,
        /// Whether dashes may stand inside.
        has_dashes: bool,
        /// How its letters are written.
        letters: Letters,
    },
}

/// How the letters of a name are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letters {
    /// In either case, which makes no other name.
    AnyCase,
    /// Small.
    Lowercase,
}

const fn regional(name: &'static str) -> GenericType {
    GenericType { name, place: Place::Regional, has_identity: false, naming: Naming::Local }
}

const fn global(name: &'static str) -> GenericType {
    GenericType { place: Place::Global, ..regional(name) }
}

const fn part(name: &'static str) -> GenericType {
    GenericType { place: Place::Part, ..regional(name) }
}

impl GenericType {
    const fn with_identity(self) -> Self {
        Self { has_identity: true, ..self }
    }

    const fn named_as_host(self, chars_min: usize, chars_max: usize) -> Self {
        let letters = Letters::AnyCase;
        Self { naming: Naming::Host { chars_min, chars_max, has_dashes: true, letters }, ..self }
    }

    const fn named_without_dashes(self, chars_min: usize, chars_max: usize) -> Self {
        let letters = Letters::AnyCase;
        Self { naming: Naming::Host { chars_min, chars_max, has_dashes: false, letters }, ..self }
    }

    const fn in_small_letters(self) -> Self {
        match self.naming {
            Naming::Host { chars_min, chars_max, has_dashes, letters: _ } => {
                let letters = Letters::Lowercase;
                Self { naming: Naming::Host { chars_min, chars_max, has_dashes, letters }, ..self }
            }
            Naming::Local => self,
        }
    }

    /// The provider's namespace, such as `Microsoft.Network`.
    pub fn namespace(&self) -> &'static str {
        self.name.split('/').next().unwrap_or_default()
    }

    /// The types after the namespace: one of a resource of its own, more of a part.
    pub fn segments(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.name.split('/').skip(1)
    }

    /// Whether a resource may have this name.
    pub fn takes_name(&self, name: &str) -> bool {
        let count = name.chars().count();
        match self.naming {
            Naming::Local => {
                (1..=260).contains(&count)
                    && name.chars().all(|c| {
                        c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '(' | ')' | ' ')
                    })
            }
            Naming::Host { chars_min, chars_max, has_dashes, letters } => {
                let is_letter = |c: char| match letters {
                    Letters::AnyCase => c.is_ascii_alphabetic(),
                    Letters::Lowercase => c.is_ascii_lowercase(),
                };
                (chars_min..=chars_max).contains(&count)
                    && !name.starts_with('-')
                    && !name.ends_with('-')
                    && name
                        .chars()
                        .all(|c| is_letter(c) || c.is_ascii_digit() || (has_dashes && c == '-'))
            }
        }
    }
}

/// Microsoft.Storage/storageAccounts.
pub const STORAGE_ACCOUNT: &str = "Microsoft.Storage/storageAccounts";
/// Microsoft.Sql/servers.
pub const SQL_SERVER: &str = "Microsoft.Sql/servers";

/// Every type that is kept in this way.
pub const GENERIC_TYPES: &[GenericType] = &[
    regional("Microsoft.ApiManagement/service").with_identity().named_as_host(1, 50),
    regional("Microsoft.App/jobs").with_identity(),
    regional("Microsoft.App/managedEnvironments").with_identity(),
    regional("Microsoft.AppConfiguration/configurationStores").with_identity().named_as_host(5, 50),
    regional("Microsoft.Automation/automationAccounts").with_identity(),
    regional("Microsoft.Batch/batchAccounts").with_identity(),
    regional("Microsoft.Cache/redis").with_identity().named_as_host(1, 63),
    global("Microsoft.Cdn/profiles").with_identity(),
    regional("Microsoft.CognitiveServices/accounts").with_identity(),
    regional("Microsoft.Compute/availabilitySets"),
    regional("Microsoft.Compute/capacityReservationGroups"),
    regional("Microsoft.Compute/diskEncryptionSets").with_identity(),
    regional("Microsoft.Compute/disks"),
    regional("Microsoft.Compute/galleries").with_identity(),
    part("Microsoft.Compute/galleries/images"),
    part("Microsoft.Compute/galleries/images/versions"),
    regional("Microsoft.Compute/images"),
    regional("Microsoft.Compute/proximityPlacementGroups"),
    regional("Microsoft.Compute/snapshots"),
    regional("Microsoft.Compute/sshPublicKeys"),
    part("Microsoft.Compute/virtualMachines/extensions"),
    regional("Microsoft.ContainerInstance/containerGroups").with_identity(),
    regional("Microsoft.ContainerRegistry/registries").with_identity().named_without_dashes(5, 50),
    regional("Microsoft.DBforMySQL/flexibleServers").with_identity().named_as_host(3, 63),
    regional("Microsoft.DBforPostgreSQL/flexibleServers").with_identity().named_as_host(3, 63),
    regional("Microsoft.DataFactory/factories").with_identity().named_as_host(3, 63),
    regional("Microsoft.Databricks/accessConnectors").with_identity(),
    regional("Microsoft.Databricks/workspaces").with_identity(),
    regional("Microsoft.DesktopVirtualization/hostPools").with_identity(),
    regional("Microsoft.DevCenter/devcenters").with_identity(),
    regional("Microsoft.Devices/IotHubs").with_identity().named_as_host(3, 50),
    regional("Microsoft.DocumentDB/databaseAccounts").with_identity().named_as_host(3, 44),
    regional("Microsoft.EventGrid/domains").with_identity(),
    regional("Microsoft.EventGrid/systemTopics").with_identity(),
    regional("Microsoft.EventGrid/topics").with_identity(),
    regional("Microsoft.EventHub/namespaces").with_identity().named_as_host(6, 50),
    part("Microsoft.EventHub/namespaces/eventhubs"),
    regional("Microsoft.Insights/components"),
    regional("Microsoft.Kubernetes/connectedClusters").with_identity(),
    regional("Microsoft.Kusto/clusters").with_identity().named_without_dashes(4, 22),
    regional("Microsoft.LoadTestService/loadTests").with_identity(),
    regional("Microsoft.Logic/workflows").with_identity(),
    regional("Microsoft.MachineLearningServices/workspaces").with_identity(),
    regional("Microsoft.Network/applicationGateways").with_identity(),
    regional("Microsoft.Network/applicationSecurityGroups"),
    regional("Microsoft.Network/bastionHosts"),
    regional("Microsoft.Network/firewallPolicies").with_identity(),
    regional("Microsoft.Network/loadBalancers"),
    regional("Microsoft.Network/natGateways"),
    regional("Microsoft.Network/networkInterfaces"),
    regional("Microsoft.Network/networkSecurityGroups"),
    part("Microsoft.Network/networkSecurityGroups/securityRules"),
    global("Microsoft.Network/privateDnsZones"),
    regional("Microsoft.Network/privateEndpoints"),
    regional("Microsoft.Network/publicIPAddresses"),
    regional("Microsoft.Network/routeTables"),
    regional("Microsoft.Network/virtualNetworks"),
    part("Microsoft.Network/virtualNetworks/subnets"),
    regional("Microsoft.OperationalInsights/workspaces").with_identity(),
    regional("Microsoft.Purview/accounts").with_identity(),
    regional("Microsoft.RecoveryServices/vaults").with_identity(),
    regional("Microsoft.Search/searchServices").with_identity().named_as_host(2, 60),
    regional("Microsoft.ServiceBus/namespaces").with_identity().named_as_host(6, 50),
    part("Microsoft.ServiceBus/namespaces/queues"),
    part("Microsoft.ServiceBus/namespaces/topics"),
    regional("Microsoft.ServiceFabric/managedClusters").with_identity(),
    regional("Microsoft.SignalRService/signalR").with_identity().named_as_host(3, 63),
    regional("Microsoft.SignalRService/webPubSub").with_identity().named_as_host(3, 63),
    regional("Microsoft.Sql/managedInstances").with_identity().named_as_host(1, 63),
    regional(SQL_SERVER).with_identity().named_as_host(1, 63).in_small_letters(),
    part("Microsoft.Sql/servers/databases").with_identity(),
    part("Microsoft.Sql/servers/firewallRules"),
    regional(STORAGE_ACCOUNT).with_identity().named_without_dashes(3, 24).in_small_letters(),
    regional("Microsoft.StreamAnalytics/streamingjobs").with_identity(),
    regional("Microsoft.Synapse/workspaces").with_identity().named_as_host(1, 50),
    regional("Microsoft.VirtualMachineImages/imageTemplates").with_identity(),
    regional("Microsoft.Web/serverfarms"),
    regional("Microsoft.Web/staticSites").with_identity(),
];

/// The type with this name, whose case means nothing.
pub fn find(name: &str) -> Option<&'static GenericType> {
    GENERIC_TYPES.iter().find(|known| known.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_stands_once_and_parts_are_parts() {
        for (index, kept) in GENERIC_TYPES.iter().enumerate() {
            assert!(
                !GENERIC_TYPES[index + 1..]
                    .iter()
                    .any(|it| it.name.eq_ignore_ascii_case(kept.name)),
                "{} stands twice",
                kept.name
            );
            let is_part = kept.segments().count() > 1;
            assert_eq!(is_part, kept.place == Place::Part, "{}", kept.name);
        }
    }

    #[test]
    fn the_manual_lists_every_type() {
        let page = include_str!("../../../../docs/reference/generic-resources.md");
        for kept in GENERIC_TYPES {
            let identity = if kept.has_identity { "yes" } else { "–" };
            let row = page.lines().find(|line| line.starts_with(&format!("| {} |", kept.name)));
            assert!(
                row.is_some_and(|row| row.contains(&format!("| {identity} |"))),
                "{}",
                kept.name
            );
        }
    }

    #[test]
    fn names_follow_the_rules_of_their_type() {
        for (name, text, expected) in [
            (STORAGE_ACCOUNT, "data1", true),
            (STORAGE_ACCOUNT, "ab", false),
            (STORAGE_ACCOUNT, "Data1", false),
            ("Microsoft.ContainerRegistry/registries", "Images1", true),
            (STORAGE_ACCOUNT, "my-data", false),
            (STORAGE_ACCOUNT, &"a".repeat(25), false),
            (SQL_SERVER, "sql-1", true),
            (SQL_SERVER, "-sql", false),
            (SQL_SERVER, "sql_1", false),
            ("Microsoft.Network/virtualNetworks", "a_b.c-(1)", true),
            ("Microsoft.Network/virtualNetworks", "a;b", false),
        ] {
            assert_eq!(find(name).unwrap().takes_name(text), expected, "{text} of {name}");
        }
    }
}
