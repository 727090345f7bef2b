//! Every limit, lifetime and throttle: unit last, with its reason or source.
//!
//! What the two profiles differ in is a field of [`Limits`]; what nobody would configure is a constant.
//! Checked before work is done.

use std::str::FromStr;

use time::Duration;

/// Bytes of a resource id. Source: Azure ids stay below 2,048 characters; names are at most 260 each.
pub const RESOURCE_ID_BYTES_MAX: usize = 2048;
/// Bytes of a request body on the control plane. ARM takes 4 MB for a template; resources stay far below.
pub const CONTROL_PLANE_BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Entity tags in a condition of a request. Clients send one.
pub const ENTITY_TAGS_MAX: usize = 16;
/// Characters of the description in a challenge of Resource Manager: some of it is a stranger's text.
pub const CHALLENGE_CHARS_MAX: usize = 300;
/// Characters of a path in a line of the log.
pub const LOGGED_PATH_CHARS_MAX: usize = 1024;
/// Bytes of a request id of the client's that is echoed.
pub const ECHOED_ID_BYTES_MAX: usize = 128;
/// Challenges of one Arc endpoint that are not answered yet; of more, the oldest ends. A client answers each at once.
pub const ARC_CHALLENGES_MAX: usize = 64;
/// How long a challenge of an Arc endpoint can be answered: clients read its file at once.
pub const ARC_CHALLENGE_LIFETIME: Duration = Duration::seconds(60);
/// How long the token of a service account lives. Source: AKS, workload identity, `service-account-token-expiration`.
pub const SERVICE_ACCOUNT_TOKEN_LIFETIME: Duration = Duration::hours(1);
/// Service accounts whose tokens one host keeps as files.
pub const PROJECTED_TOKENS_MAX: usize = 1000;
/// Bytes of a form at a local endpoint: what a token is for.
pub const LOCAL_FORM_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a form at the token service: an assertion with a certificate chain, and change.
pub const TOKEN_FORM_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a body at a vault: a 25 KB secret escaped, with tags.
pub const VAULT_BODY_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a request's head (request line and headers); tokens with many groups stay below.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Headers of a request.
pub const HEADERS_MAX: usize = 100;
/// Bytes of a query string at any face.
pub const QUERY_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a JWT that is looked at.
pub const JWT_BYTES_MAX: usize = 32 * 1024;
/// Open connections of the HTTPS listener.
pub const SERVER_CONNECTIONS_MAX: usize = 8192;
/// Open connections of one local endpoint.
pub const LOCAL_CONNECTIONS_MAX: usize = 10_000;
/// How long a server or a listener that stops waits for the requests under way.
pub const STOP_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(5);
/// Open connections of one HTTPS listener in a sandbox.
pub const SANDBOX_CONNECTIONS_MAX: usize = 256;
/// Sandboxes of one host at once.
pub const SANDBOXES_MAX: usize = 256;
/// From a command's first word at the control socket until its sockets are handed over, and from a connection to an opening
/// of a sandbox until its other end is reached.
pub const HAND_OVER_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(30);
/// Open connections of a sandbox's responder over TCP.
pub const RESOLVER_CONNECTIONS_MAX: usize = 64;
/// Open connections through one opening of a sandbox.
pub const RELAYED_CONNECTIONS_MAX: usize = 256;
/// Server certificates that are kept for names of Azure that were asked for in sandboxes.
pub const NAMED_CERTIFICATES_MAX: usize = 1024;
/// Local endpoints of one host. Each holds a descriptor, of which the HTTPS listener needs its own, and one request can make
/// [`SCALE_SET_INSTANCES_MAX`] of them.
pub const LOCAL_ENDPOINTS_MAX: usize = 8192;
/// How long a client may take to send a request's head. Slow clients only cost their own connection.
pub const HEAD_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(15);
/// How long a client may take to send a request's body.
pub const BODY_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(30);
/// Bytes of a refused request's body that are read and forgotten, so that the client hears the refusal.
pub const DISCARDED_BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// How long that may take.
pub const DISCARDED_BODY_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(5);
/// How long a TLS handshake may take.
pub const HANDSHAKE_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(10);
/// Concurrent HTTP/2 streams of one connection.
pub const STREAMS_MAX: u32 = 128;
/// Items in one page of a control-plane listing.
pub const LIST_PAGE_MAX: usize = 1000;
/// Preview features that a subscription can register: more than Azure has of one provider.
pub const FEATURES_MAX: usize = 1000;
/// Characters of a preview feature's name.
pub const FEATURE_NAME_CHARS_MAX: usize = 128;
/// Tags of a resource. Source: Azure Resource Manager, tag limits.
pub const TAGS_MAX: usize = 50;
/// Characters of a tag's name.
pub const TAG_NAME_CHARS_MAX: usize = 512;
/// Characters of a tag's value.
pub const TAG_VALUE_CHARS_MAX: usize = 256;
/// Locks at one scope. Source: Azure Resource Manager, resource group limits, "Management locks per unique scope".
pub const LOCKS_PER_SCOPE_MAX: usize = 20;
/// Characters of a lock's name, and of an owner's. Source: Microsoft.Authorization/locks, REST API.
pub const LOCK_NAME_CHARS_MAX: usize = 260;
/// Characters of a lock's notes. Source: the same.
pub const LOCK_NOTES_CHARS_MAX: usize = 512;
/// Owners of a lock.
pub const LOCK_OWNERS_MAX: usize = 20;
/// Faults at one scope.
pub const FAULTS_PER_SCOPE_MAX: usize = 20;
/// How long a fault that has ended is still shown.
pub const FAULT_SHOWN_AFTER_END: Duration = Duration::hours(1);
/// Characters of a fault's name.
pub const FAULT_NAME_CHARS_MAX: usize = 64;
/// Requests that a fault says it disturbs.
pub const FAULT_REQUESTS_MAX: u32 = 1_000_000;
/// How long a fault says it holds, and how long a new principal is hidden: a year.
pub const FAULT_DURATION_SECONDS_MAX: u32 = 365 * 24 * 3600;
/// When a fault tells clients to come again.
pub const FAULT_RETRY_AFTER_SECONDS_MAX: u32 = 3600;
/// How late a fault lets an answer come: longer than any client waits. The answer comes by then on the real clock too.
pub const FAULT_DELAY_MILLISECONDS_MAX: u32 = 120_000;
/// Requests, per second and at once, that a fault lets a workload have.
pub const FAULT_RATE_MAX: u32 = 10_000;
/// Faults whose requests a host counts before it forgets those that are no more.
pub const FAULTS_COUNTED_MAX: usize = 1000;
/// Resources that one request moves. Source: Azure Resource Manager, "Move operation" limits.
pub const RESOURCES_PER_MOVE_MAX: usize = 800;
/// How many moves are followed to find where a token's resource is now.
pub const RELOCATIONS_FOLLOWED_MAX: usize = 8;
/// How long it is known where a resource was before: longer than any token lives.
pub const RELOCATION_RETENTION: Duration = Duration::hours(25);
/// Identities in one request. Source: observed, "Assign exceed limit '150' in one request".
pub const USER_ASSIGNED_PER_REQUEST_MAX: usize = 150;
/// Resource providers and types that one identity can be restricted to: each assignment looks through them.
pub const ALLOWED_PROVIDERS_MAX: usize = 100;
/// Bytes of one of them; a provider's name and a type's have at most 128 each in practice.
pub const ALLOWED_PROVIDER_BYTES_MAX: usize = 256;
/// Instances of a scale set, whose capacity is what one caller can make the host listen for. Source: Azure, Virtual Machine
/// Scale Sets overview, "Scale sets support up to 1,000 VM instances".
pub const SCALE_SET_INSTANCES_MAX: usize = 1000;
/// Agent pools of a cluster, and nodes in all of them. Source: Azure, AKS quotas and service limits.
pub const AGENT_POOLS_MAX: usize = 100;
/// Nodes of a cluster, each of which the host listens for. Source: as before.
pub const CLUSTER_NODES_MAX: usize = 5000;
/// Network interfaces of a machine that its metadata shows. Source: Azure, virtual machine sizes, "Max NICs".
pub const INTERFACES_SHOWN_MAX: usize = 8;
/// Addresses of one interface that its metadata shows. Source: Azure subscription limits, networking, "Private IP addresses
/// per network interface".
pub const IP_CONFIGURATIONS_SHOWN_MAX: usize = 256;
/// Digits of the nonce in an attested document. Source: Azure Instance Metadata Service, "Attested data".
pub const NONCE_DIGITS_MAX: usize = 10;
/// Bytes of a request for a certificate at the metadata endpoint: the request, and a token of the key's attestation.
pub const CREDENTIAL_REQUEST_BYTES_MAX: usize = 64 * 1024;
/// How long a certificate lives that tokens are bound to. Source: observed; clients let go of one with less than a day left.
pub const BOUND_CERTIFICATE_VALIDITY: Duration = Duration::days(7);
/// Access policies of a vault. Source: Azure Key Vault service limits.
pub const ACCESS_POLICIES_MAX: usize = 1024;
/// Words of one class in an access policy; there are about twenty.
pub const POLICY_PERMISSIONS_MAX: usize = 64;
/// Characters of a secret. Source: Azure Key Vault, "Maximum secret size is 25k bytes".
pub const SECRET_CHARS_MAX: usize = 25_600;
/// Versions kept of one secret; a bound on what one caller can make the store hold.
pub const SECRET_VERSIONS_MAX: usize = 500;
/// Items in one page of a vault listing. Source: Key Vault REST API, `maxresults`.
pub const VAULT_PAGE_MAX: usize = 25;
/// Characters of a custom role's or deny assignment's name. Source: Azure RBAC limits.
pub const ROLE_NAME_CHARS_MAX: usize = 512;
/// Bytes of one pattern of a custom role, deny assignment or condition; the longest built-in one has 139.
pub const ROLE_PATTERN_BYTES_MAX: usize = 256;
/// Wildcards of one of these; built-in ones have one.
pub const ROLE_PATTERN_WILDCARDS_MAX: usize = 8;
/// Patterns of one custom role or deny assignment; the longest built-in role has 269.
pub const ROLE_PATTERNS_MAX: usize = 2048;
/// Permission objects of one custom role or deny assignment; built-in roles have at most three.
pub const ROLE_PERMISSIONS_MAX: usize = 100;
/// Bytes of an action that is asked about; the longest known one has 159.
pub const ACTION_BYTES_MAX: usize = 256;
/// Attributes that one question may bring, and the bytes of a name or value.
pub const ATTRIBUTES_MAX: usize = 100;
/// Bytes of the name or the value of one of these.
pub const ATTRIBUTE_BYTES_MAX: usize = 2048;
/// Assignable scopes of a custom role. Source: Azure RBAC limits.
pub const ASSIGNABLE_SCOPES_MAX: usize = 2000;
/// Principals that a deny assignment may exclude.
pub const EXCLUDED_PRINCIPALS_MAX: usize = 256;
/// Deny assignments of one keycard; a bound on what an administrator's script can make every decision read.
pub const DENY_ASSIGNMENTS_MAX: usize = 100_000;
/// Diagnostic settings of one resource, subscription or directory. Source: Azure Monitor, diagnostic settings.
pub const DIAGNOSTIC_SETTINGS_MAX: usize = 5;
/// Characters of a diagnostic setting's name. Source: Azure naming rules, Microsoft.Insights.
pub const DIAGNOSTIC_SETTING_NAME_CHARS_MAX: usize = 260;
/// Categories and groups that one diagnostic setting names; no type has as many.
pub const DIAGNOSTIC_SELECTIONS_MAX: usize = 100;
/// Bytes of a diagnostic setting's other texts: an event hub's name has 50 characters at most.
pub const DIAGNOSTIC_TEXT_BYTES_MAX: usize = 256;
/// Levels of management groups below a tenant's root group. Source: Azure management groups, "Important facts".
pub const MANAGEMENT_GROUP_DEPTH_MAX: usize = 6;
/// Refusals that a node remembers, for `keycard why`.
pub const REFUSALS_KEPT_MAX: usize = 4096;
/// Distinct questions that one recording holds.
pub const RECORDED_QUESTIONS_MAX: usize = 10_000;
/// Management groups of one tenant. Source: Azure subscription limits, management group limits.
pub const MANAGEMENT_GROUPS_MAX: usize = 10_000;
/// Characters of a management group's display name.
pub const MANAGEMENT_GROUP_DISPLAY_NAME_CHARS_MAX: usize = 256;
/// Role and deny assignments that go with a management group in one commit; more have to be deleted first. Azure has
/// at most 500 of each there.
pub const ASSIGNMENTS_DELETED_WITH_MANAGEMENT_GROUP_MAX: usize = 1000;
/// Groups of one directory; a bound on what an administrator's script can make the store hold.
pub const GROUPS_MAX: usize = 50_000;
/// Members directly in one group: deleting it deletes its memberships in the same commit.
pub const GROUP_MEMBERS_MAX: usize = 10_000;
/// Groups that one principal or group is directly in: every decision about it looks at them.
pub const GROUPS_OF_MEMBER_MAX: usize = 500;
/// Characters of a group's display name. Source: Microsoft Graph, group resource type.
pub const GROUP_DISPLAY_NAME_CHARS_MAX: usize = 256;
/// Characters of a group's mail nickname. Source: Microsoft Graph, group resource type.
pub const GROUP_MAIL_NICKNAME_CHARS_MAX: usize = 64;
/// Characters of a group's description.
pub const GROUP_DESCRIPTION_CHARS_MAX: usize = 1024;
/// Applications of one directory, deleted ones that are still kept included; a bound on what an administrator's script can
/// make the store hold.
pub const APPLICATIONS_MAX: usize = 50_000;
/// Characters of an application's display name. Source: Microsoft Graph, application resource type.
pub const APPLICATION_DISPLAY_NAME_CHARS_MAX: usize = 256;
/// URIs that name one application: each request for a token looks through them.
pub const IDENTIFIER_URIS_MAX: usize = 50;
/// Bytes of one of them. Source: Microsoft Graph, application resource type, `identifierUris`.
pub const IDENTIFIER_URI_BYTES_MAX: usize = 255;
/// App roles of one application.
pub const APP_ROLES_MAX: usize = 250;
/// Characters of an app role's value, as of its display name. Source: Microsoft Graph, appRole resource type.
pub const APP_ROLE_VALUE_CHARS_MAX: usize = 120;
/// Characters of an app role's display name. Source: Microsoft Graph, appRole resource type.
pub const APP_ROLE_DISPLAY_NAME_CHARS_MAX: usize = 120;
/// Characters of an app role's description.
pub const APP_ROLE_DESCRIPTION_CHARS_MAX: usize = 1024;
/// Client secrets of one application: each that is presented is compared with all of them.
pub const PASSWORDS_MAX: usize = 50;
/// Certificates that an administrator brought to one application or service principal.
pub const KEY_CREDENTIALS_MAX: usize = 20;
/// Characters of a client secret's or certificate's display name.
pub const CREDENTIAL_DISPLAY_NAME_CHARS_MAX: usize = 256;
/// How long a client secret lives when its administrator names no end. Source: Microsoft Graph, application: addPassword.
pub const PASSWORD_LIFETIME: Duration = Duration::days(730);
/// App roles that one principal or group was given directly: each of its tokens looks at them.
pub const APP_ROLE_ASSIGNMENTS_OF_PRINCIPAL_MAX: usize = 1000;
/// App role assignments of one application: deleting it deletes them in the same commit.
pub const APP_ROLE_ASSIGNMENTS_OF_RESOURCE_MAX: usize = 10_000;
/// Policies of one directory: each token looks for the default among them.
pub const POLICIES_MAX: usize = 200;
/// Applications and service principals that one policy is linked to: deleting it deletes its links in the same commit.
pub const POLICY_LINKS_MAX: usize = 1000;
/// Bytes of a policy's definition.
pub const POLICY_DEFINITION_BYTES_MAX: usize = 16 * 1024;
/// Characters of a policy's display name.
pub const POLICY_DISPLAY_NAME_CHARS_MAX: usize = 256;
/// Characters of a policy's description.
pub const POLICY_DESCRIPTION_CHARS_MAX: usize = 1024;
/// Further claims of one claims mapping policy: each makes the tokens longer.
pub const MAPPED_CLAIMS_MAX: usize = 50;
/// Bytes of the name of one of them.
pub const MAPPED_CLAIM_NAME_BYTES_MAX: usize = 128;
/// Bytes of its value, where it is the same in every token.
pub const MAPPED_CLAIM_VALUE_BYTES_MAX: usize = 1024;
/// How long a deleted application or service principal is kept. Source: Microsoft Graph, "List deletedItems".
pub const DELETED_OBJECT_RETENTION: Duration = Duration::days(30);
/// Deleted objects of a directory that upkeep leaves, the latest ones; hosts that come and go by the thousand leave one each.
pub const DELETED_OBJECTS_KEPT_MAX: usize = 100_000;
/// Deleted objects that are removed in one commit.
pub const DELETED_OBJECTS_PURGED_PER_COMMIT: usize = 500;
/// How deep objects and arrays of a body may stand inside each other.
pub const BODY_DEPTH_MAX: usize = 100;
/// Bytes of a stored record: twice the largest body, so that whatever one request says fits, and no number of changes makes
/// a record that each write takes seconds with.
pub const RECORD_BYTES_MAX: usize = 2 * CONTROL_PLANE_BODY_BYTES_MAX;
/// How deep they may in a stored record, which is a body and what it is wrapped in: a deeper one could not be read again.
pub const RECORD_DEPTH_MAX: usize = 120;
/// Bytes of a body at Microsoft Graph: a thousand ids, and change.
pub const GRAPH_BODY_BYTES_MAX: usize = 256 * 1024;
/// Ids in one `getByIds`. Source: Microsoft Graph, directoryObject: getByIds.
pub const GRAPH_IDS_MAX: usize = 1000;
/// Groups in one `checkMemberGroups`. Source: Microsoft Graph, directoryObject: checkMemberGroups.
pub const GRAPH_CHECKED_GROUPS_MAX: usize = 20;
/// Items in one page at Microsoft Graph. Source: Microsoft Graph, "Paging".
pub const GRAPH_PAGE_MAX: usize = 999;
/// Items in a page at Microsoft Graph when the client asks for no number.
pub const GRAPH_PAGE_DEFAULT: usize = 100;
/// Characters of a federated credential's issuer, subject, audience, description or expression. Source: Microsoft Learn,
/// "Important considerations and restrictions for federated identity credentials".
pub const FEDERATED_TEXT_CHARS_MAX: usize = 600;
/// Terms of a claims matching expression; what people write has one or two.
pub const CLAIMS_EXPRESSION_TERMS_MAX: usize = 10;
/// Bytes of a claim that an expression looks at; a longer one never fits. Subjects stay below 600.
pub const MATCHED_CLAIM_BYTES_MAX: usize = 1024;
/// Steps that matching the patterns of one token request may take, some milliseconds; an ordinary pattern takes as many as
/// its claim has characters.
pub const MATCHING_STEPS_MAX: usize = 500_000;
/// Issuers of federated credentials whose keys are kept at once.
pub const FEDERATED_ISSUERS_KEPT_MAX: usize = 1000;
/// Bytes of an issuer's discovery document; the largest known ones have four thousand.
pub const DISCOVERY_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an issuer's key set; the number of its keys is bounded besides.
pub const KEY_SET_BYTES_MAX: usize = 256 * 1024;
/// How long fetching an issuer's keys may take, all requests together: the client waits meanwhile.
pub const ISSUER_FETCH_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(5);
/// Issuers that are asked at the same time.
pub const ISSUER_FETCHES_MAX: usize = 16;
/// Issuers of the credentials of one client that are asked at once.
pub const ISSUER_FETCHES_OF_CLIENT_MAX: usize = 2;
/// How long an issuer's keys are used before they are fetched again.
pub const ISSUER_KEYS_FRESH: Duration = Duration::hours(1);
/// How long they go on being used when fetching them again fails.
pub const ISSUER_KEYS_USABLE: Duration = Duration::hours(24);
/// How long an issuer whose keys are known is left alone after an attempt, whatever keys assertions name: strangers
/// write the names of keys.
pub const ISSUER_FETCH_PAUSE: Duration = Duration::seconds(30);
/// How long a failure to fetch an issuer's keys is remembered.
pub const ISSUER_FAILURE_REMEMBERED: Duration = Duration::seconds(5);
/// Characters of a role assignment's description.
pub const DESCRIPTION_CHARS_MAX: usize = 2048;
/// Bytes of a condition. Source: Azure RBAC limits, conditions are at most 8 KB.
pub const CONDITION_BYTES_MAX: usize = 8 * 1024;
/// How deep groups and negations of a condition may stand inside each other: reading and evaluating it needs stack for
/// each. What people and the portal write stays below ten.
pub const CONDITION_DEPTH_MAX: usize = 64;
/// Characters of a wrong condition that its error repeats.
pub const CONDITION_EXCERPT_CHARS_MAX: usize = 24;
/// How far `keycard clock advance` turns the clock at once.
pub const CLOCK_ADVANCE_MAX: Duration = Duration::days(3660);
/// The steps in which it turns: shorter than anything that has to happen between two others, such as the publication of
/// a signing key and its first signature.
pub const CLOCK_ADVANCE_STEP: Duration = Duration::hours(12);
/// Clock skew that a verifier allows in `nbf` and `exp`. Source: Microsoft identity platform, five minutes.
pub const CLOCK_SKEW: Duration = Duration::minutes(5);
/// How far the second of a token may lie ahead, because all former ones were revoked again and again: verifiers refuse what
/// is further ahead than the skew.
pub const REVOKED_AHEAD_MAX: Duration = Duration::seconds(200);
/// How far `iat` and `nbf` lie before the moment of issue. Source: observed in Azure's tokens.
pub const ISSUED_BACKDATED_BY: Duration = Duration::minutes(5);
/// Longest validity of a client assertion that is accepted, so that a stolen one ages.
pub const ASSERTION_LIFETIME_MAX: Duration = Duration::hours(24);
/// Used assertions that a node remembers until they end. Ten minutes at a tenant's full rate are 1.2 million; beyond the
/// bound those that end first are forgotten first.
pub const USED_ASSERTIONS_MAX: usize = 2_000_000;
/// Clients of one tenant whose requests are counted apart in one second.
pub const ACTIVE_CLIENTS_MAX: usize = 20_000;
/// Groups that stand in a token; of more it says where to ask. Source: Microsoft identity platform, groups overage claim.
pub const GROUPS_IN_TOKEN_MAX: usize = 200;
/// Validity of the assertion that the host side signs.
pub const ASSERTION_LIFETIME: Duration = Duration::minutes(10);
/// Validity of an identity credential. Source: the brief, row 4; Microsoft Learn, managed identities FAQ.
pub const CREDENTIAL_VALIDITY: Duration = Duration::days(90);
/// Age at which an identity credential is renewed. Source: Microsoft Learn, managed identities FAQ.
pub const CREDENTIAL_RENEWAL_AGE: Duration = Duration::days(45);
/// Age at which a credential that is still not renewed is warned about.
pub const CREDENTIAL_WARNING_AGE: Duration = Duration::days(60);
/// Age at which a credential that is still not renewed turns health red: ten days are left.
pub const CREDENTIAL_ALARM_AGE: Duration = Duration::days(80);
/// Credentials kept for one identity on one resource: the one in use and the one it replaces.
pub const CREDENTIALS_PER_ATTACHMENT_MAX: usize = 2;
/// Age at which a token-signing key gets a successor.
pub const SIGNING_KEY_ROTATION_AGE: Duration = Duration::days(60);
/// How long a new signing key is published before it signs: longer than verifiers keep the keys they fetched.
pub const SIGNING_KEY_PUBLISHED_BEFORE: Duration = Duration::hours(24);
/// How long a key stays published once its successor signs: longer than any token lives.
pub const SIGNING_KEY_RETIRED_AFTER: Duration = Duration::hours(25);
/// Tenants of one server; each has keys of its own to make and keep.
pub const TENANTS_MAX: usize = 1000;
/// Characters of a tenant's name, which is a label of its domain. Source: RFC 1035, section 2.3.4.
pub const TENANT_NAME_CHARS_MAX: usize = 63;
/// Subscriptions of one tenant.
pub const SUBSCRIPTIONS_PER_TENANT_MAX: usize = 1000;
/// Characters of a subscription's name and of its alias. Source: Azure Resource Manager, naming rules.
pub const SUBSCRIPTION_NAME_CHARS_MAX: usize = 64;
/// Issuers whose tokens a tenant still accepts: the present one and those it used before a change of port or domain.
pub const ISSUERS_KEPT_MAX: usize = 8;
/// How often a write that lost a race is tried again before the caller sees the conflict.
pub const COMMIT_ATTEMPTS_MAX: usize = 16;
/// How long a caller waits for a token to be granted; the first mint of a fresh server waits for its signing key.
pub const GRANT_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(20);
/// How long a token whose refresh failed is given on before the next try; never beyond its life.
pub const REFRESH_PAUSE: Duration = Duration::seconds(30);
/// Tokens that one host refreshes beside its workloads' requests at once; further ones are refreshed at a later request.
pub const REFRESHES_AT_ONCE_MAX: usize = 256;
/// Mints that wait for a signing thread; beyond that the caller is asked to come again.
pub const SIGNING_QUEUE_MAX: usize = 4096;
/// Answers that one local endpoint keeps ready.
pub const CACHED_ANSWERS_PER_ATTACHMENT_MAX: usize = 256;
/// Characters of a stranger's text that an audit record keeps.
pub const AUDITED_CHARS_MAX: usize = 300;
/// Open connections of the metrics listener.
pub const METRICS_CONNECTIONS_MAX: usize = 64;
/// How long the activity log is kept. Source: Azure Monitor, activity log retention.
pub const ACTIVITY_RETENTION: Duration = Duration::days(90);
/// Events of one page of the activity log when the query does not say how many.
pub const ACTIVITY_PAGE_EVENTS: usize = 200;
/// Entries that one page of the activity log looks at.
pub const ACTIVITY_ENTRIES_PER_PAGE_MAX: usize = 2000;
/// How long an asynchronous operation can be polled.
pub const ASYNC_OPERATION_RETENTION: Duration = Duration::days(1);
/// Bytes of a client's own name of its request that the activity log keeps.
pub const CLIENT_REQUEST_ID_BYTES_MAX: usize = 128;
/// How long a deleted secret can be recovered when its vault says nothing else.
pub const SOFT_DELETE_RETENTION_DAYS: u16 = 90;

/// Rates of requests that a node counts at the same time, one for each tenant or subscription and region.
pub const REQUEST_RATES_KEPT_MAX: usize = 10_000;
/// How deep the groups of a filter may stand inside each other.
pub const FILTER_DEPTH_MAX: usize = 16;

/// Bytes of a template: what is kept of it is one record of the store. Azure takes 4 MB.
pub const TEMPLATE_BYTES_MAX: usize = 1024 * 1024;
/// How deep objects and arrays of a template may stand inside each other.
pub const TEMPLATE_DEPTH_MAX: usize = 100;
/// Parameters of a template. Source: Azure Resource Manager, template limits.
pub const TEMPLATE_PARAMETERS_MAX: usize = 256;
/// Variables of a template. Source: Azure Resource Manager, template limits.
pub const TEMPLATE_VARIABLES_MAX: usize = 256;
/// Outputs of a template. Source: Azure Resource Manager, template limits.
pub const TEMPLATE_OUTPUTS_MAX: usize = 64;
/// Resources of a template, those of loops each. Source: Azure Resource Manager, template limits.
pub const TEMPLATE_RESOURCES_MAX: usize = 800;
/// Times that a loop goes round. Source: Azure Resource Manager, "Resource iteration".
pub const COPY_COUNT_MAX: usize = 800;
/// Bytes of a template expression. Source: Azure Resource Manager, template limits.
pub const EXPRESSION_BYTES_MAX: usize = 24_576;
/// Functions that a template declares.
pub const TEMPLATE_FUNCTIONS_MAX: usize = 256;
/// Types that a template declares; the largest modules that people compile have about a hundred.
pub const TEMPLATE_TYPES_MAX: usize = 512;
/// How many declarations of a type may refer to each other in a row.
pub const TYPE_REFERENCES_MAX: usize = 16;
/// How deep evaluating a template may go: values, the calls in them, and those of own functions. The stack of a thread holds
/// more than twice as many.
pub const EVALUATION_DEPTH_MAX: usize = 150;
/// Texts that a template keeps hidden: each is looked for in everything that is shown or kept of the deployment.
pub const HIDDEN_TEXTS_MAX: usize = 2_000;
/// Bytes of the name of a loop or of a resource's symbol: each copy of a resource has them.
pub const LOOP_NAME_BYTES_MAX: usize = 256;
/// How deep calls of an expression, or the parts of a value, may stand inside each other.
pub const EXPRESSION_DEPTH_MAX: usize = 64;
/// Bytes of the value of an expression, as JSON.
pub const EXPRESSION_VALUE_BYTES_MAX: usize = 1024 * 1024;
/// Bytes that the expressions of one deployment may read and make, all together.
pub const EXPRESSION_WORK_MAX: u64 = 16 * 1024 * 1024;
/// Items of a `range`. Source: Azure Resource Manager, "Array functions".
pub const RANGE_ITEMS_MAX: i64 = 10_000;
/// Characters of an expression that its error repeats.
pub const EXPRESSION_EXCERPT_CHARS_MAX: usize = 200;
/// Names that an error lists.
pub const NAMES_SHOWN_MAX: usize = 20;
/// Characters of a value that an error repeats.
pub const VALUE_SHOWN_CHARS_MAX: usize = 200;
/// Characters of a deployment's name. Source: Azure Resource Manager, naming rules.
pub const DEPLOYMENT_NAME_CHARS_MAX: usize = 64;
/// Deployments that a scope's history keeps. Source: Azure Resource Manager, resource group limits.
pub const DEPLOYMENTS_PER_SCOPE_MAX: usize = 800;
/// Deployments that run at the same time, those inside others included.
pub const DEPLOYMENTS_RUNNING_MAX: usize = 200;
/// Those of one scope, so that none takes all of them.
pub const DEPLOYMENTS_RUNNING_PER_SCOPE_MAX: usize = 50;
/// How deep deployments may stand inside each other. Source: Azure Resource Manager, "Linked and nested templates".
pub const NESTED_DEPLOYMENTS_MAX: usize = 5;
/// How long the answer to a deployment waits for its end; what takes longer is asked for again.
pub const DEPLOYMENT_ANSWER_WAIT: std::time::Duration = std::time::Duration::from_millis(500);
/// How long a deployment waits for one inside it.
pub const NESTED_DEPLOYMENT_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(600);
/// Resources that the references of one deployment look at.
pub const DEPLOYMENT_REFERENCES_MAX: usize = 800;
/// Bytes of what they find there, all together.
pub const DEPLOYMENT_REFERENCE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of a refusal that a deployment keeps.
pub const DEPLOYMENT_REFUSAL_BYTES_MAX: usize = 1024;
/// Failures that the error of a deployment lists; its operations have them all.
pub const DEPLOYMENT_FAILURES_SHOWN_MAX: usize = 50;
/// Dependencies that a deployment shows.
pub const DEPLOYMENT_DEPENDENCIES_KEPT_MAX: usize = 2000;
/// Bytes of the parameters that a deployment keeps, and of its outputs; a small value counts for what it takes to hold.
pub const DEPLOYMENT_VALUES_BYTES_MAX: usize = 256 * 1024;

/// Which world's numbers are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// The numbers of keycard's own promise; the default.
    Standard,
    /// The numbers observed on Azure today.
    Azure,
}

impl Profile {
    /// The profile's name as it is written in configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Azure => "azure",
        }
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "standard" => Ok(Self::Standard),
            "azure" => Ok(Self::Azure),
            other => Err(format!("`{other}` is no profile: use standard or azure")),
        }
    }
}

/// A rate with a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Sustained events per second.
    pub per_second: u32,
    /// Events that may come at once.
    pub burst: u32,
}

impl Rate {
    /// What each of several nodes lets through, so that together they let this rate through.
    pub fn shared_by(self, nodes: u32) -> Self {
        let share = |whole: u32| whole.div_ceil(nodes.max(1));
        Self { per_second: share(self.per_second), burst: share(self.burst) }
    }
}

/// The numbers the two profiles differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Which profile these are.
    pub profile: Profile,
    /// Lifetime of a managed identity's token.
    pub token_lifetime: Duration,
    /// Least and greatest lifetime of an application's token without a policy; between them it is drawn.
    pub application_token_lifetime: (Duration, Duration),
    /// Whether policies on the lifetime of tokens hold for managed identities too.
    pub policies_hold_for_managed_identities: bool,
    /// Token issuances per tenant.
    pub tenant_mints: Rate,
    /// Identity requests at one VM's metadata endpoint, where they are limited at all.
    pub metadata_requests: Option<Rate>,
    /// User-assigned identities on one resource, where they are limited at all.
    pub user_assigned_per_resource_max: Option<usize>,
    /// Whether our data planes refuse a token of an identity that was unassigned since.
    pub unassigned_is_revoked: bool,
    /// Whether a token dies with its principal, or lives until `exp`.
    pub deleted_is_revoked: bool,
    /// Role assignments in one subscription. Source: Azure RBAC limits.
    pub role_assignments_per_subscription_max: usize,
    /// Role assignments at one management group. Source: Azure RBAC limits.
    pub role_assignments_per_management_group_max: usize,
    /// Custom roles in one directory. Source: Azure RBAC limits.
    pub custom_roles_per_tenant_max: usize,
    /// Shortest lifetime that a policy can give to tokens. Source: "Configurable token lifetimes in the Microsoft identity
    /// platform"; the brief for `standard`.
    pub policy_token_lifetime_min: Duration,
    /// Longest lifetime that a policy can give to tokens.
    pub policy_token_lifetime_max: Duration,
    /// Federated credentials of one identity or application. Source: Microsoft Learn, "Important considerations and
    /// restrictions for federated identity credentials".
    pub federated_credentials_per_identity_max: usize,
    /// Listings of the resources that an identity is assigned to, per tenant, where they are limited at all. Source:
    /// Microsoft Learn, "View associated Azure resources for a user-assigned managed identity".
    pub associated_resources: Option<Rate>,
    /// New user-assigned identities per tenant and region, where they are limited at all: 400 in 20 seconds. Source:
    /// Azure subscription limits, managed identity limits.
    pub identities_of_tenant: Option<Rate>,
    /// The same per subscription and region: 80 in 20 seconds.
    pub identities_of_subscription: Option<Rate>,
}

impl Limits {
    /// The numbers of a profile.
    pub const fn of(profile: Profile) -> Self {
        match profile {
            Profile::Standard => Self {
                profile,
                token_lifetime: Duration::hours(8),
                application_token_lifetime: (Duration::hours(8), Duration::hours(8)),
                policies_hold_for_managed_identities: true,
                tenant_mints: Rate { per_second: 2000, burst: 2000 },
                metadata_requests: None,
                user_assigned_per_resource_max: Some(20),
                unassigned_is_revoked: true,
                deleted_is_revoked: true,
                role_assignments_per_subscription_max: 1_000_000,
                role_assignments_per_management_group_max: 1_000_000,
                custom_roles_per_tenant_max: 50_000,
                policy_token_lifetime_min: Duration::hours(1),
                policy_token_lifetime_max: Duration::hours(24),
                federated_credentials_per_identity_max: 10_000,
                associated_resources: None,
                identities_of_tenant: None,
                identities_of_subscription: None,
            },
            Profile::Azure => Self {
                profile,
                token_lifetime: Duration::hours(24),
                application_token_lifetime: (Duration::minutes(60), Duration::minutes(90)),
                policies_hold_for_managed_identities: false,
                tenant_mints: Rate { per_second: 2000, burst: 2000 },
                metadata_requests: Some(Rate { per_second: 20, burst: 20 }),
                user_assigned_per_resource_max: None,
                unassigned_is_revoked: false,
                deleted_is_revoked: false,
                role_assignments_per_subscription_max: 4000,
                role_assignments_per_management_group_max: 500,
                custom_roles_per_tenant_max: 5000,
                policy_token_lifetime_min: Duration::minutes(10),
                policy_token_lifetime_max: Duration::hours(24),
                federated_credentials_per_identity_max: 20,
                associated_resources: Some(Rate { per_second: 1, burst: 1 }),
                identities_of_tenant: Some(Rate { per_second: 20, burst: 400 }),
                identities_of_subscription: Some(Rate { per_second: 4, burst: 80 }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_profiles_hold_the_numbers_of_brief_and_azure() {
        assert_eq!(Limits::of(Profile::Standard).token_lifetime, Duration::hours(8));
        assert_eq!(Limits::of(Profile::Azure).token_lifetime, Duration::hours(24));
        assert_eq!(Limits::of(Profile::Standard).tenant_mints.per_second, 2000);
        assert_eq!(Limits::of(Profile::Standard).user_assigned_per_resource_max, Some(20));
        for (profile, min_minutes) in [(Profile::Standard, 60), (Profile::Azure, 10)] {
            let limits = Limits::of(profile);
            assert_eq!(limits.policy_token_lifetime_min, Duration::minutes(min_minutes));
            assert_eq!(limits.policy_token_lifetime_max, Duration::hours(24));
        }
        assert_eq!(Limits::of(Profile::Azure).federated_credentials_per_identity_max, 20);
        assert_eq!("azure".parse::<Profile>().unwrap().as_str(), "azure");
        assert!("Azure".parse::<Profile>().is_err());
    }
}
