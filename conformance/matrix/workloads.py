"""The workloads whose endpoints the clients ask: of each kind of resource one with a system-assigned and an attached identity,
one with two user-assigned ones only, and one without any.
"""

import json
import os
import pathlib
import subprocess
import tempfile

import story
from issuer import AUDIENCE, Issuer

BOTH, USERS_ONLY, NO_IDENTITY = "both", "two-users", "none"

BODIES = {
    "Microsoft.Compute/virtualMachines": {"hardwareProfile": {"vmSize": "Standard_B1s"}},
    "Microsoft.Web/sites": {},
}

SERVICE_ACCOUNT = "system:serviceaccount:matrix:program"

# Clients that ask the metadata address whatever the variables are, and what leads them to another machine's endpoint: they
# send the same bytes there.
ASK_THE_METADATA_ADDRESS = {"rust-identity": "http_proxy", "curl": "METADATA_ENDPOINT"}

# Clients that ask Cloud Shell's own address whatever the variables are. They run in the sandbox of `keycard run`, where it is
# the resource's endpoint, with what Cloud Shell sets: msal reads the first, az the second.
ASK_CLOUD_SHELLS_ADDRESS = ("msal", "msal-msiv2", "az")
CLOUD_SHELL = {"AZUREPS_HOST_ENVIRONMENT": "cloud-shell/1.0", "ACC_CLOUD": "PROD"}


class Workloads:
    """Makes them as they are asked for, as the administrator."""

    def __init__(self, subject):
        self.subject = subject
        self.administrator = story.Administrator(
            {
                "endpoints": {"loopback": subject["loopback"]},
                **{name: subject[name] for name in ("subscriptionId", "tenantId", "caFile", "administrator")},
            }
        )
        self.files = tempfile.TemporaryDirectory()
        self.issuer = None
        self.made = {}
        self.variables = {}

    def resource(self, resource_type, having):
        """The resource as Resource Manager shows it."""
        if (resource_type, having) == ("Microsoft.Compute/virtualMachines", BOTH):
            vm = self.subject["vm"]  # the one at the metadata address
            return {"id": vm["id"], "identity": {"principalId": vm["principalId"]}}
        key = (resource_type, having)
        if key not in self.made:
            body = {"properties": BODIES[resource_type], **self.identity_block(having)}
            self.made[key] = self.administrator.put_resource(resource_type, f"matrix-{having}", body)
        return self.made[key]

    def identity_block(self, having):
        attached, other = (self.subject["identities"][role]["id"] for role in ("attached", "other"))
        return {
            BOTH: story.identity_block("SystemAssigned, UserAssigned", attached),
            USERS_ONLY: story.identity_block("UserAssigned", attached, other),
            NO_IDENTITY: {},
        }[having]

    def variables_of(self, client, source, having):
        """The variables by which the client finds that resource's endpoint; none where it is at the metadata address."""
        if source.kind == "workload-identity":
            return self.federated()
        if self.is_sandboxed(client, source):
            # Where az stands, the sandbox finds the authorities that it carries.
            path = f"{pathlib.Path(os.environ['KEYCARD_AZ']).parent}:{os.environ['PATH']}"
            home = self.subject["command"]["environment"]["KEYCARD_HOME"]
            return {**CLOUD_SHELL, "KEYCARD_HOME": home, "PATH": path}
        if (source.kind, having) == ("imds", BOTH) and self.subject["unmodified"]:
            return {}
        return self.variables_at(client, source, self.resource(source.resource_type, having)["id"])

    def is_sandboxed(self, client, source):
        return source.kind == "cloud-shell" and client.name in ASK_CLOUD_SHELLS_ADDRESS

    def words_before(self, client, source, having):
        """What the client's command is put behind."""
        if not self.is_sandboxed(client, source):
            return ()
        resource = self.resource(source.resource_type, having)["id"]
        return (self.subject["command"]["program"], "run", "--as", resource, "--")

    def federated(self):
        """What AKS sets in a pod, whose service account the attached identity trusts."""
        path = pathlib.Path(self.files.name, "azure-identity-token")
        if self.issuer is None:
            self.issuer = Issuer()
            trusted = {"issuer": self.issuer.url, "subject": SERVICE_ACCOUNT, "audiences": [AUDIENCE]}
            identity = self.subject["identities"]["attached"]["id"]
            kind = "Microsoft.ManagedIdentity/userAssignedIdentities"
            self.administrator.put(f"{identity}/federatedIdentityCredentials/matrix", kind, {"properties": trusted})
            path.write_text(self.issuer.token(SERVICE_ACCOUNT))
        return {
            "AZURE_FEDERATED_TOKEN_FILE": str(path),
            "AZURE_TENANT_ID": self.subject["tenantId"],
            "AZURE_AUTHORITY_HOST": f"{self.subject['authority']}/",
        }

    def close(self):
        if self.issuer:
            self.issuer.close()
        self.files.cleanup()

    def variables_at(self, client, source, resource_id):
        """The same of any resource, never at the metadata address."""
        variables = self.environment(source, resource_id)
        if source.kind == "imds" and client.name in ASK_THE_METADATA_ADDRESS:
            base = variables["AZURE_POD_IDENTITY_AUTHORITY_HOST"]
            return {ASK_THE_METADATA_ADDRESS[client.name]: base}
        return variables

    def environment(self, source, resource_id):
        """What `keycard env` prints for that resource's endpoint."""
        key = (resource_id, source.kind)
        if key not in self.variables:
            words = ["env", "--as", resource_id, "--kind", source.kind]
            command = self.subject["command"]
            done = subprocess.run(
                [command["program"], *words, "--output", "json"],
                env=command["environment"],
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr
            self.variables[key] = json.loads(done.stdout)
        return self.variables[key]
