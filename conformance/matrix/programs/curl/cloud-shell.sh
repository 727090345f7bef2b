# Microsoft Learn, "Acquire a token in Azure Cloud Shell", "Acquire token", with the address of the variable instead of
# http://localhost:50342/oauth2/token; the resource is the question's.
curl "$MSI_ENDPOINT" --data "resource=$RESOURCE" -H Metadata:true -s
