"""azure-mgmt-compute: virtual machines and scale sets with identities, through the vendor's pollers.

Source: specs/az-cli-calls.md, section 6; Microsoft Learn, "Virtual Machines" (REST, Compute).
"""

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.compute.models import (
    HardwareProfile,
    Sku,
    UpgradePolicy,
    VirtualMachine,
    VirtualMachineIdentity,
    VirtualMachineScaleSet,
    VirtualMachineScaleSetIdentity,
    VirtualMachineUpdate,
)

from administration import said


@pytest.fixture
def compute(management):
    return management(ComputeManagementClient)


def machine(**more):
    return VirtualMachine(location="eastus", hardware_profile=HardwareProfile(vm_size="Standard_B1s"), **more)


def test_a_machine_is_made_changed_listed_and_deleted(subject, compute, group_name):
    machines = compute.virtual_machines
    own = VirtualMachineIdentity(type="SystemAssigned")
    made = machines.begin_create_or_update(group_name, "one", machine(identity=own)).result()
    assert (made.provisioning_state, made.identity.type) == ("Succeeded", "SystemAssigned")
    assert made.identity.principal_id and made.identity.tenant_id == subject["tenantId"]
    attached = subject["identities"]["attached"]["id"]
    both = VirtualMachineIdentity(type="SystemAssigned, UserAssigned", user_assigned_identities={attached: {}})
    changed = machines.begin_update(group_name, "one", VirtualMachineUpdate(identity=both)).result()
    assert changed.identity.type == "SystemAssigned, UserAssigned"
    assert changed.identity.principal_id == made.identity.principal_id
    ((_, held),) = changed.identity.user_assigned_identities.items()
    assert held.client_id == subject["identities"]["attached"]["clientId"]
    got = machines.get(group_name, "one", expand="instanceView")
    assert "PowerState/running" in {each.code for each in got.instance_view.statuses}
    assert [each.name for each in machines.list(group_name)] == ["one"]
    assert made.id.lower() in {each.id.lower() for each in machines.list_all()}
    machines.begin_delete(group_name, "one").result()
    with pytest.raises(ResourceNotFoundError) as caught:
        machines.get(group_name, "one")
    assert said(caught.value)[0] == "ResourceNotFound"


def test_a_machine_is_stopped_and_started(compute, group_name):
    machines = compute.virtual_machines
    machines.begin_create_or_update(group_name, "one", machine()).result()

    def power():
        (code,) = (
            each.code
            for each in machines.instance_view(group_name, "one").statuses
            if each.code.startswith("PowerState/")
        )
        return code

    assert power() == "PowerState/running"
    machines.begin_deallocate(group_name, "one").result()
    assert power() == "PowerState/deallocated"
    machines.begin_start(group_name, "one").result()
    machines.begin_restart(group_name, "one").result()
    assert power() == "PowerState/running"
    machines.begin_power_off(group_name, "one").result()
    assert power() == "PowerState/stopped"


def test_an_unknown_identity_is_refused_with_a_typed_error(compute, group, group_name):
    nobody = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/nobody"
    wanted = machine(identity=VirtualMachineIdentity(type="UserAssigned", user_assigned_identities={nobody: {}}))
    with pytest.raises(HttpResponseError) as caught:
        compute.virtual_machines.begin_create_or_update(group_name, "one", wanted).result()
    assert (caught.value.status_code, caught.value.error.code) == (400, "FailedIdentityOperation")
    assert "nobody" in caught.value.error.message


def test_a_set_has_instances_and_an_identity(compute, group_name):
    sets = compute.virtual_machine_scale_sets
    wanted = VirtualMachineScaleSet(
        location="eastus",
        sku=Sku(name="Standard_B1s", tier="Standard", capacity=3),
        upgrade_policy=UpgradePolicy(mode="Manual"),
        orchestration_mode="Uniform",
        identity=VirtualMachineScaleSetIdentity(type="SystemAssigned"),
    )
    made = sets.begin_create_or_update(group_name, "set", wanted).result()
    assert (made.sku.capacity, made.provisioning_state) == (3, "Succeeded")
    assert made.identity.principal_id
    assert [each.name for each in sets.list(group_name)] == ["set"]
    assert made.id.lower() in {each.id.lower() for each in sets.list_all()}
    instances = [each.instance_id for each in compute.virtual_machine_scale_set_vms.list(group_name, "set")]
    assert instances == ["0", "1", "2"]
    sets.begin_delete(group_name, "set").result()
    with pytest.raises(ResourceNotFoundError):
        sets.get(group_name, "set")
