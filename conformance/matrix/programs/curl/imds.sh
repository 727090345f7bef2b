# Microsoft Learn, "How to use managed identities for Azure resources on an Azure VM to acquire an access token", "Get a token
# using HTTP"; the resource and a selector as its table of parameters says.
curl "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=$RESOURCE$SELECTOR" -H Metadata:true -s
